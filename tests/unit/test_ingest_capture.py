"""From pictures to frames: slots, size, static gating, JPEG."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from ingest.capture import Shutter, capture, fitted
from ingest.pictures import Image, Picture
from ingest.settings import IngestSettings
from shared.cameras import Camera
from shared.codec import decode, encode
from shared.messages import NANOSECONDS, EndOfStream, Frame, Session

SESSION = Session(0, 0, live=False)


def picture(seconds: float, shade: int = 0, size: tuple[int, int] = (90, 160)) -> Picture:
    return Picture(round(seconds * NANOSECONDS), np.full((*size, 3), shade, np.uint8))


def shutter(fps: float = 15.0, **settings: object) -> Shutter:
    chosen = IngestSettings.model_validate(settings)
    return Shutter(Camera(id="yard", source="x", fps=fps, lanes=("street",)), SESSION, chosen)


def video(rate: float, seconds: float) -> Iterator[Picture]:
    for number in range(round(rate * seconds)):
        yield picture(number / rate, shade=(37 * number) % 251)


@pytest.mark.parametrize("rate", [5.0, 10.0, 12.5, 15.0, 25.0, 29.97, 30.0, 60.0])
def test_the_first_picture_of_each_slot_is_taken(rate: float) -> None:
    camera = Camera(id="yard", source="x")
    *frames, end = capture(video(rate, 4), camera, SESSION, IngestSettings())
    indices = [frame.index for frame in frames if isinstance(frame, Frame)]
    assert indices == sorted(set(indices))
    assert len(indices) == min(round(rate * 4), 60)
    assert isinstance(end, EndOfStream)
    assert end.index == indices[-1] + 1
    assert end.reason == "end"
    for message in (*frames, end):
        assert decode(encode(message), Frame, EndOfStream) == message


def test_a_gap_in_time_is_a_gap_in_the_index() -> None:
    taken = [shutter_frame.index for shutter_frame in frames_at(0, 0.07, 0.34, 0.4)]
    assert taken == [0, 1, 5, 6]


def frames_at(*seconds: float) -> list[Frame]:
    camera = shutter()
    frames = [camera.take(picture(at, shade=int(at * 255))) for at in seconds]
    return [frame for frame in frames if frame is not None]


def test_unwanted_pictures_can_be_told_before_they_are_converted() -> None:
    camera = shutter(fps=10)
    assert camera.wanted(0)
    assert camera.take(picture(0)) is not None
    assert not camera.wanted(round(0.05 * NANOSECONDS))
    assert camera.take(picture(0.05)) is None
    assert camera.wanted(round(0.1 * NANOSECONDS))


def test_still_pictures_are_sent_once_a_second() -> None:
    camera = shutter(fps=10)
    frames = [camera.take(picture(number / 10, shade=90)) for number in range(30)]
    full = [frame.index for frame in frames if frame and frame.encoding == "jpeg"]
    assert full == [0, 10, 20]
    for frame in frames:
        assert frame is not None
        if frame.encoding == "unchanged":
            assert frame.same_as == frame.index // 10 * 10
            assert frame.data == b""
            assert frame.motion.energy == 0


def test_slow_change_is_compared_with_the_picture_that_was_sent() -> None:
    camera = shutter(fps=10, key_interval_seconds=100)
    frames = [camera.take(picture(n / 10, shade=100 + n)) for n in range(40)]  # 1 level a frame
    full = [frame.index for frame in frames if frame and frame.encoding == "jpeg"]
    assert len(full) == 4
    assert all(frame.motion.energy == 0 for frame in frames if frame)


def test_a_full_frame_follows_a_drop() -> None:
    camera = shutter(fps=10)
    encodings = []
    for number in range(6):
        if number == 3:
            camera.require_key()
        frame = camera.take(picture(number / 10, shade=90))
        assert frame is not None
        encodings.append(frame.encoding)
    assert encodings == ["jpeg", "unchanged", "unchanged", "jpeg", "unchanged", "unchanged"]


def test_static_gating_can_be_off() -> None:
    camera = shutter(fps=10, static_gating=False)
    frames = [camera.take(picture(number / 10, shade=90)) for number in range(5)]
    assert {frame.encoding for frame in frames if frame} == {"jpeg"}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((720, 1280), (360, 640)), ((1080, 1920), (360, 640)), ((2160, 3840), (360, 640)),
        ((768, 432), (640, 360)), ((480, 640), (480, 640)), ((90, 160), (90, 160)),
        ((10, 4000), (2, 640)), ((1, 7000), (1, 640)),
    ],
)  # fmt: skip
def test_the_long_side_is_limited(size: tuple[int, int], expected: tuple[int, int]) -> None:
    frame = shutter().take(picture(0, size=size))
    assert frame is not None
    assert (frame.height, frame.width) == expected
    decoded = cv2.imdecode(np.frombuffer(frame.data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape[:2] == expected


@pytest.mark.parametrize(
    "size", [(720, 1280), (1080, 1920), (1440, 2560), (768, 1024), (700, 1270)]
)
def test_making_small_skips_no_pixel(size: tuple[int, int]) -> None:
    """A thin line must weigh the same wherever it falls, or its walk would look like flicker."""
    weights = []
    for column in range(200, 216):
        image: Image = np.zeros((*size, 3), np.uint8)
        image[:, column] = 255
        weights.append(fitted(image, 640)[100].sum(dtype=float))
    assert min(weights) > 0.6 * max(weights)
