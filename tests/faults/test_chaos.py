"""Chaos, small: the whole of it is `python -m tests.faults.chaos --kills 100`."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.faults.plan import SERVICES, TARGETS, plan
from tests.support.command import ROOT, environment
from tests.support.service_fixtures import kafka, redis_url, service_variables  # noqa: F401


def chaos(*options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the last line's object, and everything that was said."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.chaos", *options], capture_output=True, text=True,
        cwd=ROOT, env=environment(), timeout=400, check=False,
    )  # fmt: skip
    said = done.stderr + done.stdout
    assert done.stdout, said
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), said


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("kafka", "redis_url")
class TestOnKafka:
    def test_nothing_is_lost(self) -> None:
        code, found, said = chaos("--kills", "10", "--interval", "3", "--seed", "4")
        assert code == 0, said
        assert found["expected"] > 300
        assert found["delivered"] == found["expected"]
        assert found["incidents_expected"] > 10
        lost = ("missing", "incidents_lost", "incidents_repeated")
        assert [found[name] for name in lost] == [0, 0, 0]
        assert 0 < found["recovery_seconds"]["median"] <= found["recovery_seconds"]["max"]

    def test_a_worker_that_commits_too_early_is_found_out(self) -> None:
        code, found, said = chaos(
            "--broken", "--targets", "featurizer", "--actions", "KILL", "--kills", "1",
            "--interval", "8", "--cameras", "2", "--replicas", "1", "--seed", "5",
        )  # fmt: skip
        assert code == 1, said
        assert found["missing"] > 0
        assert "has no features" in said


def test_a_seed_is_a_plan() -> None:
    assert plan(3, 50, 10) == plan(3, 50, 10)
    assert plan(3, 50, 10) != plan(4, 50, 10)


def test_ten_faults_strike_everything_and_a_hundred_in_every_way() -> None:
    for seed in range(20):
        assert {fault.target for fault in plan(seed, 10, 5)} == {*TARGETS}
    faults = plan(0, 100, 10)
    counts = Counter(fault.target for fault in faults)
    assert counts == dict.fromkeys(SERVICES, 20) | {"kafka": 10, "redis": 10}
    ways = {(fault.target, fault.action) for fault in faults}
    assert len(ways) == 4 * 3 + 3 + 4
    assert faults[-1].at == pytest.approx(1000, rel=0.35)
    assert all(fault.at <= later.at for fault, later in itertools.pairwise(faults))


def test_targets_and_actions_can_be_chosen() -> None:
    faults = plan(0, 10, 5, ["classifier", "kafka"], ["KILL"])
    assert {(fault.target, fault.action) for fault in faults} == {
        ("classifier", "KILL"), ("kafka", "KILL"),
    }  # fmt: skip
