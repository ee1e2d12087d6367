"""State per camera and session, and when to let go of it: what stages with memory share.

All times come from the log, never from a wall clock, so a replay decides alike. Each partition has
two clocks: event time (the largest min(captured_at, append time) seen) and the broker's append
time. A session is silent once *both* have moved on by the time-out since its last record: a file
that is read at fifty times its speed moves event time alone, a service that was away for a minute
moves append time alone, and neither may cost a camera its windows. A recording may be silent for
ten times as long: it waits where a live camera drops, and no newer session takes its place.

A live session fences the older live ones of its camera: their records are refused until it has
been silent for the time-out. File sessions neither fence nor are fenced.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.bus import Partition, Record
from shared.messages import NANOSECONDS, Session

S = TypeVar("S")
_MILLISECOND = 1_000_000  # nanoseconds
_PATIENCE = 10
"""Time-outs that a recording may be silent for."""


@dataclass(slots=True)
class _Clock:
    """Event and append time of a partition, nanoseconds."""

    event: int = 0
    append: int = 0


@dataclass(slots=True)
class _Seen(Generic[S]):
    """A session's state, its partition, and that partition's clocks at its last record.

    `timeout`: nanoseconds after which it is silent.
    """

    state: S
    partition: Partition
    timeout: int
    event: int
    append: int


class Sessions(Generic[S]):
    """A mapping of (camera id, session) to what `make` gives for a new session."""

    def __init__(self, make: Callable[[Session], S], idle_timeout_seconds: float) -> None:
        self._make = make
        self._timeout = round(idle_timeout_seconds * NANOSECONDS)
        self._sessions: dict[tuple[str, str], _Seen[S]] = {}
        self._fences: dict[str, _Seen[Session]] = {}
        self._clocks: dict[Partition, _Clock] = {}
        self._swept = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[tuple[Partition, S]]:
        """Every open session's partition and state."""
        return ((seen.partition, seen.state) for seen in self._sessions.values())

    def get(self, camera_id: str, session: str) -> S | None:
        """The state of a session, if it is open."""
        seen = self._sessions.get((camera_id, session))
        return None if seen is None else seen.state

    def take(self, record: Record, camera_id: str, session: str, captured_at: int) -> S | None:
        """The state of the session that a record belongs to; None if a newer one fences it."""
        clock = self._tick(record, captured_at)
        if not self._passes(record.partition, camera_id, session, clock):
            return None
        seen = self._sessions.get((camera_id, session))
        if seen is None:
            parsed = Session.parse(session)
            timeout = self._timeout * (1 if parsed.live else _PATIENCE)
            seen = _Seen(self._make(parsed), record.partition, timeout, clock.event, clock.append)
            self._sessions[camera_id, session] = seen
        seen.event, seen.append = clock.event, clock.append
        return seen.state

    def end(self, record: Record, camera_id: str, session: str, ended_at: int) -> S | None:
        """Take the session out at its end of stream; its fence stands until it lapses."""
        self._tick(record, ended_at)
        seen = self._sessions.pop((camera_id, session), None)
        return None if seen is None else seen.state

    def evict(self) -> list[tuple[str, S]]:
        """Take out what has been silent for the time-out: camera ids and states."""
        now = sum(clock.event + clock.append for clock in self._clocks.values())
        if now - self._swept < NANOSECONDS:  # time has hardly moved: nothing new can be silent
            return []
        self._swept = now
        for camera_id in [c for c, fence in self._fences.items() if self._silent(fence)]:
            del self._fences[camera_id]
        silent = [key for key, seen in self._sessions.items() if self._silent(seen)]
        return [(key[0], self._sessions.pop(key).state) for key in silent]

    def forget(self, partitions: Collection[Partition]) -> None:
        """Drop everything that came from these partitions."""
        for partition in partitions:
            self._clocks.pop(partition, None)
        self._sessions = {k: s for k, s in self._sessions.items() if s.partition not in partitions}
        self._fences = {c: f for c, f in self._fences.items() if f.partition not in partitions}
        self._swept = 0

    def _tick(self, record: Record, captured_at: int) -> _Clock:
        clock = self._clocks.setdefault(record.partition, _Clock())
        append = record.timestamp * _MILLISECOND
        clock.event = max(clock.event, min(captured_at, append))
        clock.append = max(clock.append, append)
        return clock

    def _passes(self, partition: Partition, camera_id: str, session: str, clock: _Clock) -> bool:
        parsed = Session.parse(session)
        if not parsed.live:
            return True
        fence = self._fences.get(camera_id)
        if fence is not None and parsed < fence.state and not self._silent(fence):
            return False
        if fence is not None and parsed > fence.state:
            self._sessions.pop((camera_id, str(fence.state)), None)
        self._fences[camera_id] = _Seen(parsed, partition, self._timeout, clock.event, clock.append)
        return True

    def _silent(self, seen: _Seen[S] | _Seen[Session]) -> bool:
        clock = self._clocks[seen.partition]
        return clock.event - seen.event > seen.timeout and clock.append - seen.append > seen.timeout
