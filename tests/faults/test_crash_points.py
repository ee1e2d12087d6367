"""A worker may die at any point: whoever goes on after it keeps every promise."""

from __future__ import annotations

import pytest

from shared.codec import decode
from shared.messages import EndOfStream, Prediction
from shared.outbound import Batch
from tests.faults.checker import broken_promises, read_logs
from tests.faults.crashing import POINTS, Fuse
from tests.faults.lives import TOPICS, film_bus, flow, live, run
from tests.faults.pipeline import CAMERAS, LANE, RULES, STAGES


def test_without_a_crash_all_promises_are_kept() -> None:
    logs = flow({})
    assert broken_promises(logs, RULES) == []
    predictions = [decode(r.value, Prediction, EndOfStream) for r in logs.predictions]
    assert sum(isinstance(p, Prediction) for p in predictions) == 2 * 16  # ends 5 to 32, 44 to 59
    assert len(logs.anomalies) == 2 * 4
    assert {r.key for r in logs.anomalies} == set(CAMERAS)


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("service", STAGES)
def test_a_crash_breaks_no_promise(service: str, point: str, number: int) -> None:
    fuse = Fuse(point, number)
    logs = flow({service: fuse})
    assert fuse.blown or number == 5  # alerting has fewer outputs than that
    assert broken_promises(logs, RULES) == []


@pytest.mark.parametrize(("service", "promise"), [*zip(STAGES, "234", strict=True)])
def test_the_checker_sees_a_worker_that_commits_before_the_flush(
    service: str, promise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for number in range(1, 9):
        bus = film_bus()
        for each in STAGES:
            if each == service:
                with monkeypatch.context() as patch:
                    patch.setattr(Batch, "durable", lambda batch: True)
                    live(bus, service, Fuse("after commit", number))
            run(bus, each, Fuse("never", 1))
            if each == service:
                break
        found += broken_promises(read_logs(bus, TOPICS, LANE), RULES)
    assert any(line.startswith(promise) for line in found)
