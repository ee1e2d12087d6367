"""Motion energy and the region that moves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ingest.motion import MotionMeter
from ingest.pictures import Image

RANDOM = np.random.default_rng(3)
GROUND = cv2.GaussianBlur(RANDOM.integers(0, 255, (360, 640, 3), np.uint8), (0, 0), 6)


def scene(x: int, y: int, size: int = 40) -> Image:
    image = GROUND.copy()
    image[y : y + size, x : x + size] = (250, 250, 250)
    return np.asarray(image, np.uint8)


def centre(region: tuple[float, float, float, float]) -> tuple[float, float]:
    left, top, width, height = region
    return left + width / 2, top + height / 2


def test_nothing_moves_at_first_and_the_region_is_the_middle() -> None:
    meter = MotionMeter()
    for _ in range(3):
        motion = meter.update(scene(100, 100))
        assert motion.energy == 0
        assert motion.region == (0.25, 0.25, 0.5, 0.5)


def test_the_region_settles_on_what_moves_and_stays_when_it_stops() -> None:
    meter = MotionMeter()
    for number in range(45):
        motion = meter.update(scene(480 + 12 * (number % 2), 240 + 12 * (number % 2)))
    left, top, width, height = motion.region
    assert left + 0.05 < 480 / 640 < 532 / 640 < left + width - 0.05
    assert top + 0.05 < 240 / 360 < 292 / 360 < top + height - 0.05
    assert 0 < motion.energy < 0.05
    before = motion.region
    for _ in range(60):
        motion = meter.update(scene(480, 240))
    assert motion.energy == 0
    assert np.allclose(motion.region, before, atol=0.05)


def test_the_region_stays_within_the_picture() -> None:
    meter = MotionMeter()
    for number in range(60):
        left, top, width, height = meter.update(
            scene(4 * (number % 2), 4 * (number % 2), 60)
        ).region
        assert 0 <= left <= 0.5
        assert 0 <= top <= 0.5
        assert (width, height) == (0.5, 0.5)
    assert left < 0.02
    assert top < 0.02


@pytest.mark.parametrize("quality", [50, 90])
def test_camera_noise_and_jpeg_are_not_motion(quality: int) -> None:
    meter = MotionMeter()
    energies = []
    for _ in range(8):
        noisy = GROUND + RANDOM.normal(0, 10, GROUND.shape)
        data = cv2.imencode(
            ".jpg", np.clip(noisy, 0, 255).astype(np.uint8), (cv2.IMWRITE_JPEG_QUALITY, quality)
        )[1]
        energies.append(meter.update(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))).energy)
    assert max(energies) == 0


def test_smoothing_takes_the_same_time_at_any_rate() -> None:
    places = []
    for fps in (7.5, 15.0, 30.0):
        meter = MotionMeter(fps)
        for number in range(round(fps * 0.4) + 1):
            motion = meter.update(scene(480 + 20 * (number % 2), 100))
        places.append(centre(motion.region)[0])
    assert places[0] > 0.53
    assert max(places) - min(places) < 0.05


@pytest.mark.parametrize("size", [(64, 64), (48, 20), (1080, 1920), (240, 320)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    meter = MotionMeter()
    meter.update(np.zeros((*size, 3), np.uint8))
    assert meter.update(np.full((*size, 3), 200, np.uint8)).energy == 1
