"""Event level: what an operator feels (EVALUATION 5).

An alarm is a moment at which an incident opens; an event lies between onset and offset, in seconds
of its video. Pure: no clock, no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GRACE_SECONDS = 2.0
DELAYS = (2.0, 5.0, 10.0)
RATES = (0.1, 1.0, 10.0)


@dataclass(frozen=True, slots=True)
class Event:
    """What happens in a video, in seconds."""

    label: str
    onset: float
    offset: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """An incident that opened; `score` is its peak."""

    label: str
    at: float
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Alarms against events, over any number of videos.

    `delays` has one entry an event, None where it was missed; `right_label` counts hits whose
    alarm has the event's label.
    """

    delays: tuple[float | None, ...]
    right_label: int
    false_alarms: int
    hours: float

    @property
    def hits(self) -> int:
        """Events that raised an alarm in time."""
        return sum(delay is not None for delay in self.delays)

    @property
    def recall(self) -> float:
        """Share of events hit; NaN without events."""
        return self.hits / len(self.delays) if self.delays else float("nan")

    @property
    def false_alarms_per_hour(self) -> float:
        """Per camera-hour."""
        return self.false_alarms / self.hours if self.hours else float("nan")

    @property
    def rate_bound(self) -> float:
        """Upper 95 % bound of the rate when there was no false alarm: 3 / hours."""
        return 3.0 / self.hours if self.hours else float("nan")


def match(events: Sequence[Event], alarms: Sequence[Alarm], hours: float) -> Outcome:
    """Match the alarms of one video to its events.

    A hit lies in [onset, offset + 2 s]; an event's repeats count once and are no false alarms;
    every alarm outside all events is one.
    """
    delays: list[float | None] = [None] * len(events)
    named = [False] * len(events)
    false = 0
    for alarm in sorted(alarms, key=lambda alarm: alarm.at):
        hit = [i for i, e in enumerate(events) if e.onset <= alarm.at <= e.offset + GRACE_SECONDS]
        if not hit:
            false += 1
        for i in hit:
            if delays[i] is None:
                delays[i] = alarm.at - events[i].onset
            named[i] = named[i] or alarm.label == events[i].label
    return Outcome(tuple(delays), sum(named), false, hours)


def join(outcomes: Sequence[Outcome]) -> Outcome:
    """All videos together."""
    return Outcome(
        tuple(delay for outcome in outcomes for delay in outcome.delays),
        sum(outcome.right_label for outcome in outcomes),
        sum(outcome.false_alarms for outcome in outcomes),
        sum(outcome.hours for outcome in outcomes),
    )


def delay_metrics(outcome: Outcome) -> dict[str, float | None]:
    """Median and p90 with misses censored (None where that many were missed), recall in time."""
    delays = np.array([np.inf if d is None else d for d in outcome.delays])
    if not len(delays):
        return {}
    result: dict[str, float | None] = {}
    for name, share in (("median", 0.5), ("p90", 0.9)):
        value = float(np.quantile(delays, share, method="higher"))
        result[f"{name}_seconds"] = value if np.isfinite(value) else None
    for limit in DELAYS:
        result[f"recall_within_{limit:g}s"] = float(np.mean(delays <= limit))
    return result
