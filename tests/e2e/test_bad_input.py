"""What goes wrong in use: each a message that says what to do, and the right exit code."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.bundle import Bundle
from tests.support.broker import free_port
from tests.support.command import citywatch

OPERATOR, FAILED, UNAVAILABLE = 2, 1, 3


def damaged(folder: Path, video: Path) -> Path:
    """A video whose second half is noise, and whose index lies in it."""
    data = bytearray(video.read_bytes())
    data[len(data) // 2 :] = b"\x5a" * (len(data) - len(data) // 2)
    path = folder / "damaged.mp4"
    path.write_bytes(data)
    return path


def no_video(folder: Path, video: Path) -> Path:
    path = folder / "text.mp4"
    path.write_text("this is no video\n" * 100)
    return path


def empty_folder(folder: Path, video: Path) -> Path:
    path = folder / "pictures"
    path.mkdir()
    return path


def folder_of_text(folder: Path, video: Path) -> Path:
    path = empty_folder(folder, video)
    (path / "notes.txt").write_text("no picture")
    return path


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (lambda folder, video: folder / "absent.mp4", OPERATOR, "absent.mp4: no such file"),
        (empty_folder, OPERATOR, "pictures: the folder is empty"),
        (folder_of_text, FAILED, "no pictures in this folder"),
        (no_video, FAILED, "not a video that can be decoded"),
        (damaged, FAILED, "damaged.mp4: not a video that can be decoded"),
    ],
)
def test_a_source_that_cannot_be_watched(
    make: Callable[[Path, Path], Path], code: int, message: str, bundle: Path, video: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    outcome = citywatch("watch", make(tmp_path, video), "--bundle", bundle, "--json")
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    if code == FAILED:
        assert len(outcome.summary["failed"]) == 1


def test_an_address_where_nothing_answers(bundle: Path) -> None:
    url = f"rtsp://admin:secret@127.0.0.1:{free_port()}/live"
    outcome = citywatch("watch", url, "--bundle", bundle, "--json")
    assert outcome.code == FAILED
    assert "does the camera answer?" in outcome.err
    assert "secret" not in outcome.out + outcome.err
    assert outcome.summary["failed"] == ["127.0.0.1-live"]


def without_weights(folder: Path, bundle: Path) -> Path:
    copy = folder / "bundle"
    shutil.copytree(bundle, copy)
    (copy / "classifier.safetensors").unlink()
    return copy


def unknown_key(folder: Path, bundle: Path) -> Path:
    copy = folder / "bundle"
    shutil.copytree(bundle, copy)
    toml = copy / "bundle.toml"
    toml.write_text("strid = 5\n" + toml.read_text())
    return copy


def broken_weights(folder: Path, bundle: Path) -> Path:
    copy = folder / "bundle"
    shutil.copytree(bundle, copy)
    (copy / "backbone.safetensors").write_bytes(b"\0" * 100)
    Bundle(copy)  # its form is right
    return copy


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder, bundle: folder / "absent", "absent: no such bundle"),
        (lambda folder, bundle: folder, "no bundle here (bundle.toml is absent)"),
        (without_weights, "classifier.safetensors: this file of the bundle is absent"),
        (unknown_key, "strid: Extra inputs are not permitted"),
        (broken_weights, "backbone.safetensors"),
    ],
)
def test_a_bundle_that_is_none(
    make: Callable[[Path, Path], Path], message: str, bundle: Path, video: Path, tmp_path: Path
) -> None:
    outcome = citywatch("watch", video, "--bundle", make(tmp_path, bundle))
    assert (outcome.code, outcome.out) == (OPERATOR, "")
    assert message in outcome.err
    assert outcome.err.startswith("citywatch: ")
    assert outcome.err.count("\n") == 1, "one line"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("featurizer.bach=8", "--set featurizer.bach: Extra inputs are not permitted; known keys:"),
        ("featurizer.batch=many", "--set featurizer.batch: Input should be a valid integer"),
        ("camera.fps=3", "--set camera.fps: no such section"),
        ("featurizer", "--set featurizer: write it as section.key=value"),
    ],
)
def test_a_setting_that_is_none(setting: str, message: str, bundle: Path, video: Path) -> None:
    outcome = citywatch("watch", video, "--bundle", bundle, "--set", setting)
    assert outcome.code == OPERATOR
    assert message in outcome.err


def test_a_settings_file_with_a_wrong_key(bundle: Path, video: Path, tmp_path: Path) -> None:
    file = tmp_path / "citywatch.toml"
    file.write_text("[alerting]\nopen_scor = 0.5\n")
    outcome = citywatch("watch", video, "--bundle", bundle, "--config", file)
    assert outcome.code == OPERATOR
    assert f"{file}: [alerting] open_scor: Extra inputs" in outcome.err


def test_outputs_that_cannot_be_written(bundle: Path, video: Path, tmp_path: Path) -> None:
    for option, name, message in (
        ("--plot", "absent/x.png", "there is no folder"),
        ("--plot", "x.txt", "write a .png"),
        ("--annotate", "absent/x.mp4", "there is no folder"),
    ):
        outcome = citywatch("watch", video, "--bundle", bundle, option, tmp_path / name)
        assert outcome.code == OPERATOR
        assert message in outcome.err


def test_kafka_away_at_start() -> None:
    address = f"127.0.0.1:{free_port()}"
    away = {"CITYWATCH_KAFKA_BOOTSTRAP_SERVERS": address}
    for command in (["cameras", "list"], ["subscribe", "--set", "service.start_timeout_seconds=2"],
                    ["run", "ingest", "--set", "service.start_timeout_seconds=2"]):  # fmt: skip
        outcome = citywatch(*command, env=away)
        assert outcome.code == UNAVAILABLE, outcome.err
        last = outcome.err.splitlines()[-1]
        assert f"Kafka at {address} did not answer within" in last


@pytest.mark.kafka
def test_redis_away_at_start(kafka: str, bundle: Path) -> None:
    away = {
        "CITYWATCH_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "CITYWATCH_KAFKA_PREFIX": "e2e-redis-away",
        "CITYWATCH_KAFKA_PARTITIONS": "1",
        "CITYWATCH_ALERTING_REDIS_URL": f"redis://user:secret@127.0.0.1:{free_port()}/0",
        "CITYWATCH_SERVICE_START_TIMEOUT_SECONDS": "2",
    }
    outcome = citywatch("run", "alerting", "--set", f"alerting.bundle={bundle}", env=away)
    assert outcome.code == UNAVAILABLE, outcome.err
    assert "Redis" in outcome.err.splitlines()[-1]
    assert "secret" not in outcome.err
