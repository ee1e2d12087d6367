"""Recorded videos, made small before their colours are computed, or without computing them.

Through OpenCV a picture is converted to BGR at full size and then made small. Here the planes that
the decoder leaves are made small, luminance and colours each at its own size, and only what is left
is converted: at 720p that spares two thirds of a millisecond a picture. For models that look at
motion alone the luminance is enough, and nothing else is taken.
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
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ingest.capture import fitting, shrunk
from ingest.clocks import FileClock
from ingest.pictures import Facts, Image, Picture, Wanted, check_end

_GREY = frozenset({
    "gray", "nv12", "yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p",
})  # fmt: skip
"""Formats whose first plane is the luminance, a byte a pixel."""
_COLOUR = "yuv420p"
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG; else black is 16 and white 235


class PlaneSource:
    """A video file as pictures already made small, BGR or grey. `open_planes` makes one."""

    def __init__(
        self, path: Path, container: InputContainer, frames: Iterator[VideoFrame], start: int,
        size: tuple[int, int], *, grey: bool,
    ) -> None:  # fmt: skip
        self._name = str(path)
        self._container = container
        self._frames = frames
        self._start = start
        self._size = size
        self._grey = grey
        stream = container.streams.video[0]
        context = stream.codec_context
        self._levels = None if _full_range(context) else _limited()
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
                    yield Picture(at, self._luminance(frame) if self._grey else self._bgr(frame))
        check_end(self._name, self.facts, decoded, given)

    def _luminance(self, frame: VideoFrame) -> Image:
        small = shrunk(_plane(frame, 0), self._size)
        if self._levels is not None:
            return np.asarray(cv2.LUT(small, self._levels), np.uint8)
        return small.copy() if small.base is not None else small  # the plane is the decoder's own

    def _bgr(self, frame: VideoFrame) -> Image:
        height, width = self._size
        half = height // 2, width // 2
        sizes = self._size, half, half
        parts = [shrunk(_plane(frame, i), size).ravel() for i, size in enumerate(sizes)]
        planes = np.concatenate(parts).reshape(height * 3 // 2, width)
        return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), np.uint8)


def open_planes(
    path: Path, start: int, long_side: int, threads: int, *, grey: bool
) -> PlaneSource | None:
    """None for what OpenCV alone reads as it should: deep, packed or turned pictures, no video."""
    try:
        container = av.open(str(path))
    except (FFmpegError, OSError):
        return None
    if container.streams.video:
        stream = container.streams.video[0]
        stream.thread_type = "FRAME" if threads > 1 else "NONE"
        stream.codec_context.thread_count = threads
        # Blocks' edges stay unsmoothed in pictures that no other is predicted from: a sixth of
        # H.264's decoding for what making them small smooths anyway.
        stream.codec_context.options = {"skip_loop_filter": "noref"}
        frames = _frames(container, stream)
        first = next(frames, None)
        if first is not None:
            size = fitting(first.height, first.width, long_side)
            # Telephones write pictures that are to be turned, which OpenCV does.
            if not first.rotation and (_has_luminance(first) if grey else _has_colour(first, size)):
                frames = chain([first], frames)
                return PlaneSource(path, container, frames, start, size, grey=grey)
    container.close()
    return None


def _has_luminance(frame: VideoFrame) -> bool:
    return frame.format.name in _GREY


def _has_colour(frame: VideoFrame, size: tuple[int, int]) -> bool:
    """Whether colours at half the size, in both directions, give a whole picture."""
    even = all(side % 2 == 0 for side in (*size, frame.height, frame.width))
    return frame.format.name == _COLOUR and frame.color_range != _FULL_RANGE and even


def _full_range(context: VideoCodecContext) -> bool:
    return context.color_range == _FULL_RANGE or str(context.pix_fmt).startswith(("yuvj", "gray"))


def _plane(frame: VideoFrame, number: int) -> Image:
    """A view of the decoder's memory, without the padding at the end of each row."""
    plane = frame.planes[number]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


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
