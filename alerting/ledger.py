"""What the predictions of one partition have come to: its cameras' sessions and its clock.

A record counts once. It carries an index of its session, and one that is not newer than what the
session has taken, or was refused, changes nothing: neither there, nor in another session, nor on
the clock. What is kept of a partition is stored in one step. So however the log is cut into
batches, and whichever batch is read again, the same transitions come out in the same order.

A live session fences the older live ones of its camera until it has ended or been silent. Silence
is told by the partition's clock, the event time of its live cameras: where one clock is wrong the
others keep time. Files keep out of it, for theirs begins in 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from alerting.incidents import (
    Incident,
    Moved,
    Rules,
    SessionState,
    Transition,
    advance,
    close_all,
    end,
    refuse,
    supersede,
)
from alerting.store import Key
from shared.messages import EndOfStream, Prediction, Session

_NEVER = 1 << 63


class Ledger:
    """Takes the records of one partition in order; the caller stores what has `changed`.

    `sessions` are the unfinished ones as stored, `clock` (ns) theirs; `find` gives the state of any
    other session.
    """

    def __init__(
        self,
        rules: Rules,
        sessions: Mapping[Key, SessionState],
        clock: int,
        find: Callable[[Key], SessionState],
    ) -> None:
        self.clock = clock
        self.changed: dict[Key, SessionState] = {}
        self.transitions: list[Transition] = []
        self._rules = rules
        self._find = find
        self._sessions = dict(sessions)
        self._speaker: dict[str, Session] = {}
        # No session with a run was heard before that; telling who is silent looks no further.
        self._heard_since = min((s.heard_at for s in sessions.values() if s.runs), default=_NEVER)
        for key in sessions:
            session = Session.parse(key.session)
            if session.live:
                newest = self._speaker.get(key.camera_id, session)
                self._speaker[key.camera_id] = max(newest, session)

    @property
    def open(self) -> Sequence[Incident]:
        """The incidents that are open now."""
        return [incident for state in self._sessions.values() for incident in state.open]

    def take(self, message: Prediction | EndOfStream, appended_at: int) -> bool:
        """Whether the record is new; `appended_at` is the broker's time, ns."""
        key = Key(message.camera_id, message.session)
        index = message.last_index if isinstance(message, Prediction) else message.index
        if index <= self._state(key).last_index:
            return False
        session = Session.parse(message.session)
        if session.live:
            self.clock = max(self.clock, min(message.ended_at, appended_at))
            self._close_the_silent()
            if not self._may_speak(message.camera_id, session):
                self._become(key, refuse(self._state(key), index))
                return True
        if isinstance(message, Prediction):
            self._become(key, advance(self._state(key), message, self.clock, self._rules))
        else:
            self._become(key, end(self._state(key), message))
            if self._speaker.get(message.camera_id) == session:
                del self._speaker[message.camera_id]
        return True

    def stored(self) -> None:
        """What has changed is in the store; what is finished is only there from now on."""
        self.changed.clear()
        self.transitions.clear()
        for key in [key for key, state in self._sessions.items() if state.finished]:
            del self._sessions[key]

    def _may_speak(self, camera_id: str, session: Session) -> bool:
        speaker = self._speaker.get(camera_id)
        if speaker is not None and speaker != session:
            other = Key(camera_id, str(speaker))
            silent = self.clock - self._state(other).heard_at
            if session < speaker and silent <= self._rules.silence:
                return False
            self._become(other, supersede(self._state(other)))
        self._speaker[camera_id] = session
        return True

    def _close_the_silent(self) -> None:
        if self.clock - self._heard_since <= self._rules.silence:
            return
        self._heard_since = _NEVER
        running = [key for key, state in self._sessions.items() if state.runs]
        for key in sorted(key for key in running if Session.parse(key.session).live):
            state = self._sessions[key]
            if self.clock - state.heard_at > self._rules.silence:
                at = state.seen_at + self._rules.silence
                self._become(key, close_all(state, at, "silence"))
            else:
                self._heard_since = min(self._heard_since, state.heard_at)

    def _state(self, key: Key) -> SessionState:
        if key not in self._sessions:
            self._sessions[key] = self._find(key)
        return self._sessions[key]

    def _become(self, key: Key, moved: Moved) -> None:
        state, transitions = moved
        self._sessions[key] = self.changed[key] = state
        self.transitions += transitions
        if state.runs:
            self._heard_since = min(self._heard_since, state.heard_at)
