"""When a score becomes an incident: a pure state machine per (lane, camera, session) and label.

    quiet --score >= open_score--> rising --for open_after--> open --< close_score--> falling
      ^                              |                          ^                        |
      |<----- score < open_score ----'                          '--- >= close_score -----|
      '<----------------- closed, then cools down <---- for close_after, end, silence ---'

With `Rules.adaptive` both scores rise to what is usual on the camera (`habits.py`).

Nothing here knows a clock, a store or a bus. Times are event time in nanoseconds: the end of a
prediction's window. The same predictions in the same order give the same transitions with the same
ids, and a prediction whose last index is not newer than the state changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import TypeAdapter

from alerting.habits import Adaptive, Habits
from alerting.settings import AlertingSettings, LabelSettings
from shared.bundle import NORMAL, Description
from shared.errors import InvalidSettings
from shared.messages import NANOSECONDS, EndOfStream, FrameReference, Prediction

Evidence = Literal["real", "synthetic", "both"]
Reason = Literal["score", "end", "silence", "superseded"]


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Thresholds of one label, and what its training data was."""

    label: str
    evidence: Evidence
    open_score: float
    close_score: float


@dataclass(frozen=True, slots=True)
class Rules:
    """When incidents of a lane open and close; times in nanoseconds."""

    lane: str
    labels: tuple[LabelRule, ...]
    open_after: int
    close_after: int
    cooldown: int
    silence: int
    adaptive: Adaptive | None = None

    @classmethod
    def of(cls, bundle: Description, settings: AlertingSettings) -> Rules:
        """The bundle's rules, with what the settings state instead. `normal` has none.

        Raises InvalidSettings: a label that the bundle does not know, a close_score above its
        open_score.
        """
        known = {label.name for label in bundle.labels} - {NORMAL}
        for name in settings.labels.keys() - known:
            names = ", ".join(sorted(known))
            raise InvalidSettings(f"[alerting.labels.{name}]: no such label; known: {names}")
        rules = []
        for label in bundle.labels:
            if label.name == NORMAL:
                continue
            own = settings.labels.get(label.name, LabelSettings())
            opens = _first(own.open_score, settings.open_score, label.open_score)
            closes = _first(own.close_score, settings.close_score, label.close_score)
            if closes > opens:
                raise InvalidSettings(
                    f"[alerting] {label.name}: close_score {closes:g} is above open_score {opens:g}"
                )
            rules.append(LabelRule(label.name, label.evidence, opens, closes))
        times = bundle.incidents
        return cls(
            settings.lane or bundle.name,
            tuple(rules),
            _ns(_first(settings.open_after_seconds, times.open_after_seconds)),
            _ns(_first(settings.close_after_seconds, times.close_after_seconds)),
            _ns(_first(settings.cooldown_seconds, times.cooldown_seconds)),
            _ns(settings.silence_seconds),
            _adaptive(settings),
        )

    def on(self, rule: LabelRule, habits: Habits | None) -> LabelRule:
        """The label's rule on a camera with these habits; never below the rule itself."""
        if self.adaptive is None or habits is None:
            return rule
        usual = habits.usual(rule.label, self.adaptive.quantile)
        if usual is None or usual <= rule.open_score:
            return rule
        closes = rule.close_score + usual - rule.open_score
        return replace(rule, open_score=usual, close_score=closes)

    def observed(self, habits: Habits | None, prediction: Prediction, at: int) -> Habits | None:
        """The camera's habits with this prediction; None if thresholds do not follow them."""
        if self.adaptive is None:
            return None
        scores = {r.label: prediction.probabilities.get(r.label, 0.0) for r in self.labels}
        return (habits or Habits(at)).after(scores, at, self.adaptive.half_life)


@dataclass(frozen=True, slots=True)
class Incident:
    """One label on one camera, from the first window above open_score to the last that counted.

    `first_index` is the last index of that first window and names the incident; `high_until` is the
    end of the last window that was not below close_score. `frames` are the first frame of the first
    window and the last frame of the last one: evidence is cut between them.
    """

    lane: str
    camera_id: str
    session: str
    label: str
    evidence: Evidence
    first_index: int
    state: Literal["rising", "open", "closed"]
    started_at: int
    high_until: int
    peak_score: float
    frames: tuple[FrameReference, FrameReference]
    fingerprint: str
    reason: Reason | None = None

    @property
    def id(self) -> str:
        """The same whenever the same predictions are read."""
        return f"{self.lane}:{self.camera_id}:{self.session}:{self.label}:{self.first_index}"

    @property
    def ended_at(self) -> int | None:
        """Known once it is closed."""
        return self.high_until if self.state == "closed" else None


@dataclass(frozen=True, slots=True)
class Transition:
    """An incident opened or closed, at that event time."""

    incident: Incident
    at: int

    @property
    def id(self) -> str:
        """`<incident>:open` or `<incident>:closed`: what receivers de-duplicate by."""
        return f"{self.incident.id}:{self.incident.state}"


@dataclass(frozen=True, slots=True)
class Run:
    """A label whose score rose: an incident that is rising or open."""

    incident: Incident
    low_since: int | None = None


