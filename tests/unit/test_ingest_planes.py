"""A file's luminance is the grey of its colours, at the same times, as far as the lane."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from featurizer.decoding import Decoded, FrameDecoder
from featurizer.inputs import Inputs
from ingest.capture import capture, fitted
from ingest.motion import grey
from ingest.planes import PlaneSource
from ingest.settings import IngestSettings
from ingest.sources import VideoSource, open_source
from shared.bundle import Input
from shared.bus import Partition, Record
from shared.cameras import Camera
from shared.codec import encode
from shared.errors import InvalidMessage, SourceError
from shared.messages import Frame, Motion, Session
from tests.support.videos import write_video

GREY = IngestSettings(pictures="grey", long_side=128)
COLOUR = IngestSettings(long_side=128)
SESSION = Session(0, 0, live=False)
DIFFERENCE = Input(
    fps=15, kind="difference", distances_ms=(66.667, 133.333, 266.667), tolerance_ms=35,
    region="whole", size=64, mean=(127.5,) * 3, scale=(127.5,) * 3,
)  # fmt: skip


def both(path: Path) -> tuple[list[tuple[int, np.ndarray]], list[tuple[int, np.ndarray]]]:
    """Times and small grey pictures by way of colour, and without."""
    lean = open_source(str(path), GREY, small=True)
    assert isinstance(lean, PlaneSource)
    return (
        [(p.captured_at, grey(fitted(p.image, 128))) for p in open_source(str(path))],
        [(p.captured_at, p.image) for p in lean.pictures(lambda at: True)],
    )


@pytest.mark.parametrize("name", ["limited.mp4", "limited.avi"])
def test_the_same_times_and_within_two_levels_the_same_pictures(tmp_path: Path, name: str) -> None:
    colour, lean = both(write_video(tmp_path / name, seconds=2, size=(256, 144)))
    assert len(lean) == 30
    assert [at for at, _ in lean] == [at for at, _ in colour]
    for (_, expected), (_, found) in zip(colour, lean, strict=True):
        assert found.shape == expected.shape == (72, 128)
        assert np.abs(expected.astype(int) - found).mean() < 2


@pytest.mark.parametrize("size", [(256, 144), (96, 64), (320, 180), (256, 148)])
def test_colours_are_those_that_opencv_gives(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=1, size=size)
    lean = open_source(str(path), COLOUR, small=True)
    assert isinstance(lean, PlaneSource)
    for expected, found in zip(open_source(str(path)), lean, strict=True):
        assert found.captured_at == expected.captured_at
        small = fitted(expected.image, 128)
        assert found.image.shape == small.shape
        # The ground is noise, each pixel of another colour: averaged over what has one in a video.
        means = [cv2.blur(image, (8, 8)).astype(int) for image in (small, found.image)]
        assert np.abs(means[0] - means[1]).mean() < 2


def test_colours_of_full_range_or_odd_size_are_left_to_opencv(tmp_path: Path) -> None:
    full = tmp_path / "full.avi"
    video = cv2.VideoWriter(str(full), cv2.VideoWriter.fourcc(*"MJPG"), 15, (64, 48))
    video.write(np.zeros((48, 64, 3), np.uint8))
    video.release()
    odd = write_video(tmp_path / "odd.mp4", seconds=0.5, size=(256, 146))  # 128 x 73
    for path in (full, odd):
        assert isinstance(open_source(str(path), COLOUR, small=True), VideoSource)


def test_a_video_of_full_range_is_not_stretched(tmp_path: Path) -> None:
    path = tmp_path / "full.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (256, 144))
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (144, 256, 3))
    for _ in range(3):
        video.write(np.ascontiguousarray(ramp))
    video.release()
    colour, lean = both(path)
    for (_, expected), (_, found) in zip(colour, lean, strict=True):
        assert found.min() < 5
        assert found.max() > 250
        assert np.abs(expected.astype(int) - found).mean() < 2


def test_pictures_may_be_kept(tmp_path: Path) -> None:
    """Even where they are so small that the decoder's own memory could have been handed out."""
    path = write_video(tmp_path / "small.mp4", seconds=2, size=(96, 64))
    kept = [picture.image for picture in open_source(str(path), GREY, small=True)]
    again = [picture.image.copy() for picture in open_source(str(path), GREY, small=True)]
    assert all(np.array_equal(a, b) for a, b in zip(kept, again, strict=True))


