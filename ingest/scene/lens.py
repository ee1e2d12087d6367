"""What a camera adds to a scene: noise, coding blocks, flicker, shake, rain on the way."""

from __future__ import annotations

from math import pi, sin

import cv2
import numpy as np

from ingest.scene.address import Options
from ingest.scene.street import Street
from ingest.scene.view import Image

_SLACK = 64
"""Noise tiles are this much larger than a picture; each frame cuts its own part."""


class Lens:
    """Degrades pictures in place; a function of the frame's number and time only."""

    def __init__(self, options: Options, street: Street) -> None:
        random = np.random.default_rng([options.seed, 0x1E])
        self._seed = options.seed
        self._size = options.height, options.width
        dark = {"day": 1.0, "dusk": 1.7, "night": 2.4}[street.light]
        noise = float(random.uniform(1.0, 3.2)) * dark
        shake = float(random.uniform(0.3, 1.2)) if random.random() < 0.35 else 0.0
        flicker = float(random.uniform(0.01, 0.04)) if random.random() < 0.4 else 0.0
        noise = noise if options.noise is None else options.noise
        self._shake = shake if options.shake is None else options.shake
        self._flicker = flicker if options.flicker is None else options.flicker
        self._rate = random.uniform(0.3, 1.3, 4)
        self._more, self._less = _noise(random, *self._size, noise)
        self._grey = street.style == 2
        self._rain = _rain(random, *self._size) if street.weather == "rain" else None

    def apply(self, image: Image, number: int, time: float, gain: float = 1.0) -> Image:
        """The picture as the camera would give it, (H, W, 3); may reuse `image`."""
        high, wide = self._size
        jump = (number * 2654435761 + self._seed * 40503) & 0xFFFFFFFF
        if self._rain is not None:
            fall = int(time * 1.9 * high) % high
            drift = (number * 37) % _SLACK
            tile = self._rain[high - fall : 2 * high - fall, drift : drift + wide]
            cv2.add(image, tile, image)
        if self._shake:
            image = self._shaken(image, time)
        gain *= 1 + self._flicker * (sin(2 * pi * 4.7 * time) + 0.6 * sin(2 * pi * 1.3 * time))
        if abs(gain - 1) > 0.002:
            cv2.convertScaleAbs(image, image, gain)
        if self._grey:
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR, image)
        # Coding blocks keep their places: the tile moves by whole blocks.
        top, left = 8 * (jump >> 8 & 7), 8 * (jump >> 16 & 7)
        cv2.add(image, self._more[top : top + high, left : left + wide], image)
        top, left = 8 * (jump >> 11 & 7), 8 * (jump >> 19 & 7)
        cv2.subtract(image, self._less[top : top + high, left : left + wide], image)
        return image

    def _shaken(self, image: Image, time: float) -> Image:
        a, b, c, d = self._rate
        dx = self._shake * (sin(2 * pi * a * time) + 0.5 * sin(2 * pi * (3.1 + b) * time + 1))
        dy = self._shake * (sin(2 * pi * c * time + 2) + 0.5 * sin(2 * pi * (2.7 + d) * time))
        move = np.array([[1, 0, dx], [0, 1, dy]])
        size = image.shape[1], image.shape[0]
        return np.asarray(
            cv2.warpAffine(image, move, size, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8
        )


def _noise(random: np.random.Generator, high: int, wide: int, sigma: float) -> tuple[Image, Image]:
    """What to add and what to take away: grain of the sensor and blocks of the coder."""
    size = high + _SLACK, wide + _SLACK
    tiles: list[Image] = []
    for _ in range(2):
        grain = random.normal(0, sigma, size).astype(np.float32)
        rows, columns = -(-size[0] // 8), -(-size[1] // 8)
        blocks = random.normal(0, 0.45 * sigma, (rows, columns)).astype(np.float32)
        blocks = np.kron(blocks, np.ones((8, 8), dtype=np.float32))[: size[0], : size[1]]
        # Half of a Gaussian in each tile: what one adds the other takes.
        both = np.maximum(grain + blocks, 0)
        tint = 1 + 0.25 * random.normal(0, 1, (1, 1, 3)).astype(np.float32)
        tiles.append(np.clip(both[..., None] * tint + 0.5, 0, 255).astype(np.uint8))
    return tiles[0], tiles[1]


def _rain(random: np.random.Generator, high: int, wide: int) -> Image:
    """Streaks twice the height of the picture, so that they can fall through it."""
    streaks = np.zeros((high, wide + _SLACK), dtype=np.uint8)
    slant = float(random.normal(0, 0.12))
    for _ in range(int(0.0011 * high * wide)):
        x, y = float(random.uniform(0, wide + _SLACK)), float(random.uniform(0, high))
        long = float(random.uniform(0.02, 0.06)) * high
        bright = int(random.integers(18, 60))
        cv2.line(streaks, (int(x), int(y)), (int(x + slant * long), int(y + long)), bright, 1)
    soft = cv2.GaussianBlur(streaks, (3, 3), 0)
    return np.asarray(cv2.merge([np.vstack([soft, soft])] * 3), dtype=np.uint8)
