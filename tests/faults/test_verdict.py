"""What chaos counts: losses on the way, gaps of cameras, sessions that are over, recovery."""

from __future__ import annotations

import numpy as np
import pytest

from alerting.incidents import Rules as IncidentRules
from alerting.settings import AlertingSettings
from shared.bus import Partition, Record
from shared.codec import encode
from shared.messages import NANOSECONDS, Features, Frame, FrameReference, Message, Session
from tests.faults.checker import Logs, Rules
from tests.faults.verdict import Recovery, Verdict, alone, judge, recovery
from tests.support.predictions import description, end, prediction

RULES = Rules("street", fps=10, window=4, stride=2, max_gap=1, regular=False)
INCIDENTS = IncidentRules.of(description(), AlertingSettings())
OLD, NEW = Session(1, 0, live=True), Session(2, 0, live=True)


def records(*messages: Message) -> list[Record]:
    place = Partition("t", 0)
    return [
        Record(place, i, message.camera_id, encode(message)) for i, message in enumerate(messages)
    ]


def frame(step: int, session: Session = OLD, **more: object) -> Frame:
    at = step * NANOSECONDS // 10
    return Frame("gate", str(session), step, at, True, (), "raw", 1, 1, b"rgb", **more)  # type: ignore[arg-type]


def features(step: int, session: Session = OLD, missing: str | None = None) -> Features:
    vector = None if missing else np.zeros(1, np.float16)
    return Features(
        "street", "gate", str(session), step, step, step * NANOSECONDS // 10, "f",
        FrameReference(0, step), vector, missing=missing,
    )  # fmt: skip


def verdict(frames: list[Frame], answers: list[Features]) -> Verdict:
    return judge(Logs(records(*frames), records(*answers), [], [], []), RULES, INCIDENTS, [])


def test_a_frame_without_features_takes_its_windows_along() -> None:
    frames = [frame(step) for step in range(8)]
    whole = verdict(frames, [features(step) for step in range(8)])
    lossy = verdict(frames, [features(step) for step in range(4)])
    assert whole.expected == lossy.expected == 3
    assert lossy.missing == 3 and lossy.delivered == 0
    assert any(line.startswith("2 ") for line in lossy.broken)


def test_a_late_word_of_a_session_that_is_over_makes_no_windows() -> None:
    """Its gap would be filled up to there, had nobody taken over."""
    frames = [*map(frame, range(5)), frame(0, NEW), frame(9)]
    answers = [*map(features, range(5)), features(0, NEW)]
    fenced = verdict(frames, [*answers, features(9, missing="fenced")])
    assert fenced.expected == 1  # 0..3; 2..5 would be filled
    late = verdict(frames, [*answers, features(9)])
    assert late.expected == 1


@pytest.mark.parametrize(
    ("index", "dropped", "fine"), [(5, 0, False), (5, 2, True), (5, 1, False), (15, 0, True)]
)
def test_a_live_camera_may_skip_a_second_but_no_frame(index: int, dropped: int, fine: bool) -> None:
    after = frame(index, dropped_before={"bus_full": dropped} if dropped else {})
    given = verdict([frame(0), frame(1), frame(2), after], [])
    assert any("frames absent" in line for line in given.broken) is not fine


def test_recovery_is_when_every_live_camera_shows_what_came_after() -> None:
    place = Partition("p", 0)

    def said(at: float, camera: str, appended: float, session: str = str(OLD)) -> Record:
        message = prediction(at, camera_id=camera, session=session)
        return Record(place, 0, camera, encode(message), (), round(appended * 1000))

    log = [
        said(9, "a", 9.5), said(9, "b", 9.5), said(12, "a", 12.5),
        said(10, "b", 14),  # of before the fault
        said(13, "b", 15), said(14, "a", 16),
        said(1, "c", 99, session="file-0-0"),
        Record(place, 0, "a", b"poison"),
        *records(end(20, camera_id="a")),
    ]  # fmt: skip
    assert recovery(log, [11, 13.5]) == [Recovery(4, "b"), None]


def test_a_recovery_is_alone_if_nothing_else_was_or_came_down() -> None:
    back = [Recovery(seconds, "a") for seconds in (3, 12, 7, 4, 5)]
    at = [0, 10, 15, 40, 50]
    assert alone(back, at) == [back[0], back[3], back[4]]
    assert alone([back[0], None, back[3]], [0, 10, 40]) == [back[0]]  # the second never came back
