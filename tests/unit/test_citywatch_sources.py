from __future__ import annotations

from pathlib import Path

import pytest

from citywatch.sources import cameras_of
from shared.errors import InvalidInput


def test_cameras_are_named_after_their_sources(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "main street.mp4").write_bytes(b"video")
    cameras = cameras_of(
        [str(tmp_path / "x/main street.mp4"), str(tmp_path / "y/main street.mp4"), "0",
         "/dev/video2", "synthetic://street?seed=4"]
    )  # fmt: skip
    assert [camera.id for camera in cameras] == [
        "main-street", "main-street-2", "camera-0", "camera-2", "street",
    ]  # fmt: skip


def test_a_name_never_holds_credentials() -> None:
    (camera,) = cameras_of(["rtsp://admin:secret@10.0.0.7:554/live/1?token=abc"])
    assert camera.id == "10.0.0.7-live-1"


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent.mp4", "no such file"), ("empty.mp4", "the file is empty"),
     ("folder", "the folder is empty")],
)  # fmt: skip
def test_what_is_plainly_not_there_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidInput, match=message):
        cameras_of([str(tmp_path / name)])


def test_start_is_an_iso_time(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"video")
    (camera,) = cameras_of([str(video)], start="2026-03-01T18:30:00+00:00")
    assert camera.start_seconds == 1772389800
    with pytest.raises(InvalidInput, match="write it as 2026"):
        cameras_of([str(video)], start="yesterday")
