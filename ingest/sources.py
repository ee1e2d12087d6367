"""Where pictures come from: files, folders, streams, devices, drawn scenes.

    for picture in open_source("street.mp4"): ...

A file gives every picture, with the time that the file states; a stream or device gives them as
they come, on the wall clock. Opening and reading raise SourceError, with what to do about it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from ingest.addresses import Kind, kind_of, path_of, redact
from ingest.clocks import FileClock, StreamClock
from ingest.pictures import Facts, Image, Picture, Wanted, check_end
from ingest.settings import IngestSettings
from shared.errors import CitywatchError, SourceError
from shared.messages import NANOSECONDS

__all__ = ["Facts", "Picture", "Source", "Wanted", "open_source"]

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

_FILE_THREADS = 2  # one decodes ahead while we convert and compress
_ACCELERATION = {
    "auto": cv2.VIDEO_ACCELERATION_ANY,
    "software": cv2.VIDEO_ACCELERATION_NONE,
    "vaapi": cv2.VIDEO_ACCELERATION_VAAPI,
    "nvdec": cv2.VIDEO_ACCELERATION_NONE,  # chosen by the decoder's name: capture_process.py
}


class Source(Protocol):
    """Something that is open and gives pictures once."""

    facts: Facts

    def __iter__(self) -> Iterator[Picture]:
        """Every picture, in order."""

    def pictures(self, wanted: Wanted) -> Iterator[Picture]:
        """The pictures wanted. An image may be overwritten when the next one is asked for."""


def open_source(
    source: str,
    settings: IngestSettings | None = None,
    start: int = 0,
    fps: float = 15.0,
    *,
    small: bool = False,
) -> Source:
    """Open what `source` names.

    `start` is the time of a recording's first picture, in nanoseconds; `fps` the rate at which a
    folder of pictures was taken. With `small`, pictures may come as small as the settings want
    them in the end, and grey if they want that. Raises SourceError; its text holds no credentials.
    """
    settings = settings or IngestSettings()
    kind = kind_of(source)
    if kind == "synthetic":
        return DrawnSource(source, start)
    if kind == "folder":
        return FolderSource(path_of(source), start, fps)
    if kind == "file" and not path_of(source).is_file():
        raise SourceError(f"{source}: no such file")
    if small and kind == "file" and settings.decoder in ("auto", "software"):
        # Only who wants it loads a second decoder library.
        from ingest.planes import open_planes  # noqa: PLC0415

        threads = settings.decoder_threads or _FILE_THREADS
        found = open_planes(
            path_of(source), start, settings.long_side, threads, grey=settings.pictures == "grey"
        )
        if found is not None:
            return found
    return VideoSource(source, kind, settings, start)


class VideoSource:
    """Anything that OpenCV reads: a video file, a stream, a local device."""

    def __init__(self, source: str, kind: Kind, settings: IngestSettings, start: int = 0) -> None:
        self._name = redact(source)
        self._start = start
        self._video = _opened(source, kind, settings)
        get = self._video.get
        frames = max(int(get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        # A recording behind http:// states its length, a live stream does not. RTSP plays in
        # real time, whatever it states.
        live = kind == "device" or (
            kind == "stream" and (not frames or source.lower().startswith(("rtsp", "rtmp", "srt")))
        )
        self.facts = Facts(
            kind,
            live,
            int(get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(get(cv2.CAP_PROP_FRAME_HEIGHT)),
            _sane(get(cv2.CAP_PROP_FPS)),
            _fourcc(int(get(cv2.CAP_PROP_FOURCC))),
            frames,
        )

    def __iter__(self) -> Iterator[Picture]:
        return self._read(lambda at: True, None)

    def pictures(self, wanted: Wanted) -> Iterator[Picture]:
        return self._read(wanted, np.empty((self.facts.height, self.facts.width, 3), np.uint8))

    def _read(self, wanted: Wanted, buffer: Image | None) -> Iterator[Picture]:
        clock = StreamClock(time.time_ns) if self.facts.live else FileClock(self.facts.fps)
        video = self._video
        grabbed = given = 0
        try:
            while video.grab():
                grabbed += 1
                at = self._start + clock.time(video.get(cv2.CAP_PROP_POS_MSEC))
                if not wanted(at):
                    continue
                # A picture of 720p in memory that is new each time costs more than its decoding.
                done, image = video.retrieve() if buffer is None else video.retrieve(buffer)
                if done and image is not None and image.ndim == 3:
                    given += 1
                    yield Picture(at, np.asarray(image, np.uint8))
        finally:
            video.release()
        check_end(self._name, self.facts, grabbed, given)


class FolderSource:
    """The pictures of a folder, in the natural order of their names, at a fixed rate."""

    def __init__(self, folder: Path, start: int, fps: float) -> None:
        self._start = start
        self._paths = sorted(
            (p for p in folder.iterdir() if p.suffix.lower() in PICTURES and p.is_file()),
            key=lambda path: _natural(path.name),
        )
        if not self._paths:
            raise SourceError(
                f"{folder}: no pictures in this folder ({', '.join(sorted(PICTURES))})"
            )
        self._folder = folder
        self.facts = Facts("folder", False, fps=fps, codec="images", frames=len(self._paths))

    def __iter__(self) -> Iterator[Picture]:
        return self.pictures(lambda at: True)

    def pictures(self, wanted: Wanted) -> Iterator[Picture]:
        unreadable: list[str] = []
        for number, path in enumerate(self._paths):
            at = self._start + round(number / self.facts.fps * NANOSECONDS)
            if not wanted(at):
                continue
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:  # its slot stays empty: a gap that windows know about
                unreadable.append(path.name)
            else:
                yield Picture(at, np.asarray(image, np.uint8))
        if unreadable:
            raise SourceError(
                f"{self._folder}: {len(unreadable)} of {len(self._paths)} pictures cannot be "
                f"decoded, {unreadable[0]} the first"
            )


class DrawnSource:
    """A drawn scene."""

    def __init__(self, url: str, start: int) -> None:
        # Only who draws loads the drawing: the processes that read cameras start without it.
        from ingest.synthetic import SyntheticSource  # noqa: PLC0415

        try:
            self._scene = SyntheticSource(url, start)
        except CitywatchError as error:
            raise SourceError(str(error)) from None
        options = self._scene.options
        self.facts = Facts(
            "synthetic", False, options.width, options.height, options.fps, "drawn",
            self._scene.frames,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Picture]:
        return iter(self._scene)

    def pictures(self, wanted: Wanted) -> Iterator[Picture]:
        return self._scene.pictures(wanted)


def _opened(source: str, kind: Kind, settings: IngestSettings) -> cv2.VideoCapture:
    # Live, a second thread would add a delay.
    threads = settings.decoder_threads or (_FILE_THREADS if kind == "file" else 1)
    options = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(settings.open_timeout_seconds * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(settings.read_timeout_seconds * 1000),
        cv2.CAP_PROP_N_THREADS, threads,
        cv2.CAP_PROP_HW_ACCELERATION, _ACCELERATION[settings.decoder],
    ]  # fmt: skip
    try:
        if kind == "device":
            device: int | str = int(source) if source.isdecimal() else source
            video = cv2.VideoCapture(device, cv2.CAP_ANY)
        else:
            address = source if kind == "stream" else str(path_of(source))
            video = cv2.VideoCapture(address, cv2.CAP_FFMPEG, options)
    except cv2.error as error:  # wrong use; its text may hold the address
        raise SourceError(f"{redact(source)}: {redact(str(error.err))}") from None
    if not video.isOpened():
        asked = settings.decoder
        doubt = f" (or there is no {asked} here: try ingest.decoder=auto)" if asked in _RARE else ""
        raise SourceError(f"{redact(source)}: {_HINTS[kind]}{doubt}")
    return video


_RARE = ("vaapi", "nvdec")
_HINTS: dict[Kind, str] = {
    "file": "not a video that can be decoded",
    "stream": "cannot be opened: is the address right, and does the camera answer?",
    "device": "cannot be opened: is the device there, free, and readable for this user?",
}


def _sane(fps: float) -> float:
    """The rate as stated; 0 where a container states nonsense."""
    return fps if np.isfinite(fps) and 0 < fps <= 1000 else 0.0


def _fourcc(code: int) -> str:
    text = "".join(chr((code >> shift) & 0xFF) for shift in (0, 8, 16, 24))
    return text.strip("\0 ") if text.isprintable() else ""


def _natural(name: str) -> list[tuple[int, str]]:
    """`frame2` before `frame10`."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]
