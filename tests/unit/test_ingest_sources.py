"""Files, folders and drawn scenes as sources; playback as if live."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ingest.pictures import Picture
from ingest.playback import Playback
from ingest.settings import IngestSettings
from ingest.sources import open_source
from shared.errors import SourceError
from shared.messages import NANOSECONDS
from tests.support.videos import write_video


def test_a_file_gives_every_picture_with_its_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=2, fps=10)
    source = open_source(str(path))
    assert source.facts.kind == "file"
    assert not source.facts.live
    assert (source.facts.width, source.facts.height) == (192, 108)
    assert (source.facts.fps, source.facts.frames) == (10, 20)
    pictures = list(source)
    assert [p.captured_at for p in pictures] == [n * NANOSECONDS // 10 for n in range(20)]
    assert {p.image.shape for p in pictures} == {(108, 192, 3)}
    assert not np.array_equal(pictures[0].image, pictures[10].image)


def test_the_start_of_a_recording_can_be_stated(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=1, fps=10)
    times = [p.captured_at for p in open_source(f"file://{path}", start=7 * NANOSECONDS)]
    assert times[:2] == [7 * NANOSECONDS, 7 * NANOSECONDS + NANOSECONDS // 10]


def test_only_what_is_wanted_is_given(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=2, fps=10)
    asked: list[int] = []

    def wanted(at: int) -> bool:
        asked.append(at)
        return len(asked) % 5 == 0

    given = [p.captured_at for p in open_source(str(path)).pictures(wanted)]
    assert given == asked[4::5]
    assert len(asked) == 20


def test_what_is_no_video_says_so(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(b"not a video" * 100)
    with pytest.raises(SourceError, match=r"notes\.mp4: not a video that can be decoded"):
        open_source(str(path))
    with pytest.raises(SourceError, match="no such file"):
        open_source(str(tmp_path / "absent.mp4"))
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(SourceError, match="not a video"):
        open_source(str(tmp_path / "empty.mp4"))


def test_a_decoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=1, fps=10)
    for decoder in ("auto", "software"):
        settings = IngestSettings.model_validate({"decoder": decoder})
        assert len(list(open_source(str(path), settings))) == 10
    try:
        open_source(str(path), IngestSettings(decoder="vaapi"))
    except SourceError as error:
        assert "no vaapi here" in str(error)
    else:
        pytest.skip("this machine has VAAPI")


def test_a_cut_off_file_gives_what_it_has_and_then_says_so(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.avi", seconds=6, fps=15).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    pictures = []
    with pytest.raises(SourceError, match=r"cut\.avi: damaged or cut off: \d+ of 90 frames read"):
        for picture in open_source(str(cut)):
            pictures.append(picture)  # noqa: PERF402  what came before the error counts
    assert 10 < len(pictures) < 80


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        image = np.full((40, 60, 3), number * 20, np.uint8)
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), image)
    (tmp_path / "notes.txt").write_text("not a picture")
    pictures = list(open_source(str(tmp_path), fps=5))
    assert [int(p.image[0, 0, 0]) for p in pictures] == [20, 40, 200]
    assert [p.captured_at for p in pictures] == [0, NANOSECONDS // 5, 2 * NANOSECONDS // 5]


def test_a_broken_picture_in_a_folder_leaves_a_gap(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((40, 60, 3), np.uint8))
    (tmp_path / "1.png").write_bytes(b"broken")
    times = []
    with pytest.raises(SourceError, match=r"1 of 3 pictures cannot be decoded, 1\.png the first"):
        for picture in open_source(str(tmp_path), fps=10):
            times.append(picture.captured_at)  # noqa: PERF401
    assert times == [0, NANOSECONDS // 5]


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no pictures in this folder"):
        open_source(str(tmp_path))


def test_a_drawn_scene_and_a_wrong_address() -> None:
    source = open_source("synthetic://street?seed=3&seconds=1&fps=5&detail=tiny")
    assert source.facts.frames == 5
    assert [p.captured_at for p in source] == [n * NANOSECONDS // 5 for n in range(5)]
    with pytest.raises(SourceError, match="speed"):
        open_source("synthetic://street?speed=3")


def test_an_unreachable_stream_says_so_without_its_password() -> None:
    with pytest.raises(SourceError) as caught:
        open_source("rtsp://bob:hunter2@127.0.0.1:9/x", IngestSettings(open_timeout_seconds=2))
    assert "hunter2" not in str(caught.value)
    assert "127.0.0.1:9" in str(caught.value)


class Wall:
    """A wall clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 500 * NANOSECONDS
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += round(seconds * NANOSECONDS)


def test_a_loop_runs_at_its_own_pace_and_never_back_in_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=0.5, fps=10)
    wall = Wall()
    source = Playback(
        open_source(str(path)), lambda: open_source(str(path)),
        now=lambda: wall.now, sleep=wall.sleep,
    )  # fmt: skip
    assert source.facts.live
    times = []
    for picture in source:
        times.append(picture.captured_at)
        assert wall.now >= picture.captured_at
        if len(times) == 23:
            break
    assert np.allclose(np.diff(times), NANOSECONDS / 10, atol=1000)
    assert sum(wall.slept) == pytest.approx(2.2)


def test_a_loop_that_is_read_too_slowly_skips_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=2, fps=10)
    wall = Wall()
    playback = Playback(open_source(str(path)), None, now=lambda: wall.now, sleep=wall.sleep)
    pictures = iter(playback)
    first: Picture = next(pictures)
    wall.now += 30 * NANOSECONDS
    assert next(pictures).captured_at - first.captured_at == 30 * NANOSECONDS
    assert len(list(pictures)) == 18
