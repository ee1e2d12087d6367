"""Fire, smoke, dust and flying pieces: clouds of soft discs that depend on time alone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ingest.scene.brush import Light, convex, lit
from ingest.scene.view import NEAR, Array, Image, View

HALF = 2
"""Clouds are drawn at half the size and scaled up."""


@dataclass(frozen=True)
class Plume:
    """Discs (N,) with birth, life, start (N, 3), velocity (N, 3), radius, growth and strength.

    `fire` says whether its strength is heat or the thickness of smoke; `grey` is the smoke's.
    """

    birth: Array
    life: Array
    start: Array
    velocity: Array
    radius: Array
    growth: Array
    strength: Array
    fire: bool
    grey: float = 60.0
    until: float = 1e9

    def at(self, time: float) -> tuple[Array, Array, Array]:
        """Centres (M, 3), radii (M,) in metres and strengths (M,) 0..1 of those alive."""
        age = time - self.birth
        alive = (age >= 0) & (age < self.life)
        age = age[alive]
        share = age / self.life[alive]
        slowed = (1 - np.exp(-1.6 * age)) / 1.6 if self.fire else (1 - np.exp(-0.5 * age)) / 0.5
        centres = self.start[alive] + self.velocity[alive] * slowed[:, None]
        radii = self.radius[alive] + self.growth[alive] * np.sqrt(age)
        fade = np.minimum(1, age / 0.08) * (1 - share) ** (0.7 if self.fire else 1.0)
        ending = float(np.clip(1 - (time - self.until) / 1.8, 0, 1))
        return centres, radii, self.strength[alive] * fade * ending


def burst(
    random: np.random.Generator, x: float, z: float, start: float, end: float, power: float
) -> list[Plume]:
    """An explosion: a ball of fire, flames that go on, and smoke that rises for long."""
    count = 34
    angle, up = random.uniform(0, 2 * np.pi, count), random.uniform(0.1, 1.0, count)
    away = random.uniform(0.4, 1.0, count) * 9.0 * power
    velocity = np.stack([away * np.cos(angle), away * up * 0.9, away * np.sin(angle) * 0.7], axis=1)
    ball = Plume(
        birth=start + random.uniform(0.02, 0.16, count),
        life=random.uniform(0.5, 1.25, count),
        start=np.tile([x, 0.7, z], (count, 1)) + random.normal(0, 0.3, (count, 3)),
        velocity=velocity,
        radius=random.uniform(0.35, 0.8, count) * power,
        growth=random.uniform(0.7, 1.5, count) * power,
        strength=random.uniform(0.5, 1.0, count),
        fire=True,
    )
    births = np.arange(start + 0.3, end, 0.05)
    flames = _column(random, births, x, z, power, fire=True, until=end)
    births = np.arange(start + 0.12, end, 0.09)
    smoke = _column(random, births, x, z, power, fire=False, until=end)
    return [smoke, ball, flames]


def _column(
    random: np.random.Generator, births: Array, x: float, z: float, power: float, fire: bool,
    until: float,
) -> Plume:  # fmt: skip
    count = len(births)
    wind = random.normal(0, 0.5, 2)
    early = np.exp(-(births - births[0]) / 0.7)
    spread = 0.55 if fire else 0.6 + 1.4 * early
    return Plume(
        birth=births,
        life=random.uniform(0.35, 0.8, count) if fire else random.uniform(2.5, 4.5, count),
        start=np.stack(
            [
                x + random.normal(0, 1, count) * spread * power,
                np.full(count, 0.3 if fire else 1.0),
                z + random.normal(0, 1, count) * spread * power * 0.6,
            ],
            axis=1,
        ),
        velocity=np.stack(
            [
                wind[0] + random.normal(0, 0.5 + (0 if fire else 2.0) * early, count),
                random.uniform(1.2, 2.8, count) * (1.3 if fire else 1 + 1.2 * early),
                wind[1] + random.normal(0, 0.4, count),
            ],
            axis=1,
        ),
        radius=random.uniform(0.2, 0.5, count) * power,
        growth=random.uniform(0.3, 0.6, count) * power * (0.6 if fire else 1.6),
        strength=random.uniform(0.45, 0.8, count) if fire else random.uniform(0.25, 0.55, count),
        fire=fire,
        grey=float(random.uniform(35, 95)),
        until=until,
    )


def puff(
    random: np.random.Generator, x: float, z: float, start: float, seconds: float, strength: float,
    rate: float = 14.0,
) -> Plume:  # fmt: skip
    """Dust of an impact or steam from a bonnet."""
    births = np.concatenate([np.full(8, start), np.arange(start, start + seconds, 1 / rate)])
    count = len(births)
    first = np.arange(count) < 8
    side = random.normal(0, 1, (count, 3)) * np.where(first, 1.8, 0.25)[:, None]
    side[:, 1] = random.uniform(0.4, 1.3, count)
    return Plume(
        birth=births,
        life=random.uniform(0.7, 1.8, count),
        start=np.tile([x, 0.7, z], (count, 1)) + random.normal(0, 0.25, (count, 3)),
        velocity=side,
        radius=random.uniform(0.12, 0.35, count),
        growth=random.uniform(0.3, 0.8, count),
        strength=np.where(first, 0.45, 0.3) * strength,
        fire=False,
        grey=float(random.uniform(150, 215)),
        until=start + seconds,
    )


@dataclass(frozen=True)
class Debris:
    """Pieces that fly, land and stay a while: start (N, 3), velocity (N, 3), size and grey (N,)."""

    begin: float
    end: float
    start: Array
    velocity: Array
    size: Array
    grey: Array

    def draw(self, image: Image, view: View, time: float, light: Light) -> None:
        """Draws the pieces as small turning shards."""
        age = time - self.begin
        if not 0 <= time - self.begin <= self.end - self.begin:
            return
        rise = self.velocity[:, 1]
        landing = (rise + np.sqrt(rise**2 + 19.62 * self.start[:, 1])) / 9.81
        flown = np.minimum(age, landing)
        slide = np.minimum(np.maximum(age - landing, 0), 0.5) * 0.4
        centres = self.start + self.velocity * (flown + slide)[:, None]
        centres[:, 1] = np.maximum(self.start[:, 1] + rise * flown - 4.905 * flown**2, 0.02)
        pixels = view.project(centres)
        turn = 9 * flown + np.arange(len(flown))
        for (column, row, depth), size, grey, angle in zip(
            pixels.tolist(), self.size, self.grey, turn, strict=True
        ):
            if depth < NEAR or not (0 <= column < view.width and 0 <= row < view.height):
                continue
            reach = max(size * view.focal / depth, 0.7)
            c, s = np.cos(angle) * reach, np.sin(angle) * reach
            corners = np.array([[c, s], [-s * 0.5, c * 0.5], [-c, -s], [s * 0.5, -c * 0.5]])
            convex(image, corners + (column, row), lit((int(grey), int(grey), int(grey)), light))


def shards(
    random: np.random.Generator, x: float, z: float, begin: float, end: float, power: float,
    count: int = 26, push: tuple[float, float] = (0.0, 0.0),
) -> Debris:  # fmt: skip
    """Pieces thrown from a place; `push` (m/s) is what they inherit."""
    angle = random.uniform(0, 2 * np.pi, count)
    away = random.uniform(0.8, 4.5, count) * power
    return Debris(
        begin,
        end,
        np.tile([x, 0.6, z], (count, 1)) + random.normal(0, 0.2, (count, 3)) * (1, 0.3, 1),
        np.stack(
            [
                away * np.cos(angle) + push[0],
                random.uniform(1.0, 4.5, count) * power,
                away * np.sin(angle) + push[1],
            ],
            axis=1,
        ),
        random.uniform(0.03, 0.13, count),
        random.uniform(15, 200, count),
    )


def _soft(side: int, edge: float) -> Image:
    span = np.linspace(-1, 1, side)
    away = np.hypot(span[:, None], span[None, :])
    return (255 * np.clip((1 - away) / edge, 0, 1) ** 1.2).astype(np.uint8)


_SPRITES = {0: _soft(48, 1.0), 1: _soft(48, 0.12), 2: _soft(48, 1.0)}
_HEAT = np.zeros((256, 1, 3), dtype=np.uint8)
_RAMP = np.linspace(0, 1, 256)
_HEAT[:, 0, 2] = np.clip(_RAMP * 2.6, 0, 1) * 255
_HEAT[:, 0, 1] = np.clip(_RAMP * 1.9 - 0.35, 0, 1) * 245
_HEAT[:, 0, 0] = np.clip(_RAMP * 2.2 - 1.25, 0, 1) * 225


def draw_plumes(
    image: Image, view: View, plumes: list[Plume], time: float, light: Light, style: int
) -> None:
    """Adds clouds to the picture: smoke covers, fire outshines."""
    high, wide = view.height // HALF, view.width // HALF
    for plume in plumes:
        centres, radii, strengths = plume.at(time)
        if not len(radii):
            continue
        layer = np.zeros((high, wide), dtype=np.uint8)
        box = _splat(layer, view, centres, radii, strengths, style)
        if box is None:
            continue
        y0, y1, x0, x1 = box
        amount = cv2.resize(
            layer[y0:y1, x0:x1], None, fx=HALF, fy=HALF, interpolation=cv2.INTER_LINEAR
        )
        window = image[y0 * HALF : y1 * HALF, x0 * HALF : x1 * HALF]
        thick = cv2.merge([amount, amount, amount])
        if plume.fire:
            colour = cv2.applyColorMap(amount, _HEAT)
        else:
            grey = plume.grey * (0.35 + 0.65 * min(1.0, sum(light) / 3))
            colour = cv2.convertScaleAbs(thick, alpha=grey / 255)
        cv2.multiply(window, 255 - thick, window, scale=1 / 255)
        cv2.add(window, colour, window)


def _splat(
    layer: Image, view: View, centres: Array, radii: Array, strengths: Array, style: int
) -> tuple[int, int, int, int] | None:
    """Adds soft discs to a half-size layer; the box (top, bottom, left, right) that changed."""
    high, wide = layer.shape
    pixels = view.project(centres)
    sprite = _SPRITES[style]
    box = [high, 0, wide, 0]
    for (column, row, depth), radius, strength in zip(
        pixels.tolist(), radii.tolist(), strengths.tolist(), strict=True
    ):
        reach = int(radius * view.focal / max(depth, NEAR) / HALF)
        if depth < NEAR or reach < 1 or strength < 0.02:
            continue
        reach = min(reach, wide // 3)
        left, top = int(column / HALF) - reach, int(row / HALF) - reach
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + 2 * reach, wide), min(top + 2 * reach, high)
        if x0 >= x1 or y0 >= y1:
            continue
        scaled = cv2.resize(sprite, (2 * reach, 2 * reach), interpolation=cv2.INTER_LINEAR)
        patch = scaled[y0 - top : y1 - top, x0 - left : x1 - left]
        window = layer[y0:y1, x0:x1]
        cv2.scaleAdd(patch, strength, window, window)
        box = [min(box[0], y0), max(box[1], y1), min(box[2], x0), max(box[3], x1)]
    return (box[0], box[1], box[2], box[3]) if box[0] < box[1] else None
