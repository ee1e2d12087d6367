"""What happens to cameras and must not look like violence (EVALUATION 12).

Each disturbance changes the pictures of a clip before they are sampled, the same way every time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from ingest.pictures import Image, Picture
from training.clips import Disturbance

_SEED = 12


def shake(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Every picture displaced by a random amount of up to 2 pixels."""
    random = np.random.default_rng(_SEED)
    for at, image in pictures:
        x, y = random.uniform(-2, 2, 2)
        yield Picture(at, _moved(image, x, y))


def flicker(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Every picture brighter or darker by up to 15 %."""
    random = np.random.default_rng(_SEED)
    for at, image in pictures:
        gain = 1 + random.uniform(-0.15, 0.15)
        yield Picture(at, np.asarray(cv2.convertScaleAbs(image, alpha=gain), np.uint8))


def lost(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Every second picture lost."""
    for number, picture in enumerate(pictures):
        if number % 2 == 0:
            yield picture


def rain(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """Bright short streaks, new ones in every picture."""
    random = np.random.default_rng(_SEED)
    for at, image in pictures:
        wet = image.copy()
        height, width = image.shape[:2]
        length = max(height // 25, 2)
        for x, y in random.uniform((0, 0), (width, height), (height * width // 1500, 2)).astype(
            int
        ):
            cv2.line(wet, (int(x), int(y)), (int(x) - length // 4, int(y) + length),
                     (200, 200, 200), 1)  # fmt: skip
        yield Picture(at, np.asarray(cv2.addWeighted(image, 0.7, wet, 0.3, 0), np.uint8))


def pan(pictures: Iterable[Picture]) -> Iterator[Picture]:
    """The camera turns slowly to and fro: 4 % of the width, 12 seconds for both ways."""
    for at, image in pictures:
        reach = 0.04 * image.shape[1]
        yield Picture(at, _moved(image, reach * np.sin(2 * np.pi * at / 12e9), 0.0))


DISTURBANCES: dict[str, Disturbance] = {
    "shake": shake,
    "flicker": flicker,
    "lost": lost,
    "rain": rain,
    "pan": pan,
}


def _moved(image: Image, x: float, y: float) -> Image:
    height, width = image.shape[:2]
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
