"""Cars, vans and bicycles: boxes in perspective with wheels, glass and lamps."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import cv2
import numpy as np

from ingest.scene.brush import Colour, Light, convex, disc, lit, stroke
from ingest.scene.view import NEAR, Array, Image, View

# Columns of a vehicle's track.
X, Z, HEADING, NOSE, REAR, PITCH, BRAKE, HAZARD, TILT = range(9)
"""Place, heading, crumpled nose and rear (m), pitch (rad), lamps (0..1), sideways tilt (rad)."""

STATE_SIZE = 9


@dataclass(frozen=True)
class Model:
    """Sizes in metres; `profile` is the cabin: (rear, rear top, front top, front) along the car."""

    name: str
    length: float
    width: float
    bonnet: float
    roof: float
    profile: tuple[float, float, float, float]
    paint: Colour


def model(random: np.random.Generator, kind: str | None = None) -> Model:
    """A car, or one in five times a van; or what `kind` names."""
    kind = kind or ("van" if random.random() < 0.2 else "car")
    grey = float(random.choice([30, 60, 120, 190, 225]))
    hue = random.uniform(-55, 55, 3) * random.choice([0.05, 0.05, 0.8])
    blue, green, red = np.clip(grey + hue, 12, 245).astype(int)
    paint = (int(blue), int(green), int(red))
    if kind == "van":
        return Model("van", 5.2, 2.0, 1.15, 2.3, (-2.5, -2.45, 1.1, 1.8), paint)
    length = float(random.uniform(3.9, 4.7))
    rear = float(random.choice([-0.48, -0.36]))
    cabin = (rear * length, rear * length + 0.45, 0.35, 1.05)
    return Model("car", length, 1.78, 0.85, float(random.uniform(1.4, 1.55)), cabin, paint)


BICYCLE = Model("bicycle", 1.7, 0.1, 0.6, 1.0, (0, 0, 0, 0), (40, 40, 40))

_WHEEL = np.array([[cos(a), sin(a)] for a in np.linspace(0, 2 * pi, 12, endpoint=False)])


def placed(local: Array, state: Array) -> Array:
    """Vehicle points (..., 3: right, up, forward) in world axes."""
    h, pitch, tilt = state[HEADING], state[PITCH], state[TILT]
    right, up, ahead = local[..., 0], local[..., 1], local[..., 2]
    if tilt:
        right, up = right * cos(tilt) + up * sin(tilt), up * cos(tilt) - right * sin(tilt)
    up, ahead = up * cos(pitch) - ahead * sin(pitch), ahead * cos(pitch) + up * sin(pitch)
    world = np.empty_like(local)
    world[..., 0] = state[X] + right * cos(h) + ahead * sin(h)
    world[..., 1] = np.maximum(up, 0.0)
    world[..., 2] = state[Z] - right * sin(h) + ahead * cos(h)
    return world


def _car_points(m: Model, state: Array) -> Array:
    """The 16 corners of body and cabin, then 2 x 2 wheels of 12 points, (64, 3)."""
    half, nose, rear = m.width / 2, m.length / 2 - state[NOSE], -m.length / 2 + state[REAR]
    raised = 0.25 * state[NOSE]
    p = m.profile
    back = max(p[0], rear + 0.05)
    front = min(p[3], nose - 0.1)
    points = np.empty((64, 3))
    row = 0
    for side in (-half, half):
        inner = side * 0.84
        points[row : row + 8] = (
            (side, 0.28, rear),
            (side, m.bonnet + 0.1, rear),
            (side, m.bonnet - 0.06 + raised, nose),
            (side, 0.28, nose),
            (side, m.bonnet + 0.1, back),
            (inner, m.roof, max(p[1], back)),
            (inner, m.roof, min(p[2], front)),
            (side, m.bonnet + 0.04, front),
        )
        row += 8
    for side in (-half * 1.02, half * 1.02):
        for along in (-0.31 * m.length, 0.31 * m.length):
            points[row : row + 12, 0] = side
            points[row : row + 12, 1] = 0.32 + 0.32 * _WHEEL[:, 1]
            points[row : row + 12, 2] = along + 0.32 * _WHEEL[:, 0]
            row += 12
    return points


def draw_vehicle(
    image: Image, view: View, m: Model, state: Array, light: Light, time: float, lamps: bool,
    style: int,
) -> None:  # fmt: skip
    """Draws a car or van whose state is a row of its track (STATE_SIZE,)."""
    points = view.project(placed(_car_points(m, state), state))
    if points[:, 2].min() < NEAR:
        return
    at = points[:, :2]
    if at[:, 0].max() < 0 or at[:, 0].min() > view.width or at[:, 1].min() > view.height:
        return
    to_eye = np.array([view.eye[0] - state[X], view.eye[2] - state[Z]])
    h = state[HEADING]
    ahead = float(to_eye @ (sin(h), cos(h)))
    right = float(to_eye @ (cos(h), -sin(h)))
    paint, dark = m.paint, lit((58, 50, 44), light)
    edge = lit((30, 28, 26), light)
    near, far = (8, 0) if right > 0 else (0, 8)
    wheels = (range(40, 64, 12), range(16, 40, 12)) if right > 0 else (
        range(16, 40, 12), range(40, 64, 12))  # fmt: skip
    for start in wheels[1]:
        convex(image, at[start : start + 12], edge)

    def face(corners: list[int], colour: Colour) -> None:
        convex(image, at[corners], colour)
        if style == 1:
            cv2.polylines(image, [at[corners].astype(np.int32)], True, edge, 1, cv2.LINE_AA)

    side, top = lit(paint, light, 0.82), lit(paint, light, 1.08)
    front = lit(paint, light, 0.7)
    face([near, near + 1, near + 4, near + 7, near + 2, near + 3], side)
    if ahead > 0:
        face([2, 3, 11, 10], front)
    else:
        face([0, 1, 9, 8], front)
    face([7, 2, 10, 15], top)
    face([1, 4, 12, 9], top)
    windows = [far + 4, far + 5, far + 6, far + 7]
    face(windows, dark)
    face([7, 6, 14, 15] if ahead > 0 else [4, 5, 13, 12], dark)
    face([near + 4, near + 5, near + 6, near + 7], lit(paint, light, 0.75))
    glass = at[[near + 4, near + 5, near + 6, near + 7]]
    if m.name == "van":
        glass = glass * 0.35 + at[[near + 7, near + 6, near + 6, near + 7]] * 0.65
    centre = glass.mean(axis=0)
    convex(image, centre + (glass - centre) * 0.82, dark)
    face([5, 6, 14, 13], lit(paint, light, 1.15))
    for start in wheels[0]:
        ring = at[start : start + 12]
        convex(image, ring, edge)
        hub = ring.mean(axis=0)
        convex(image, hub + (ring - hub) * 0.5, lit((130, 130, 130), light))
    _lamps(image, at, state, ahead, time, lamps, float(points[3, 2]), view.focal)


def _lamps(
    image: Image, at: Array, state: Array, ahead: float, time: float, lamps: bool, depth: float,
    focal: float,
) -> None:  # fmt: skip
    size = 0.11 * focal / depth
    corners = ((2, 3), (10, 11)) if ahead > 0 else ((1, 0), (9, 8))
    blink = state[HAZARD] > 0.5 and (time * 1.5) % 1.0 < 0.5
    for (high, low), inner in zip(corners, corners[::-1], strict=True):
        spot = 0.62 * at[high] + 0.38 * at[low]
        spot = 0.88 * spot + 0.12 * (0.62 * at[inner[0]] + 0.38 * at[inner[1]])
        colour = (200, 215, 215) if ahead > 0 else (35, 30, 120)
        if lamps:
            colour = (225, 250, 255) if ahead > 0 else (40, 40, 210)
        if ahead <= 0 and state[BRAKE] > 0.4:
            colour, size = (70, 70, 255), 0.15 * focal / depth
        if blink:
            colour = (20, 165, 255)
        disc(image, spot.tolist(), size, colour)


def footprint(m: Model, state: Array, sun: tuple[float, float]) -> Array:
    """Ground points (8, 3) whose hull is the vehicle's shadow."""
    half, reach = m.width / 2, m.length / 2
    local = np.array(
        [[a * half, y, b * reach] for y in (0.0, m.roof * 0.85) for a in (-1, 1) for b in (-1, 1)]
    )
    world = placed(local, state)
    world[:, 0] += world[:, 1] * sun[0]
    world[:, 2] += world[:, 1] * sun[1]
    world[:, 1] = 0.0
    return world