@dataclass(frozen=True, slots=True)
class SessionState:
    """What is remembered of one session of one camera.

    `last_index` is that of the newest record taken or refused. A `finished` session has ended, or
    another one speaks for the camera. `seen_at` is the end of the newest window by the camera's
    clock; `heard_at` is the event time of its whole partition when it came: a camera's wrong clock
    says nothing about its silence.
    """

    last_index: int = -1
    seen_at: int = 0
    heard_at: int = 0
    finished: bool = False
    runs: Mapping[str, Run] = field(default_factory=dict)
    cool_until: Mapping[str, int] = field(default_factory=dict)
    habits: Habits | None = None

    @property
    def open(self) -> list[Incident]:
        """The incidents that are open now."""
        return [r.incident for r in self.runs.values() if r.incident.state == "open"]

    def to_json(self) -> str:
        """For a store."""
        return _STATE.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> SessionState:
        """What `to_json` wrote."""
        return _STATE.validate_json(text)


_STATE = TypeAdapter(SessionState)

Moved = tuple[SessionState, list[Transition]]


def advance(state: SessionState, prediction: Prediction, heard_at: int, rules: Rules) -> Moved:
    """Take one prediction of the session; nothing changes unless its last index is newer."""
    if prediction.last_index <= state.last_index:
        return state, []
    transitions: list[Transition] = []
    at = max(prediction.ended_at, state.seen_at)
    if state.runs and at - state.seen_at > rules.silence:
        state, transitions = close_all(state, state.seen_at + rules.silence, "silence")
    runs, cool = dict(state.runs), dict(state.cool_until)
    for label_rule in rules.labels:
        rule = rules.on(label_rule, state.habits)
        run = _moved(runs.pop(rule.label, None), prediction, at, rule, cool.get(rule.label), rules)
        if run is None:
            continue
        before = state.runs.get(rule.label)
        was = before.incident.state if before is not None else "rising"
        if run.incident.state != was:
            transitions.append(Transition(run.incident, at))
        if run.incident.state == "closed":
            cool[rule.label] = at + rules.cooldown
        else:
            runs[rule.label] = run
    heard_at = max(heard_at, state.heard_at)
    habits = rules.observed(state.habits, prediction, at)
    new = SessionState(prediction.last_index, at, heard_at, False, runs, cool, habits)
    return new, transitions


def _moved(
    run: Run | None,
    prediction: Prediction,
    at: int,
    rule: LabelRule,
    cool_until: int | None,
    rules: Rules,
) -> Run | None:
    """One label's run after this prediction; None if its score stays or falls low."""
    score = prediction.probabilities.get(rule.label, 0.0)
    if run is None:
        if score < rule.open_score or (cool_until is not None and at < cool_until):
            return None
        run = Run(_begun(prediction, at, score, rule))
    elif run.incident.state == "rising" and score < rule.open_score:
        return None
    elif score >= rule.close_score:
        peak = max(run.incident.peak_score, score)
        frames = (run.incident.frames[0], prediction.frames[1])
        run = Run(replace(run.incident, peak_score=peak, high_until=at, frames=frames))
    elif run.low_since is None:
        run = replace(run, low_since=at)
    incident = run.incident
    if incident.state == "rising" and at - incident.started_at >= rules.open_after:
        return replace(run, incident=replace(incident, state="open"))
    if run.low_since is not None and at - run.low_since >= rules.close_after:
        return replace(run, incident=replace(incident, state="closed", reason="score"))
    return run


def _begun(prediction: Prediction, at: int, score: float, rule: LabelRule) -> Incident:
    return Incident(
        lane=prediction.lane,
        camera_id=prediction.camera_id,
        session=prediction.session,
        label=rule.label,
        evidence=rule.evidence,
        first_index=prediction.last_index,
        state="rising",
        started_at=at,
        high_until=at,
        peak_score=score,
        frames=prediction.frames,
        fingerprint=prediction.fingerprint,
    )


def close_all(state: SessionState, at: int, reason: Reason) -> Moved:
    """Close what is open and drop what was rising: silence, or a newer session took over."""
    transitions = [
        Transition(replace(incident, state="closed", reason=reason), at) for incident in state.open
    ]
    return replace(state, runs={}), transitions


def end(state: SessionState, message: EndOfStream) -> Moved:
    """The session ended; nothing changes unless the end's index is newer."""
    if message.index <= state.last_index:
        return state, []
    state, transitions = close_all(state, max(message.ended_at, state.seen_at), "end")
    return replace(state, last_index=message.index, finished=True), transitions


def supersede(state: SessionState) -> Moved:
    """Another session speaks for the camera now."""
    state, transitions = close_all(state, state.seen_at, "superseded")
    return replace(state, finished=True), transitions


def refuse(state: SessionState, index: int) -> Moved:
    """A record came that may not speak: it is known, so that a replay does not hear it either."""
    state, transitions = supersede(state)
    return replace(state, last_index=index), transitions


def _adaptive(settings: AlertingSettings) -> Adaptive | None:
    if settings.adaptive_quantile is None:
        return None
    return Adaptive(settings.adaptive_quantile, _ns(settings.adaptive_half_life_seconds))


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _ns(seconds: float) -> int:
    return round(seconds * NANOSECONDS)
