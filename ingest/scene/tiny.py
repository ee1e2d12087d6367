"""Scenes of a few pixels for load tests: the script stays true, the drawing is a sketch."""

from __future__ import annotations

from math import sin

import cv2
import numpy as np

from ingest.scene.address import Options
from ingest.scene.script import NORMAL, Script
from ingest.scene.street import build_street
from ingest.scene.view import Image


class TinyStage:
    """Draws a band of road, three walkers as bars, and one blob for what the script says."""

    def __init__(self, options: Options) -> None:
        self.street = build_street(options)
        self.script = Script(options, self.street, sketch=True)
        random = np.random.default_rng([options.seed, 0x71])
        high, wide = options.height, options.width
        level = {"day": 120, "dusk": 80, "night": 40}[self.street.light]
        picture = random.normal(level, 6, (high, wide, 3))
        picture[high // 3 : high * 3 // 4] *= 0.7
        self._picture = np.clip(picture, 0, 255).astype(np.uint8)
        self._size = high, wide
        self._walkers = [
            (float(random.uniform(0.3, 0.9)), float(random.uniform(-0.12, 0.12)),
             float(random.uniform(0, 1)), int(random.integers(20, 230)))
            for _ in range(3)
        ]  # fmt: skip
        self._checked, self._events = -1, self.script.between(0, 0)

    def draw(self, number: int, time: float) -> Image:
        """The picture of frame `number` at `time` seconds, a new array (H, W, 3)."""
        high, wide = self._size
        image = self._picture.copy()
        for depth, speed, start, grey in self._walkers:
            x = int((start + speed * time) % 1.0 * wide)
            tall = max(2, int(0.22 * depth * high))
            foot = int(depth * high)
            image[max(foot - tall, 0) : foot, x : x + max(1, tall // 3)] = grey
        second = int(time)
        if second != self._checked:
            self._checked, self._events = second, self.script.between(second, second + 1)
        for event in self._events:
            if event.start <= time < event.end:
                self._sketch(image, event.act, event.label == NORMAL, event.region, number)
        return image

    def _sketch(
        self, image: Image, act: str, calm: bool, region: tuple[float, float, float, float],
        number: int,
    ) -> None:  # fmt: skip
        high, wide = self._size
        x, y = int((region[0] + region[2] / 2) * wide), int((region[1] + region[3] / 2) * high)
        reach = max(2, high // 10)
        if act == "explosion":
            cv2.circle(image, (x, y), reach + number % 4, (60, 170, 255), -1)
        elif act == "accident":
            cv2.rectangle(image, (x - reach, y), (x + reach, y + reach), (30, 30, 200), -1)
        else:
            swing = int(reach * sin(number * (0.4 if calm else 1.9)))
            cv2.line(image, (x - 2, y + reach), (x + swing, y - reach), (230, 230, 230), 2)
            cv2.line(image, (x + 2, y + reach), (x - swing, y - reach), (15, 15, 15), 2)