def draw_bicycle(image: Image, view: View, state: Array, light: Light, time: float) -> None:
    """Two wheels and a frame; its rider is a person of its own."""
    local = np.zeros((30, 3))
    for index, along in enumerate((-0.52, 0.52)):
        local[index * 12 : index * 12 + 12, 1] = 0.34 + 0.34 * _WHEEL[:, 1]
        local[index * 12 : index * 12 + 12, 2] = along + 0.34 * _WHEEL[:, 0]
    local[24:30, 1:] = ((0.34, -0.52), (0.85, -0.2), (0.8, 0.38), (0.34, 0.52), (1.05, 0.42),
                        (0.3, -0.05))  # fmt: skip
    points = view.project(placed(local, state))
    if points[:, 2].min() < NEAR:
        return
    at = points[:, :2]
    width = 0.045 * view.focal / float(points[24, 2])
    dark = lit((45, 40, 40), light)
    for start in (0, 12):
        ring = (at[start : start + 12] * 16).astype(np.int32)
        cv2.polylines(image, [ring], True, dark, max(1, round(width)), cv2.LINE_AA, 4)
    frame = at[24:30].tolist()
    paint = lit((60, 60, 170), light)
    for line in ([0, 1, 2, 3], [1, 5, 2], [2, 4]):
        stroke(image, [frame[index] for index in line], paint, width)
