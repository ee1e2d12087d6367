"""The four services as processes on a real Kafka and Redis say what one process says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from shared.bundle import Bundle
from tests.support.command import ROOT, citywatch, last_index, start
from tests.support.four_services import four_services
from tests.support.videos import write_video

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(180)]
DATA = Path(os.environ.get("CITYWATCH_DATA", ROOT.parent / "shared/data"))
# Every window alarms, whatever the bundle thinks of it.
ALARM = {"CITYWATCH_ALERTING_OPEN_SCORE": "0", "CITYWATCH_ALERTING_CLOSE_SCORE": "0"}


def real(bundle: Path, made: Path) -> tuple[Path, Path]:
    """The bundle that ships and real footage where they are there, else the small ones."""
    street, clip = ROOT / "models/street", DATA / "clips/pedestrians.mp4"
    return (
        street if (street / "bundle.toml").is_file() else bundle,
        clip if clip.is_file() else made,
    )


def test_kafka_and_one_process_agree(
    kafka: str, redis_url: str, bundle: Path, video: Path, tmp_path: Path
) -> None:
    made = write_video(tmp_path / "yard.mp4", seconds=5, fps=25, size=(256, 192))
    bundle, other = real(bundle, made)
    lane = Bundle(bundle).name
    alone = citywatch(
        "watch", video, other, "--json", "--bundle", bundle, "--set", "ingest.pictures=jpeg",
        env=ALARM,
    )  # fmt: skip
    assert alone.code == 0, alone.err
    with four_services(kafka, redis_url, bundle, tmp_path, **ALARM) as there:
        subscriber = start(
            ["citywatch", "subscribe", "--json"], env=there.environment, stdout=subprocess.PIPE
        )
        for name, path in (("street", video), (other.stem, other)):
            added = citywatch("cameras", "add", name, path, env=there.environment)
            assert added.code == 0, added.err
        found = there.predictions(["street", other.stem], lane, seconds=90)
        listed = citywatch("cameras", "list", "--json", env=there.environment)
        codes = there.stop()
        subscriber.terminate()
        heard = [json.loads(line) for line in subscriber.communicate(timeout=20)[0].splitlines()]
    expected = {p["id"]: p for p in alone.of_type("prediction")}
    assert {p.id for p in found} == expected.keys()
    for prediction in found:
        same = expected[prediction.id]
        assert prediction.score == pytest.approx(same["score"], abs=1e-3)
        for label, p in prediction.probabilities.items():
            assert p == pytest.approx(same["probabilities"][label], abs=1e-3)
    assert [json.loads(line)["id"] for line in listed.out.splitlines()] == sorted(
        ["street", other.stem]
    )
    assert codes == dict.fromkeys(("ingest", "featurizer", "classifier", "alerting"), 0)
    incidents = {(i["id"], i["state"]) for i in alone.of_type("incident")}
    assert incidents
    assert {(i["id"], i["state"]) for i in heard} == incidents, "each once, and the same"
    assert max(map(last_index, alone.of_type("prediction"))) >= 119
