"""Fire, smoke, dust and flying pieces: clouds of soft discs that depend on time alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    count = 46
    angle, up = random.uniform(0, 2 * np.pi, count), random.uniform(0.15, 1.2, count)
    away = random.uniform(0.2, 1.0, count) * 5.0 * power
    velocity = np.stack([away * np.cos(angle), away * up, away * np.sin(angle) * 0.7], axis=1)
    ball = Plume(
        birth=start + random.uniform(0.02, 0.2, count),
        life=random.uniform(0.45, 1.1, count),
        start=np.tile([x, 0.6, z], (count, 1)) + random.normal(0, 0.3, (count, 3)) * (1, 0.5, 1),
        velocity=velocity,
        radius=random.uniform(0.25, 0.6, count) * power,
        growth=random.uniform(0.3, 0.8, count) * power,
        strength=random.uniform(0.3, 0.75, count),
        fire=True,
    )
    flames = _column(random, np.arange(start + 0.3, end, 0.035), x, z, power, True, end)
    dark, pale = (
        _column(random, np.arange(start + wait, end, 0.11), x, z, power, False, end)
        for wait in (0.1, 0.16)
    )
    return [dark, ball, replace(pale, grey=dark.grey + 35), flames]


def _column(
    random: np.random.Generator, births: Array, x: float, z: float, power: float, fire: bool,
    until: float,
) -> Plume:  # fmt: skip
    """Flames at the place, or smoke that leaves it: much at first, then a steady column."""
    count = len(births)
    wind = random.normal(0, 0.5, 2)
    early = np.exp(-(births - births[0]) / 0.8) * (0 if fire else 1)
    spread = 0.5 + 1.2 * early
    drift = 0.35 + 2.2 * early
    return Plume(
        birth=births,
        life=random.uniform(0.3, 0.7, count) if fire else random.uniform(2.2, 4.2, count),
        start=np.stack(
            [
                x + random.normal(0, 1, count) * spread * power,
                np.full(count, 0.25 if fire else 0.9),
                z + random.normal(0, 1, count) * spread * power * 0.6,
            ],
            axis=1,
        ),
        velocity=np.stack(
            [
                wind[0] + random.normal(0, 1, count) * drift,
                random.uniform(1.2, 2.8, count) * (1.1 if fire else 1 + 1.4 * early),
                wind[1] + random.normal(0, 0.4, count),
            ],
            axis=1,
        ),
        radius=random.uniform(0.16, 0.38, count) * power * (1 if fire else 1.5),
        growth=random.uniform(0.2, 0.5, count) * power * (0.5 if fire else 1.5),
        strength=random.uniform(0.3, 0.65, count) if fire else random.uniform(0.4, 0.8, count),
        fire=fire,
        grey=float(random.uniform(28, 80)),
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
            corners += np.array([column, row])
            convex(image, corners, lit((int(grey), int(grey), int(grey)), light))


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


def _lumpy(side: int, edge: float) -> Image:
    """A soft disc with billows in it."""
    span = np.linspace(-1, 1, side)
    away = np.hypot(span[:, None], span[None, :])
    grain = np.random.default_rng(7).normal(0, 1, (side, side))
    billows = cv2.GaussianBlur(grain, (0, 0), side / 14)
    lumps = away + 0.2 * billows / billows.std()
    whole = np.clip((1 - away) * 6, 0, 1)
    sprite: Image = (255 * np.clip((1 - lumps) / edge, 0, 1) ** 1.2 * whole).astype(np.uint8)
    return sprite


def _billows(side: int) -> Image:
    """Light and dark in smoke, as a tile that repeats, four times over in both directions."""
    grain = np.random.default_rng(11).normal(0, 1, (side, side))
    waves = np.fft.rfft2(grain)
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    waves *= np.exp(-((np.hypot(rows, columns) * side / 6) ** 2))
    smooth = np.fft.irfft2(waves, s=(side, side))
    tile = np.clip(190 + 32 * smooth / smooth.std(), 60, 255).astype(np.uint8)
    return np.tile(tile, (4, 4))


_TILE = 256
_BILLOWS = _billows(_TILE)
_SPRITES = {0: _lumpy(64, 0.8), 1: _lumpy(64, 0.15), 2: _lumpy(64, 0.8)}
_HEAT = np.zeros((256, 1, 3), dtype=np.uint8)
_RAMP = np.linspace(0, 1, 256)
_HEAT[:, 0, 2] = np.clip(_RAMP * 2.2, 0, 1) * 255
_HEAT[:, 0, 1] = np.clip(_RAMP * 1.6 - 0.35, 0, 1) * 240
_HEAT[:, 0, 0] = np.clip(_RAMP * 2.4 - 1.5, 0, 1) * 225


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
        if plume.fire:
            colour = cv2.applyColorMap(amount, _HEAT)
            amount = cv2.convertScaleAbs(amount, alpha=1.7)
        thick = cv2.merge([amount, amount, amount])
        if plume.fire:
            cv2.multiply(colour, thick, colour, scale=1 / 255)
        else:
            grey = plume.grey * (0.35 + 0.65 * min(1.0, sum(light) / 3))
            colour = cv2.convertScaleAbs(thick, alpha=grey / 255)
            texture = _texture(amount.shape[0], amount.shape[1], time)
            cv2.multiply(colour, texture, colour, scale=1 / 190)
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


def _texture(high: int, wide: int, time: float) -> Image:
    """Billows that drift upwards, (high, wide, 3)."""
    rise = int(45 * time) % _TILE
    part = _BILLOWS[rise : rise + high, :wide]
    if part.shape != (high, wide):  # a picture larger than the billows
        part = np.asarray(cv2.resize(part, (wide, high), interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.asarray(cv2.merge([part, part, part]), dtype=np.uint8)
