"""Small videos, made on the spot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_video(
    path: Path, seconds: float = 6.0, fps: float = 15.0, size: tuple[int, int] = (192, 108)
) -> Path:
    """A bright block that wanders over a textured ground, so that every frame moves."""
    width, height = size
    random = np.random.default_rng(7)
    ground = random.integers(40, 120, (height, width, 3), np.uint8)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    assert video.isOpened(), path
    for number in range(round(seconds * fps)):
        image = ground.copy()
        left = round((0.5 + 0.4 * np.sin(number / 5)) * (width - 40))
        top = round((0.5 + 0.4 * np.cos(number / 7)) * (height - 30))
        image[top : top + 30, left : left + 40] = (200, 220, 90)
        video.write(image)
    video.release()
    return path
