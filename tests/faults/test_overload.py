"""Overload, short: the whole of it is `python -m tests.faults.overload`."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from shared.bus import Partition, Record
from shared.codec import encode
from shared.messages import NANOSECONDS, Features, Frame, FrameReference, Message, Session
from tests.faults.checker import Logs, Rules
from tests.faults.course import Phase
from tests.faults.overload_verdict import account, recovery, seen
from tests.support.command import ROOT, environment
from tests.support.service_fixtures import kafka, redis_url, service_variables  # noqa: F401

RULES = Rules("street", fps=10, window=4, stride=2, max_gap=1, regular=False)
LIVE, FILE = Session(1, 0, live=True), Session(0, 0, live=False)


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("kafka", "redis_url")
def test_twice_the_load_is_shed_and_accounted_for_and_a_recording_beside_it_loses_nothing() -> None:
    """Bounds of time are for the long run on a quiet machine: here it may have no time at all."""
    options = ["--seconds", "8", "--limit", "2", "--probe", "3", "--first", "32"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.overload", *options], capture_output=True, text=True,
        cwd=ROOT, env=environment(), timeout=400, check=False,
    )  # fmt: skip
    said = done.stderr + done.stdout
    assert done.stdout, said
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["phases"]["during"]["shed/s"] > 0
    assert 0 < found["windows"]["delivered"] < found["windows"]["possible"]
    of_time = ("latency is not bounded", "no recovery within", "frames were shed before")
    assert [fault for fault in found["faults"] if not fault.startswith(of_time)] == [], said


def records(*messages: Message) -> list[Record]:
    place = Partition("t", 0)
    return [
        Record(place, n, message.camera_id, encode(message), (), 1000 + n)
        for n, message in enumerate(messages)
    ]


def frame(step: int, session: Session) -> Frame:
    at = step * NANOSECONDS // 10
    return Frame("gate", str(session), step, at, session.live, (), "raw", 1, 1, b"rgb")


def features(step: int, session: Session, missing: str | None = None) -> Features:
    return Features(
        "street", "gate", str(session), step, step, step * NANOSECONDS // 10, "f",
        FrameReference(0, step), None if missing else np.zeros(1, np.float16), missing=missing,
    )  # fmt: skip


def logs(session: Session, missing: dict[int, str]) -> Logs:
    """Twelve steps of one camera: five windows."""
    answers = [features(step, session, missing.get(step)) for step in range(12)]
    return Logs(
        records(*(frame(step, session) for step in range(12))), records(*answers), [], [], []
    )


def test_a_window_is_lost_to_shedding_only_if_a_frame_of_it_was_shed() -> None:
    shed, _ = account(logs(LIVE, {4: "shed", 5: "shed"}), RULES)
    assert (shed.possible, shed.delivered, shed.shed, shed.unaccounted) == (5, 3, 2, 0)
    other, _ = account(logs(LIVE, {4: "key", 5: "key"}), RULES)
    assert (other.shed, other.unaccounted) == (0, 2)


def test_shedding_a_recording_breaks_the_promise() -> None:
    broken = account(logs(FILE, {4: "shed", 5: "shed"}), RULES)[1]
    assert any("2 frames were shed" in line for line in broken)
    assert not any("shed" in x for x in account(logs(LIVE, {4: "shed"}), RULES)[1])


def test_what_came_is_told_by_phase() -> None:
    phases = [Phase("early", 1.0, 1.005), Phase("late", 1.005, 2)]
    found = seen(logs(LIVE, {4: "shed", 5: "shed", 6: "shed"}), phases)
    assert (found["early"].frames, found["late"].frames) == (5, 7)
    assert found["early"].answers == {"vector": 4, "shed": 1}


def test_recovery_is_the_last_late_one_before_a_calm() -> None:
    after = Phase("after", 100, 120)
    late = [(101.0, 3.0), (103.0, 2.0)]
    calm = [(t, 0.5) for t in (102.0, 104.0, 108.0, 110.0)]
    assert recovery([*late, *calm], after, 1.0) == 3
    assert recovery([*late, *calm, (112.0, 9.0)], after, 1.0) == 3
    assert recovery(calm, after, 1.0) == 0
    assert recovery([(float(t), 5.0) for t in range(100, 120)], after, 1.0) is None
    assert recovery([], after, 1.0) is None
