"""Pictures to messages: sampling, size, motion, static gating, JPEG. Pure: no clock, no network.

Serving, training and evaluation all use it, so that a model sees in training what it will see.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from ingest.motion import MotionMeter, Thumbnail, grey, moving, thumbnail
from ingest.pictures import Image, Picture
from ingest.settings import IngestSettings
from shared.cameras import Camera
from shared.messages import NANOSECONDS, Encoding, EndOfStream, Frame, Motion, Session, slot


def capture(
    pictures: Iterable[Picture], camera: Camera, session: Session, settings: IngestSettings
) -> Iterator[Frame | EndOfStream]:
    """Every sampled picture as a Frame, then one EndOfStream with reason `end`."""
    shutter = Shutter(camera, session, settings)
    for picture in pictures:
        frame = shutter.take(picture)
        if frame is not None:
            yield frame
    yield shutter.end("end")


class Shutter:
    """Makes the frames of one session, one picture after the other."""

    def __init__(self, camera: Camera, session: Session, settings: IngestSettings) -> None:
        self._camera = camera
        self._session = session
        self._settings = settings
        self._meter = MotionMeter(camera.fps)
        self._last_index = -1
        self._last_at = session.started_at
        self._key: tuple[int, int, Thumbnail] | None = None  # index, time, cells
        self._key_required = False  # set from another thread

    def wanted(self, captured_at: int) -> bool:
        """Whether a picture of this time would be sampled: ask before converting pixels."""
        return self._slot(captured_at) > self._last_index

    def take(self, picture: Picture) -> Frame | None:
        """The frame of this picture; None if its slot has one already."""
        index = self._slot(picture.captured_at)
        if index <= self._last_index:
            return None
        self._last_index, self._last_at = index, picture.captured_at
        image = fitted(picture.image, self._settings.long_side)
        if self._settings.pictures == "grey":
            image = grey(image)
        cells = thumbnail(image)
        motion = self._meter.follow(cells)
        if self._key is not None and self._still(picture.captured_at, cells, self._key):
            return self._frame(motion, image, b"", "unchanged", same_as=self._key[0])
        self._key_required = False
        self._key = (index, picture.captured_at, cells)
        if self._settings.pictures == "grey":
            return self._frame(motion, image, image.tobytes(), "grey")
        return self._frame(motion, image, jpeg(image, self._settings.jpeg_quality), "jpeg")

    def require_key(self) -> None:
        """Make the next frame a full one: frames have been lost behind this shutter."""
        self._key_required = True

    def end(self, reason: str) -> EndOfStream:
        """The message that closes the session."""
        return EndOfStream(
            self._camera.id, str(self._session), self._last_index + 1, self._last_at, reason,
            self._camera.lanes,
        )  # fmt: skip

    def _slot(self, captured_at: int) -> int:
        return slot(captured_at, self._session.started_at, self._camera.fps)

    def _still(self, captured_at: int, cells: Thumbnail, key: tuple[int, int, Thumbnail]) -> bool:
        """Whether the last full picture still stands, compared with that one, not the last."""
        if self._key_required or not self._settings.static_gating:
            return False
        _, since, before = key
        due = captured_at - since >= self._settings.key_interval_seconds * NANOSECONDS
        return not due and not moving(before, cells).any()

    def _frame(
        self, motion: Motion, image: Image, data: bytes, encoding: Encoding,
        same_as: int | None = None,
    ) -> Frame:  # fmt: skip
        height, width = image.shape[:2]
        return Frame(
            self._camera.id, str(self._session), self._last_index, self._last_at,
            self._session.live, self._camera.lanes, encoding, height, width, data, motion,
            same_as,
        )  # fmt: skip


def fitted(image: Image, long_side: int) -> Image:
    """The picture, made smaller where its long side exceeds `long_side` pixels.

    By halves first, each the mean of 2 x 2 pixels, then bilinear for the rest: every pixel counts
    (else thin things would flicker, and look like motion) at a tenth of an area mean's cost. Only
    where the rest is more than 1.5 would bilinear skip pixels.
    """
    height, width = image.shape[:2]
    return shrunk(image, fitting(height, width, long_side))


def fitting(height: int, width: int, long_side: int) -> tuple[int, int]:
    """(height, width) of what `fitted` gives."""
    scale = min(long_side / max(height, width), 1.0)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def shrunk(image: Image, size: tuple[int, int]) -> Image:
    """`image` at this (height, width), neither larger than its own; itself if they are equal."""
    height, width = image.shape[:2]
    while height >= 2 * size[0] and width >= 2 * size[1]:
        height, width = height // 2, width // 2
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))
    if (height, width) != size:
        method = cv2.INTER_LINEAR if width <= 1.5 * size[1] else cv2.INTER_AREA
        image = np.asarray(cv2.resize(image, size[::-1], interpolation=method))
    return np.asarray(image, np.uint8)


def jpeg(image: Image, quality: int) -> bytes:
    """JPEG bytes, 4:2:0."""
    done, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    assert done
    return data.tobytes()
