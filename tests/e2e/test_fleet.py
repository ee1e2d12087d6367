"""Eight cameras at once: the broken ones are reported, the others do not notice."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.support.command import Outcome, citywatch, start
from tests.support.rtsp import RtspServer
from tests.support.videos import write_video

pytestmark = pytest.mark.timeout(180)
SECONDS = 90.0


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    """A real RTSP server."""
    with RtspServer() as server:
        yield server


def objects_until(
    out: IO[str], seen: list[dict[str, Any]], enough: Callable[[list[dict[str, Any]]], bool]
) -> None:
    """Read lines of JSON until there is enough of them."""
    until = time.monotonic() + SECONDS
    while not enough(seen):
        assert time.monotonic() < until, f"not enough in {SECONDS:g} s"
        line = out.readline()
        assert line, "the process ended"
        seen.append(json.loads(line))


def of(seen: list[dict[str, Any]], camera: str) -> list[dict[str, Any]]:
    return [x for x in seen if x["type"] == "prediction" and x["camera_id"] == camera]


def test_eight_cameras_two_of_them_broken(bundle: Path, tmp_path: Path, camera: RtspServer) -> None:
    shapes: list[tuple[str, float, tuple[int, int], float]] = [
        ("hall", 15, (192, 108), 8), ("yard", 25, (256, 192), 8), ("gate", 10, (128, 128), 10),
        ("roof", 30, (320, 180), 6), ("dock", 12.5, (160, 120), 9), ("park", 7, (192, 108), 12),
    ]  # fmt: skip
    videos = [write_video(tmp_path / f"{name}.mp4", seconds, fps, size)
              for name, fps, size, seconds in shapes]  # fmt: skip
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(videos[0].read_bytes()[:4000])
    live = f"rtsp://{camera.address}"
    process = start(
        ["citywatch", "watch", *videos, broken, live, "--json", "--bundle", bundle,
         "--set", "ingest.read_timeout_seconds=2", "--set", "ingest.max_retry_seconds=1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    seen: list[dict[str, Any]] = []
    try:
        objects_until(process.stdout, seen, lambda all_: len(of(all_, "127.0.0.1-camera")) > 1)
        before = {x["id"].split(":")[2] for x in of(seen, "127.0.0.1-camera")}
        camera.kill()
        camera.start()
        objects_until(
            process.stdout, seen,
            lambda all_: {x["id"].split(":")[2] for x in of(all_, "127.0.0.1-camera")} > before,
        )  # fmt: skip
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    rest = Outcome(process.returncode, out, err)
    seen += rest.objects
    assert rest.code == 1, "one source failed"
    assert rest.summary["failed"] == ["broken"]
    assert rest.summary["sources"] == 8
    assert "broken: " in err
    assert "127.0.0.1-camera: " in err, "the outage is reported"
    assert "127.0.0.1-camera: is back" in err
    undisturbed = citywatch("watch", *videos, "--json", "--bundle", bundle)
    assert undisturbed.code == 0, undisturbed.err
    for name, *_ in shapes:
        together, expected = of(seen, name), of(undisturbed.objects, name)
        assert expected
        assert [x["id"] for x in together] == [x["id"] for x in expected]
        scores = [x["score"] for x in expected]
        assert [x["score"] for x in together] == pytest.approx(scores, abs=1e-3)
