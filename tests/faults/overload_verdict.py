"""What an overload run comes to, from the logs alone: latency by phase, and what became of frames.

Capture to prediction: from the time of a window's last picture to the broker's time of its
prediction. Capture to alert: the same for the picture that opened an incident, and its event.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from shared.bus import Record
from shared.codec import decode
from shared.messages import NANOSECONDS, EndOfStream, Features, Frame, Prediction, Session
from tests.faults.checker import Logs, Rules, broken_promises, windows
from tests.faults.course import Phase

Timed = tuple[float, float]
"""When it came, seconds since the epoch; and how old its picture was then."""

_CALM_FOR = 5.0  # seconds without anything late


@dataclass
class Seen:
    """What came in a phase. Latencies in seconds."""

    frames: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    """Features records of live cameras by kind: vector, or why it is missing."""
    predictions: list[float] = field(default_factory=list)
    alerts: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Account:
    """Live windows: what there would be had nothing been missing, and what became of them."""

    possible: int
    delivered: int
    shed: int
    """Not made, and a frame in them was shed."""
    unaccounted: int
    """Not made although no frame in them was shed."""


def seen(logs: Logs, phases: Sequence[Phase]) -> dict[str, Seen]:
    """Each phase's counts and latencies."""
    found = {phase.name: Seen() for phase in phases}

    def during(moment: float) -> Seen:
        return next((found[p.name] for p in phases if p.holds(moment)), Seen())

    for record in logs.frames:
        frame: Frame | EndOfStream = decode(record.value, Frame, EndOfStream)
        if isinstance(frame, Frame) and frame.live:
            during(record.timestamp / 1000).frames += 1
    for record in logs.features:
        answer: Features | EndOfStream = decode(record.value, Features, EndOfStream)
        if isinstance(answer, Features) and Session.parse(answer.session).live:
            during(record.timestamp / 1000).answers[answer.missing or "vector"] += 1
    for came, latency in predictions(logs.predictions):
        during(came).predictions.append(latency)
    for came, latency in alerts(logs.anomalies):
        during(came).alerts.append(latency)
    return found


def predictions(records: Iterable[Record]) -> Iterator[Timed]:
    """Live ones, in the order of the log."""
    for record in records:
        message: Prediction | EndOfStream = decode(record.value, Prediction, EndOfStream)
        if isinstance(message, Prediction) and Session.parse(message.session).live:
            came = record.timestamp / 1000
            yield came, came - message.ended_at / NANOSECONDS


def alerts(records: Iterable[Record]) -> Iterator[Timed]:
    """Incidents of live cameras that opened."""
    for record in records:
        event = json.loads(record.value or b"")
        live = Session.parse(event["data"]["session"]).live
        if live and event["data"]["state"] == "open":
            came = record.timestamp / 1000
            yield came, came - datetime.fromisoformat(event["time"]).timestamp()


def recovery(timed: Iterable[Timed], after: Phase, calm: float) -> float | None:
    """Seconds from the beginning of `after` to the last late one before all is calm.

    Calm is a stretch in which something comes and nothing of it is older than `calm` seconds; None
    if there is no such stretch before the phase ends.
    """
    mine = sorted(t for t in timed if after.holds(t[0]))
    late = [after.begin, *(came for came, age in mine if age > calm)]
    for last, following in zip(late, [*late[1:], after.end], strict=True):
        if following - last >= _CALM_FOR and any(last < came < following for came, _ in mine):
            return last - after.begin
    return None


def account(logs: Logs, rules: Rules) -> tuple[Account, list[str]]:
    """What became of the live cameras' windows; and a line for each promise that was broken."""
    sessions: defaultdict[tuple[str, str], dict[int, Features]] = defaultdict(dict)
    for record in logs.features:
        message: Features | EndOfStream = decode(record.value, Features, EndOfStream)
        if isinstance(message, Features) and Session.parse(message.session).live:
            sessions[message.camera_id, message.session].setdefault(message.step, message)
    possible = delivered = shed = 0
    whole = np.zeros(1, np.float16)
    for taken in sessions.values():
        made = {last for _, last, _ in windows(list(taken.values()), rules)}
        gone = {step for step, f in taken.items() if f.missing == "shed"}
        blameless = [replace(f, vector=whole, same_as=None, missing=None) for f in taken.values()]
        for first, last, _ in windows(blameless, rules):
            possible += 1
            delivered += last in made
            shed += last not in made and not gone.isdisjoint(range(first, last + 1))
    lost = Account(possible, delivered, shed, possible - delivered - shed)
    return lost, broken_promises(logs, replace(rules, may_shed=True))
