"""The checker itself: whole logs pass, and each kind of damage is seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.bus import Record, dead_letter
from shared.codec import decode, encode
from shared.messages import EndOfStream, Features, Frame, Prediction
from tests.faults.checker import Logs, broken_promises
from tests.faults.lives import TOPICS, flow
from tests.faults.pipeline import RULES


@pytest.fixture(scope="module")
def logs() -> Logs:
    return flow({})


def broken(logs: Logs) -> set[str]:
    """The numbers of the promises that were not kept."""
    return {line[0] for line in broken_promises(logs, RULES)}


def without(records: list[Record], camera: str, position: int, kind: type) -> list[Record]:
    """Without one message."""

    def stays(record: Record) -> bool:
        message = decode(record.value, Frame, Features, Prediction, EndOfStream)
        if not isinstance(message, kind) or message.camera_id != camera:
            return True
        return getattr(message, "last_index", getattr(message, "index", -1)) != position

    kept = [record for record in records if stays(record)]
    assert len(kept) < len(records)
    return kept


def test_whole_logs_pass(logs: Logs) -> None:
    assert broken_promises(logs, RULES) == []


def test_repetitions_pass(logs: Logs) -> None:
    again = Logs(
        logs.frames + logs.frames[-20:],
        logs.features[:50] + logs.features[30:],
        logs.predictions + logs.predictions,
        logs.anomalies + logs.anomalies[:3],
        [],
    )
    assert broken_promises(again, RULES) == []


def _no_frame(logs: Logs) -> Logs:
    return replace(logs, frames=without(logs.frames, "north", 12, Frame))


def _no_features(logs: Logs) -> Logs:
    return replace(logs, features=without(logs.features, "north", 59, Features))


def _no_prediction(logs: Logs) -> Logs:
    return replace(logs, predictions=without(logs.predictions, "south", 17, Prediction))


def _no_end(logs: Logs) -> Logs:
    return replace(logs, predictions=without(logs.predictions, "south", 60, EndOfStream))


def _late_prediction(logs: Logs) -> Logs:
    """One camera's predictions come in the wrong order: a reader passes over the late one."""
    first, *rest = logs.predictions
    return replace(logs, predictions=[*rest[:5], first, *rest[5:]])


def _wrong_gaps(logs: Logs) -> Logs:
    record = logs.predictions[2]
    message = decode(record.value, Prediction)
    wrong = replace(record, value=encode(replace(message, gaps=message.gaps + 1)))
    return replace(logs, predictions=[*logs.predictions[:2], wrong, *logs.predictions[3:]])


def _shed(logs: Logs) -> Logs:
    record = logs.features[4]
    message = replace(decode(record.value, Features), vector=None, same_as=None, missing="shed")
    shed = replace(record, value=encode(message))
    return replace(logs, features=[*logs.features[:4], shed, *logs.features[5:]])


def _unreadable(logs: Logs) -> Logs:
    return replace(logs, features=[*logs.features, replace(logs.features[0], value=b"?")])


def _no_event(logs: Logs) -> Logs:
    return replace(logs, anomalies=logs.anomalies[:-1])


def _two_openings(logs: Logs) -> Logs:
    event = json.loads(logs.anomalies[0].value or b"")
    event["id"] += "-again"
    twice = replace(logs.anomalies[0], value=json.dumps(event).encode())
    return replace(logs, anomalies=[*logs.anomalies, twice])


def _another_content(logs: Logs) -> Logs:
    event = json.loads(logs.anomalies[0].value or b"")
    event["data"]["peak_score"] = 0.99
    twice = replace(logs.anomalies[0], value=json.dumps(event).encode())
    return replace(logs, anomalies=[*logs.anomalies, twice])


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        (_no_frame, "1"),
        (_no_features, "2"),
        (_shed, "2"),
        (_unreadable, "2"),
        (_no_prediction, "3"),
        (_no_end, "3"),
        (_late_prediction, "3"),
        (_wrong_gaps, "3"),
        (_no_event, "4"),
        (_two_openings, "4"),
        (_another_content, "4"),
    ],
)
def test_damage_is_seen(logs: Logs, damage: Callable[[Logs], Logs], promise: str) -> None:
    assert promise in broken(damage(logs))


def test_a_dead_letter_accounts_for_what_nobody_can_read(logs: Logs) -> None:
    bad = replace(logs.features[0], value=b"?", offset=10_000)
    letters = [dead_letter(TOPICS.dead_letters, bad, "not msgpack")]
    records = [replace(bad, value=o.value, headers=o.headers) for o in letters]
    damaged = replace(logs, features=[*logs.features, bad], dead_letters=records)
    assert broken_promises(damaged, RULES) == []


def test_irregular_cameras_may_have_gaps_in_time(logs: Logs) -> None:
    damaged = _no_frame(logs)
    lines = broken_promises(damaged, replace(RULES, regular=False))
    assert [line for line in lines if line.startswith("1")] == []