def test_only_what_is_wanted_is_given(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=2, fps=10)
    wanted = {n * 10**8 for n in range(0, 20, 3)}
    given = open_source(str(path), GREY, small=True).pictures(wanted.__contains__)
    assert {picture.captured_at for picture in given} == wanted


def test_what_is_damaged_says_so(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.avi", seconds=6, fps=15).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    pictures = []
    with pytest.raises(SourceError, match=r"cut\.avi: damaged or cut off: \d+ of 90 frames read"):
        for picture in open_source(str(cut), GREY, small=True):
            pictures.append(picture)  # noqa: PERF402  what came before the error counts
    assert 10 < len(pictures) < 80
    (tmp_path / "notes.mp4").write_bytes(b"not a video" * 100)
    with pytest.raises(SourceError, match="not a video"):
        open_source(str(tmp_path / "notes.mp4"), GREY, small=True)


def test_what_has_no_plane_of_luminance_is_read_in_colour(tmp_path: Path) -> None:
    path = tmp_path / "colours.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"png "), 15, (64, 48))
    for _ in range(3):
        video.write(np.full((48, 64, 3), (20, 200, 90), np.uint8))
    video.release()
    source = open_source(str(path), GREY, small=True)
    assert isinstance(source, VideoSource)
    frames = list(capture(source, Camera(id="a", source=str(path)), SESSION, GREY))
    first = frames[0]
    assert isinstance(first, Frame)
    assert (first.encoding, len(first.data)) == ("grey", 64 * 48)
    assert set(first.data) == {int(grey(np.full((1, 1, 3), (20, 200, 90), np.uint8))[0, 0])}


def test_network_inputs_are_the_same_with_jpeg_and_without(tmp_path: Path) -> None:
    """The tolerance: half a grey level on average; JPEG adds its noise, and takes what is faint."""
    path = write_video(tmp_path / "a.mp4", seconds=3, size=(256, 144))
    made = {}
    for pictures in ("jpeg", "grey"):
        settings = IngestSettings.model_validate(
            {"pictures": pictures, "long_side": 128, "static_gating": False}
        )
        camera = Camera(id="a", source=str(path), fps=15)
        decode = FrameDecoder("lane", 30, lambda: 0, only_grey=True)
        inputs = Inputs(DIFFERENCE)
        images = []
        for message in capture(
            open_source(str(path), settings, small=True).pictures(lambda at: True),
            camera,
            SESSION,
            settings,
        ):
            decoded = decode(Record(Partition("frames", 0), 0, "a", encode(message), (), 0))
            if isinstance(decoded, Decoded):
                assert decoded.picture is not None
                assert decoded.picture.shape == (72, 128)
                images.append(
                    inputs.take(decoded.frame.captured_at, decoded.picture, decoded.frame.motion)
                )
        made[pictures] = np.stack([image for image in images if image is not None]).astype(int)
    assert made["jpeg"].shape == made["grey"].shape == (41, 64, 64, 3)
    assert np.abs(made["jpeg"] - made["grey"]).mean() < 0.5
    assert made["grey"].max() > 60, "something moves"


def test_a_lane_that_looks_at_colours_refuses_grey() -> None:
    frame = Frame("a", str(SESSION), 0, 0, False, (), "grey", 4, 6, bytes(24), Motion())
    decode = FrameDecoder("lane", 30, lambda: 0, only_grey=False)
    with pytest.raises(InvalidMessage, match="looks at colours"):
        decode(Record(Partition("frames", 0), 0, "a", encode(frame), (), 0))
