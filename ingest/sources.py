"""Where pictures come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from ingest.pictures import Picture
from shared.errors import SourceError


def always(captured_at: int) -> bool:
    """Every picture is wanted."""
    return True


def read_video(
    path: Path, start: int = 0, wanted: Callable[[int], bool] = always
) -> Iterator[Picture]:
    """The pictures of a video file; only those whose time is `wanted` are converted."""
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not video.isOpened():
        raise SourceError(f"{path}: not a video that can be read")
    rate = video.get(cv2.CAP_PROP_FPS)
    number, last = 0, start
    while video.grab():
        position = video.get(cv2.CAP_PROP_POS_MSEC)
        at = start + (
            round(position * 1e6) if position > 0 or not number else round(number / rate * 1e9)
        )
        last = max(last, at)
        number += 1
        if wanted(last):
            done, image = video.retrieve()
            if done:
                yield Picture(last, np.asarray(image, np.uint8))
    video.release()
