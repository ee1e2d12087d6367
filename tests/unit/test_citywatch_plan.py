"""The capacity plan: its arithmetic by hand, its limits, its words."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from citywatch.cli import app
from citywatch.plan import PROFILE, Fleet, Profile, plan, read
from shared.errors import InvalidInput

PROFILE_BY_HAND = Profile(
    machine="a machine", measured="by hand", ingest_ms=2, ingest_unchanged_ms=1, featurizer_ms=4,
    classifier_ms=0.1, alerting_ms=0.5, broker_ms=0.2, windows_a_frame=0.2, picture_bytes=30_000,
    unchanged_bytes=200, features_bytes=3_000, prediction_bytes=1_000, ingest_camera_mb=80,
    featurizer_mb=300, featurizer_camera_mb=1, classifier_mb=200, classifier_camera_kb=95,
)  # fmt: skip
FLEET = Fleet(cameras=1000, fps=10, utilisation=0.5)


def test_cores_by_hand() -> None:
    found = plan(FLEET, PROFILE_BY_HAND)  # 10,000 frames/s at half load
    assert found.ingest_cores == pytest.approx(40)
    assert found.featurizer_cores == pytest.approx(80)
    assert found.featurizers == 20
    assert found.classifier_cores == pytest.approx(2)
    assert found.alerting_cores == pytest.approx(2)  # 2,000 windows/s
    assert found.broker_cores == pytest.approx(8)  # two replicas
    assert found.cores == pytest.approx(132)
    assert found.cores_a_camera == pytest.approx(0.132)


def test_network_and_disk_by_hand() -> None:
    found = plan(FLEET, PROFILE_BY_HAND)
    frames, features, predictions = 300e6, 30e6, 2e6
    produced = frames + features + predictions
    assert found.broker_in == pytest.approx(2 * produced)  # from producers, and to the follower
    assert found.broker_out == pytest.approx(produced + produced)  # to the follower, to readers
    hour = 3600
    assert found.disk == pytest.approx(2 * hour * (frames + 6 * features + 7 * 24 * predictions))
    # 664 MB/s against 750 MB/s usable a broker: three are the least that is sensible anyway.
    assert found.brokers == 3
    assert plan(replace(FLEET, broker_gigabits=1), PROFILE_BY_HAND).brokers == 9


def test_still_footage_costs_neither_network_nor_backbone() -> None:
    moving, still = (plan(replace(FLEET, static=s), PROFILE_BY_HAND) for s in (0.0, 1.0))
    assert still.featurizer_cores == 0 and still.ingest_cores == moving.ingest_cores / 2
    assert still.broker_in < moving.broker_in / 50
    assert still.classifier_cores == moving.classifier_cores  # windows go on


def test_every_lane_pays_for_its_backbone_and_shares_the_decoding() -> None:
    one, two = (plan(replace(FLEET, lanes=n), PROFILE_BY_HAND) for n in (1, 2))
    assert two.ingest_cores == one.ingest_cores
    assert two.featurizer_cores == 2 * one.featurizer_cores


def test_partitions_leave_ten_to_twenty_cameras_each() -> None:
    for cameras in (100, 1000, 10_000):
        found = plan(replace(FLEET, cameras=cameras, fps=1), PROFILE_BY_HAND)
        assert 10 <= cameras / found.partitions <= 20


def test_there_are_at_least_as_many_partitions_as_consumers() -> None:
    found = plan(replace(FLEET, cameras=10, fps=100), PROFILE_BY_HAND)
    assert found.partitions >= max(found.featurizers, found.classifiers)


def test_the_price_is_that_of_the_cores() -> None:
    assert plan(FLEET, PROFILE_BY_HAND).cost_a_camera_month is None
    priced = plan(replace(FLEET, core_month=20), PROFILE_BY_HAND)
    assert priced.cost_a_camera_month == pytest.approx(2.64)


def test_the_command_reads_the_shipped_profile() -> None:
    done = CliRunner().invoke(app, ["plan", "--cameras", "10000", "--fps", "10", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["fleet"]["cameras"] == 10_000 and found["profile"] == read(PROFILE).machine
    shipped = read(PROFILE)
    each = shipped.ingest_ms + shipped.featurizer_ms + shipped.classifier_ms  # core-ms a frame
    assert found["cores"] > 10_000 * 10 * each / 1000 and found["partitions"] >= 667
    shown = CliRunner().invoke(app, ["plan", "--cameras", "10000", "--fps", "10"])
    assert "partitions" in shown.output and "narrowest" in shown.output


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("machine = ", "Invalid value"),
        ('machine = "m"', "measured: Field required"),
        ("x = 1", "machine"),
    ],
)
def test_a_wrong_profile_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "profile.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=reason):
        read(path)
    with pytest.raises(InvalidInput, match="No such file"):
        read(tmp_path / "absent.toml")
