"""`citywatch backfill` on the four services: the same recording twice changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.bus import read_to_end
from shared.bus_kafka import KafkaBus
from shared.codec import decode
from shared.messages import EndOfStream, Prediction
from tests.support.command import citywatch
from tests.support.four_services import four_services

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(180)]
ALARM = {"CITYWATCH_ALERTING_OPEN_SCORE": "0", "CITYWATCH_ALERTING_CLOSE_SCORE": "0"}
SESSION = "file-0-1777622400000000000"


def test_twice_gives_the_same_ids_and_no_second_incident(
    kafka: str, redis_url: str, bundle: Path, video: Path, tmp_path: Path
) -> None:
    with four_services(kafka, redis_url, bundle, tmp_path, **ALARM) as there:
        command = ("backfill", video, "--camera", "gate", "--start", "2026-05-01T08:00:00Z")
        options = ("--set", f"featurizer.bundle={bundle}", "--set", f"classifier.bundle={bundle}",
                   "--set", f"alerting.bundle={bundle}")  # fmt: skip
        runs = [citywatch(*command, "--json", *options, env=there.environment) for _ in range(2)]
        nowhere = citywatch(*command, "--lane", "shop", env=there.environment)
        bus = KafkaBus(there.settings)
        try:
            events = [json.loads(r.value or b"") for r in read_to_end(bus, there.topics.anomalies)]
            records = read_to_end(bus, there.topics.predictions("tiny"))
            said = [decode(r.value, Prediction, EndOfStream) for r in records]
        finally:
            bus.close()
    for run in runs:
        assert run.code == 0, run.err
    ids = [[p["id"] for p in run.of_type("prediction")] for run in runs]
    assert ids[0] == [f"tiny:gate:{SESSION}:{last}" for last in range(29, 120, 5)]
    assert ids[1] == ids[0]
    assert [m.id for m in said if isinstance(m, Prediction)] == ids[0] + ids[1]
    assert [len(run.of_type("incident")) for run in runs] == [2, 0]
    assert [e["data"]["state"] for e in events] == ["open", "closed"]
    assert runs[0].summary["lanes"] == {"tiny": {"predictions": 19, "incidents": 1}}
    assert (nowhere.code, nowhere.out) == (2, "")
    assert "shop.predictions does not exist" in nowhere.err
