"""The luminance of a recorded video, as its decoder leaves it: no colour is ever computed.

For models that look at differences of grey pictures alone. Through OpenCV a picture is converted
to full-size BGR, made small and turned grey again; here the decoder's own luminance plane is made
small in place, which takes a seventh of that (`python -m benchmarks.stages`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ingest.capture import fitted
from ingest.clocks import FileClock
from ingest.pictures import Facts, Image, Picture, Wanted, check_end

_PLANAR = frozenset({
    "gray", "nv12", "yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p",
})  # fmt: skip
"""Formats whose first plane is the luminance, a byte a pixel."""
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG; else black is 16 and white 235


class LuminanceSource:
    """A video file as grey pictures, already made small. `open_luminance` makes one."""

    def __init__(
        self, path: Path, container: InputContainer, frames: Iterator[VideoFrame], start: int,
        long_side: int,
    ) -> None:  # fmt: skip
        self._name = str(path)
        self._container = container
        self._frames = frames
        self._start = start
        self._long_side = long_side
        stream = container.streams.video[0]
        context = stream.codec_context
        full = context.color_range == _FULL_RANGE or str(context.pix_fmt).startswith(("yuvj", "g"))
        self._levels = None if full else _limited()
        rate = stream.average_rate or stream.guessed_rate
        fps = float(rate) if rate and 0 < rate <= 1000 else 0.0
        count = stream.frames
        if not count and container.duration:
            count = math.floor(container.duration / av.time_base * fps + 0.5)
        self.facts = Facts(
            "file", False, context.width, context.height, fps, context.name, max(count, 0)
        )

    def __iter__(self) -> Iterator[Picture]:
        return self.pictures(lambda at: True)

    def pictures(self, wanted: Wanted) -> Iterator[Picture]:
        clock = FileClock(self.facts.fps)
        decoded = given = 0
        with self._container:
            for frame in self._frames:
                decoded += 1
                position = math.nan if frame.time is None else frame.time * 1000
                at = self._start + clock.time(position)
                if wanted(at):
                    given += 1
                    yield Picture(at, self._grey(frame))
        check_end(self._name, self.facts, decoded, given)

    def _grey(self, frame: VideoFrame) -> Image:
        plane = frame.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        small = fitted(rows[: frame.height, : frame.width], self._long_side)
        if self._levels is not None:
            return np.asarray(cv2.LUT(small, self._levels), np.uint8)
        return small.copy() if small.base is not None else small  # the plane is the decoder's own


def open_luminance(path: Path, start: int, long_side: int, threads: int) -> LuminanceSource | None:
    """None for what only OpenCV reads as it should: deep, packed or turned pictures, no video."""
    try:
        container = av.open(str(path))
    except (FFmpegError, OSError):
        return None
    if container.streams.video:
        stream = container.streams.video[0]
        stream.thread_type = "FRAME" if threads > 1 else "NONE"
        stream.codec_context.thread_count = threads
        frames = _frames(container, stream)
        first = next(frames, None)
        # Telephones write pictures that are to be turned, which OpenCV does.
        if first is not None and first.format.name in _PLANAR and not first.rotation:
            return LuminanceSource(path, container, chain([first], frames), start, long_side)
    container.close()
    return None


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """What can be decoded: a damaged packet costs its own picture, as with OpenCV."""
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except InvalidDataError:
                continue
    except FFmpegError:  # the file ends within a packet: `check_end` counts
        return


def _limited() -> Image:
    """What 16..235 is in 0..255."""
    levels = (np.arange(256) - 16) * 255 / 219
    return np.clip(levels, 0, 255).round().astype(np.uint8)
