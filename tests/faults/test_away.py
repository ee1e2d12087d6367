"""A broker that is away for longer than a membership lasts; two minutes: `tests.faults.outage`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.command import ROOT, environment
from tests.support.service_fixtures import kafka, redis_url, service_variables  # noqa: F401


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("kafka", "redis_url")
def test_nothing_is_lost_nobody_dies_and_memory_stays_bounded() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.outage", "--seconds", "8"],
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=380, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["expected"] > 300
    assert found["incidents_expected"] > 10
    assert [found[name] for name in ("missing", "incidents_lost", "incidents_repeated")] == [0] * 3
