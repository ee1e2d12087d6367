"""What a chaos run comes to: counts for its table, from the logs alone.

The checker says which promise was broken; this counts what was expected and what came, and how
long the flow stood still after each fault.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alerting.incidents import Rules as IncidentRules
from alerting.stage import AlertingStage, decode_prediction
from alerting.store_sqlite import SqliteStore
from shared.bus import Output, Partition, Received, Record
from shared.codec import decode
from shared.errors import InvalidMessage
from shared.messages import (
    NANOSECONDS,
    EndOfStream,
    Features,
    Frame,
    FrameReference,
    Prediction,
    Session,
    slot,
)
from tests.faults.checker import Logs, Rules, broken_promises, heard, windows


@dataclass(frozen=True)
class Recovery:
    """How long the flow stood still after a fault, and the camera that came back last."""

    seconds: float
    camera: str


@dataclass(frozen=True)
class Verdict:
    """`broken` has a line for each broken promise; `recovery` is in the faults' order."""

    expected: int
    delivered: int
    duplicates: int
    incidents_expected: int
    incidents_lost: int
    incidents_repeated: int
    recovery: Sequence[Recovery | None]
    broken: Sequence[str]

    @property
    def missing(self) -> int:
        """Windows that have no prediction."""
        return self.expected - self.delivered

    @property
    def good(self) -> bool:
        """Whether nothing was lost and nothing recorded twice."""
        bad = self.missing + self.incidents_lost + self.incidents_repeated
        return not bad and not self.broken and None not in self.recovery


def judge(
    logs: Logs, rules: Rules, incidents: IncidentRules, struck_at: Sequence[float]
) -> Verdict:
    """`struck_at`: when the faults happened, seconds since the Unix epoch."""
    wanted = {
        f"{rules.lane}:{camera}:{session}:{last}"
        for (camera, session), taken in _features(logs, rules).items()
        for _, last, _ in windows(taken, rules)
    }
    came = [m.id for _, m in _read(logs.predictions, Prediction, EndOfStream)
            if isinstance(m, Prediction)]  # fmt: skip
    events, conflicting = _events(logs.anomalies)
    due = without_faults(logs.predictions, incidents)
    return Verdict(
        expected=len(wanted),
        delivered=len(wanted & set(came)),
        duplicates=len(came) - len(set(came)),
        incidents_expected=len(due),
        incidents_lost=len(due.keys() - events.keys()),
        incidents_repeated=len(events.keys() - due.keys()) + conflicting,
        recovery=recovery(logs.predictions, struck_at),
        broken=[*broken_promises(logs, rules), *_short_gaps(logs.frames)],
    )


def recovery(predictions: Iterable[Record], struck_at: Sequence[float]) -> list[Recovery | None]:
    """From each fault until pictures taken after it had come through, of every live camera.

    None if some camera's never did.
    """
    arrivals: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for record, message in _read(predictions, Prediction):
        if Session.parse(message.session).live:
            arrivals[message.camera_id].append((message.ended_at, record.timestamp / 1000))

    def after(moment: float) -> Recovery | None:
        back = {
            camera: next((came for ended_at, came in some if ended_at > moment * NANOSECONDS), None)
            for camera, some in arrivals.items()
        }
        known = {camera: came for camera, came in back.items() if came is not None}
        if not known or len(known) < len(back):
            return None
        last = max(known, key=lambda camera: known[camera])
        return Recovery(known[last] - moment, last)

    return [after(moment) for moment in struck_at]


def alone(back: Sequence[Recovery | None], struck_at: Sequence[float]) -> list[Recovery]:
    """The recoveries that are one fault's own: nothing was still down, and nothing else struck."""
    own = []
    whole_from = 0.0  # when everything before had come back
    for number, (mine, at) in enumerate(zip(back, struck_at, strict=True)):
        end = at + mine.seconds if mine else float("inf")
        following = struck_at[number + 1] if number + 1 < len(struck_at) else float("inf")
        if mine and whole_from <= at and end <= following:
            own.append(mine)
        whole_from = max(whole_from, end)
    return own


def _read(records: Iterable[Record], *kinds: type[Any]) -> Iterable[tuple[Record, Any]]:
    """What can be read; the checker demands a dead letter for the rest."""
    for record in records:
        try:
            yield record, decode(record.value, *kinds)
        except InvalidMessage:
            continue


def _features(logs: Logs, rules: Rules) -> dict[tuple[str, str], list[Features]]:
    """The first of each step of each session; a frame that was not answered counts as a vector.

    So a window that is missing because a frame was lost on its way is missed as well.
    """
    found: defaultdict[tuple[str, str], dict[int, Features]] = defaultdict(dict)
    for _, message in _read(heard(logs.features), Features, EndOfStream):
        if isinstance(message, Features):
            taken = found[message.camera_id, message.session]
            if not taken or message.step > next(reversed(taken)):
                taken[message.step] = message
    answered = {
        (message.camera_id, message.session, message.step)
        for _, message in _read(logs.features, Features)
    }
    for _, frame in _read(logs.frames, Frame):
        started_at = Session.parse(frame.session).started_at
        step = slot(frame.captured_at, started_at, rules.fps)
        if (frame.camera_id, frame.session, step) not in answered:
            found[frame.camera_id, frame.session][step] = Features(
                rules.lane, frame.camera_id, frame.session, step, step, frame.captured_at, "",
                FrameReference(0, 0), vector=np.zeros(1, np.float16),
            )  # fmt: skip
    return {key: [taken[step] for step in sorted(taken)] for key, taken in found.items()}


def _events(anomalies: Iterable[Record]) -> tuple[dict[str, bytes], int]:
    """The first content of each event id, and how many ids came with another one later."""
    events: dict[str, bytes] = {}
    conflicting = set()
    for record in anomalies:
        value = record.value or b""
        name = json.loads(value)["id"]
        if events.setdefault(name, value) != value:
            conflicting.add(name)
    return events, len(conflicting)


def without_faults(predictions: Iterable[Record], rules: IncidentRules) -> dict[str, bytes]:
    """The events that the same predictions give if nothing goes wrong in alerting."""
    stage = AlertingStage(rules, SqliteStore(":memory:", rules.lane), "anomalies")
    events: dict[str, bytes] = {}
    by_partition: defaultdict[Partition, list[Record]] = defaultdict(list)
    for record in predictions:
        by_partition[record.partition].append(record)
    for records in by_partition.values():
        for record in records:
            try:
                message = decode_prediction(record)
            except InvalidMessage:
                continue
            outputs = stage.process([Received(record, message)])
            stage.durable(outputs)
            events |= {_id(output): output.value or b"" for output in outputs}
    stage.close()
    return events


def _id(output: Output) -> str:
    return str(json.loads(output.value or b"")["id"])


def _short_gaps(frames: Iterable[Record]) -> list[str]:
    """Frames of live cameras that are absent without a word.

    A camera played on the wall clock skips time where it fell more than a second behind (its
    process was stopped), so a gap of a second is no loss; a shorter one is.
    """
    last: dict[tuple[str, str], Frame] = {}
    lines = []
    for _, frame in _read(frames, Frame):
        key = (frame.camera_id, frame.session)
        before = last.get(key)
        if before is not None and frame.index > before.index + 1:
            absent = frame.index - before.index - 1 - sum(frame.dropped_before.values())
            silence = (frame.captured_at - before.captured_at) / NANOSECONDS
            if frame.live and absent and silence < 1:
                lines.append(f"1 {'/'.join(key)}: {absent} frames absent before {frame.index}")
        if before is None or frame.index > before.index:
            last[key] = frame
    return lines
