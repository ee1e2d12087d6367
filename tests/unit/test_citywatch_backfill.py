"""A recording through the live path of all stages, here on the memory bus."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from citywatch import backfill as module
from citywatch.backfill import Wish, backfill
from citywatch.configuration import resolve
from citywatch.deployment import Deployment
from citywatch.standalone import Standalone
from shared.bus import Partition, read_to_end
from shared.cameras import Camera
from shared.codec import decode
from shared.errors import InvalidInput, Unavailable
from shared.messages import EndOfStream, Features, Frame
from tests.support.bundles import write_bundle
from tests.support.videos import write_video

START = "2026-05-01T08:00:00Z"
SESSION = "file-0-1777622400000000000"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    return write_bundle(folder, name="tiny", extra="[incidents]\nopen_after_seconds = 0.5").folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "street.mp4", seconds=6)


@contextmanager
def house(bundle: Path, *cameras: Camera) -> Iterator[Deployment]:
    """All stages, running; every window alarms."""
    settings = [
        "alerting.store=sqlite", "alerting.open_score=0", "alerting.close_score=0",
        "worker.commit_interval_seconds=0.1", "featurizer.commit_interval_seconds=0.1",
    ]  # fmt: skip
    configuration = resolve(None, settings, bundle)
    with Standalone(configuration, "tiny", cameras) as standalone:
        following = threading.Thread(target=lambda: list(standalone.follow()))
        following.start()
        yield Deployment(standalone.bus, standalone.topics, configuration)
        standalone.finish()
        following.join(30)
        assert not following.is_alive()


def run(
    there: Deployment, capsys: pytest.CaptureFixture[str], *arguments: Any, code: int = 0,
    stop: threading.Event | None = None, **more: Any,
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    capsys.readouterr()
    wish = Wish(*map(str, arguments), json=True, **more)
    assert backfill(there, wish, stop or threading.Event()) == code
    found: dict[str, list[dict[str, Any]]] = {"prediction": [], "incident": [], "summary": []}
    for line in capsys.readouterr().out.splitlines():
        found[json.loads(line)["type"]].append(json.loads(line))
    return found


def test_twice_gives_the_same_ids_and_no_second_incident(
    bundle: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with house(bundle) as there:
        first = run(there, capsys, video, "gate", START)
        again = run(there, capsys, video, "gate", START)
        later = run(there, capsys, video, "gate", "2026-05-01T08:01:00Z")
        events = [
            json.loads(r.value or b"") for r in read_to_end(there.bus, there.topics.anomalies)
        ]
    ids = [p["id"] for p in first["prediction"]]
    assert ids == [f"tiny:gate:{SESSION}:{last}" for last in range(29, 90, 5)]
    assert [p["id"] for p in again["prediction"]] == ids
    assert [p["score"] for p in again["prediction"]] == [p["score"] for p in first["prediction"]]
    assert first["prediction"][0]["started_at"] == 1777622400.0
    assert [(i["state"], i["reason"]) for i in first["incident"]] == [
        ("open", None), ("closed", "end"),
    ]  # fmt: skip
    assert again["incident"] == []
    assert len(later["incident"]) == 2
    assert len(events) == 4
    (summary,) = first["summary"]
    assert (summary["frames"], summary["predictions"], summary["incidents"]) == (90, 13, 1)
    assert summary["session"] == SESSION
    assert again["summary"][0]["lanes"] == {"tiny": {"predictions": 13, "incidents": 0}}


def test_it_speaks_for_the_registered_camera(
    bundle: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live = Camera(id="gate", source="synthetic://street?detail=tiny&seed=3", fps=7.5)
    with house(bundle, live) as there:
        found = run(there, capsys, video, "gate", START)
        frames = [decode(r.value, Frame, EndOfStream) for r in _kept(there)]
    assert found["summary"][0]["frames"] == 45, "at the camera's rate"
    kinds = {(m.session == SESSION, m.live) for m in frames if isinstance(m, Frame)}
    assert kinds == {(True, False), (False, True)}, "beside the live session"
    assert not any(isinstance(m, EndOfStream) and m.session != SESSION for m in frames)


def _kept(there: Deployment) -> list[Any]:
    return there.bus.read(Partition(there.topics.frames, 0), 0, 1 << 40)


def test_what_was_stopped_half_way_goes_on_the_next_time(
    bundle: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Half(threading.Event):
        """Set from the forty-fifth frame on."""

        def is_set(self) -> bool:
            return there.bus.standing(there.topics.frames, "gate").end >= 45

    with house(bundle) as there:
        run(there, capsys, video, "gate", START, stop=Half(), code=1)
        (end,) = (m for r in _kept(there) if isinstance(m := _message(r), EndOfStream))
        assert (end.index, end.reason) == (45, "stopped")
        whole = run(there, capsys, video, "gate", START)
    assert len(whole["prediction"]) == 13


def _message(record: Any) -> Frame | EndOfStream:
    return decode(record.value, Frame, EndOfStream)


def test_frames_do_not_run_far_ahead_of_the_slowest_lane(
    bundle: Path, video: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live cameras of the partition stand in line behind them."""
    monkeypatch.setattr(module, "LEAD", 20)
    with house(bundle) as there:
        run(there, capsys, video, "gate", START)
        frames = [r for r in _kept(there) if isinstance(_message(r), Frame)]
        features = there.bus.read(Partition(there.topics.features("tiny"), 0), 0, 1 << 40)
    done = {m.index: r for r in features if isinstance(m := decode(r.value, Features, EndOfStream),
                                                       Features)}  # fmt: skip
    ahead = max(
        sum(done[index].timestamp > frame.timestamp for index in range(number))
        for number, frame in enumerate(frames)
    )
    assert ahead <= 20


def test_services_that_do_not_run_are_named(
    bundle: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = resolve(None, ["alerting.store=sqlite"], bundle)
    idle = Standalone(configuration, "tiny", [])  # built, never started
    there = Deployment(idle.bus, idle.topics, configuration)
    wish = Wish(str(video), "gate", START, patience_seconds=1.0)
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="featurizer and classifier of lane tiny run"):
        backfill(there, wish, threading.Event())
    assert time.monotonic() - begun < 30


def test_what_cannot_be_mended_by_waiting(bundle: Path, tmp_path: Path) -> None:
    configuration = resolve(None, ["alerting.store=sqlite"], bundle)
    idle = Standalone(configuration, "tiny", [])
    there = Deployment(idle.bus, idle.topics, configuration)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x20ftypisom" + bytes(5000))
    for recording, start, words in (
        (tmp_path / "none.mp4", START, "no such file"),
        ("rtsp://127.0.0.1/x", START, "not a recording"),
        (broken, "2090-01-01T00:00:00Z", "in the future"),
        (broken, "yesterday", "--start"),
        (broken, START, "not a video"),
    ):
        with pytest.raises(InvalidInput, match=words):
            backfill(there, Wish(str(recording), "gate", start), threading.Event())
    assert there.bus.standing(there.topics.frames, "gate").end == 0, "nothing was published"
