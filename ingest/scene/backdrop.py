"""The still picture behind everything: sky, houses, ground, and the props that people pass behind.

Painted once a scene at twice the size and scaled down.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ingest.scene import vehicles
from ingest.scene.brush import Colour, convex, disc, lit, stroke
from ingest.scene.street import Street
from ingest.scene.view import Array, Image, View


@dataclass(frozen=True)
class Prop:
    """A still thing that may stand in front of moving ones: its depth, box, picture and mask."""

    depth: float
    box: tuple[slice, slice]
    picture: Image
    mask: Image


@dataclass(frozen=True)
class Backdrop:
    """`shaded` is the picture with every ground point in shadow: shadows are cut out of it."""

    picture: Image
    shaded: Image
    props: tuple[Prop, ...]


def paint(street: Street, seed: int) -> Backdrop:
    """Paints a street."""
    random = np.random.default_rng([seed, 0xBD])
    large = street.view.scaled(2)
    picture = _sky(street, large)
    _houses(picture, street, large, random)
    _ground(picture, street, large, random)
    size = street.view.width, street.view.height
    picture[:] = picture if street.style != 2 else cv2.GaussianBlur(picture, (0, 0), 1.6)
    picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    props = _props(picture, street, random)
    shade = 0.55 if street.light == "day" and street.weather == "clear" else 0.78
    shaded = np.asarray(cv2.convertScaleAbs(picture, alpha=shade), np.uint8)
    return Backdrop(picture, shaded, props)


def _sky(street: Street, view: View) -> Image:
    top, low = {
        "day": ((225, 190, 150), (235, 225, 215)),
        "dusk": ((110, 75, 60), (120, 140, 190)),
        "night": ((30, 20, 16), (50, 38, 34)),
    }[street.light]
    if street.weather == "rain":
        grey = int(0.3 * sum(low))
        top = low = (grey, grey, grey)
    share = np.linspace(0, 1, view.height)[:, None, None]
    rows = np.array(top) * (1 - share) + np.array(low) * share
    return np.repeat(rows, view.width, axis=1).astype(np.uint8)


def _houses(image: Image, street: Street, view: View, random: np.random.Generator) -> None:
    """Facades along both sides, and one that ends the street."""
    ambient = street.ambient
    end = 90.0
    wall = np.array([[-40, 0, end], [-40, 14, end], [40, 14, end], [40, 0, end]], dtype=float)
    _fill(image, view, wall, lit((120, 125, 130), ambient, 0.8))
    for side in (-1.0, 1.0):
        x = side * street.half_width
        fronts = []
        z = -30.0
        while z < end:
            deep = float(random.uniform(7, 16))
            tall = float(random.uniform(6, 17))
            grey = float(random.uniform(70, 200)) * street.tone
            hue = random.uniform(-22, 22, 3) + np.array([-12, 0, 12])
            colour = np.clip(grey + hue, 20, 235).astype(int)
            fronts.append((z, min(z + deep, end), tall, (int(colour[0]), int(colour[1]),
                                                         int(colour[2]))))  # fmt: skip
            z += deep
        if (x - view.eye[0]) * side < 0.3:  # the camera hangs on this side's wall
            continue
        for z0, z1, tall, colour in reversed(fronts):
            gain = 0.9 if side > 0 else 1.0
            corners = np.array([[x, 0, z0], [x, tall, z0], [x, tall, z1], [x, 0, z1]])
            _fill(image, view, corners, lit(colour, street.light_at(x, (z0 + z1) / 2), gain))
            _windows(image, street, view, random, (x, z0, z1, tall), colour)


def _windows(
    image: Image, street: Street, view: View, random: np.random.Generator,
    wall: tuple[float, float, float, float], colour: Colour,
) -> None:  # fmt: skip
    x, z0, z1, tall = wall
    across = float(random.uniform(1.7, 2.8))
    bright = 0.35 if street.light == "night" else 0.2 if street.light == "dusk" else 0.0
    for z in np.arange(z0 + 0.8, z1 - across * 0.6, across):
        for y in np.arange(0.9, tall - 1.8, 3.0):
            wide = across * 0.55
            shop = y < 1.0
            low, high = (0.15, 2.4) if shop else (y + 0.5, y + 2.1)
            corners = np.array([[x, low, z], [x, high, z], [x, high, z + wide], [x, low, z + wide]])
            if random.random() < bright:
                pane: Colour = (110, 190, 230) if random.random() < 0.7 else (210, 220, 210)
            else:
                pane = lit((95, 85, 75) if shop else (120, 110, 100), street.ambient, 0.8)
            _fill(image, view, corners, pane)
            if street.style == 1:
                shape = view.polygon(corners)
                if shape is not None and np.abs(shape).max() < 1e4:
                    edge = lit(colour, street.ambient, 0.4)
                    cv2.polylines(image, [shape.astype(np.int32)], True, edge, 2, cv2.LINE_AA)


def _fill(image: Image, view: View, corners: Array, colour: Colour) -> None:
    polygon = view.polygon(corners)
    if polygon is not None:
        convex(image, np.clip(polygon, -8000, 8000), colour)


def _ground(image: Image, street: Street, view: View, random: np.random.Generator) -> None:
    """Asphalt, kerbs, paving and markings, per pixel from its place on the ground."""
    columns, rows = np.meshgrid(
        np.arange(view.width, dtype=np.float32) + 0.5 - view.width / 2,
        np.arange(view.height, dtype=np.float32) + 0.5 - view.height / 2,
    )
    axes = view.axes.astype(np.float32)
    ray = [
        columns * axes[0, n] + rows * axes[1, n] + np.float32(view.focal) * axes[2, n]
        for n in range(3)
    ]
    below = ray[1] < -1e-3 * view.focal
    reach = np.float32(-view.eye[1]) / np.where(below, ray[1], -1)
    x = np.float32(view.eye[0]) + reach * ray[0]
    z = np.float32(view.eye[2]) + reach * ray[2]
    # A wall hides the ground behind it; on the camera's own side the ground goes on.
    left_wall, right_wall = -street.half_width, street.half_width
    if view.eye[0] < left_wall + 0.3:
        left_wall = -1e9
    if view.eye[0] > right_wall - 0.3:
        right_wall = 1e9
    below &= (x > left_wall) & (x < right_wall) & (z < 90)
    far = np.clip(np.hypot(x - view.eye[0], z - view.eye[2]), 1, 200)
    sharp = np.clip(14.0 / far, 0, 1)
    grain = _grain(random)
    fine = _sample(grain, x, z, 0.02) * sharp
    coarse = _sample(grain, x, z, 0.35)
    side = np.abs(x)
    road = side < street.half_road
    grey = np.where(road, 104 * street.tone, 150 * street.tone)
    grey = grey + 9 * fine + 7 * coarse
    if street.style == 1:  # cobbles
        cells = (np.floor(x / 0.35) * 7 + np.floor(z / 0.35 + 0.5 * np.floor(x / 0.35)) * 13) % 5
        grey = np.where(road, grey + (cells - 2) * 7 * sharp, grey)
    tile = float(random.uniform(0.5, 1.0))
    joints = (np.mod(x, tile) < 0.05) | (np.mod(z, tile) < 0.05)
    grey = np.where(~road & joints, grey - 22 * sharp, grey)
    kerb = (side > street.half_road) & (side < street.half_road + 0.22)
    grey = np.where(kerb, 168 * street.tone, grey)
    dash = (side < 0.07) & (np.mod(z, 4.5) < 2.2)
    border = np.abs(side - (street.half_road - 0.35)) < 0.05
    grey = np.where(dash | (border & (street.half_road > 3.6)), 205, grey)
    if random.random() < 0.4:
        crossing = float(random.uniform(4, 14))
        zebra = road & (np.abs(z - crossing) < 1.6) & (np.mod(x, 1.0) < 0.5)
        grey = np.where(zebra, 210, grey)
    warm = np.where(road, 0.0, 6.0)
    colour = np.stack([grey - warm, grey, grey + warm], axis=-1) * _light(street, x, z)
    image[below] = np.clip(colour, 0, 255)[below].astype(np.uint8)


def _light(street: Street, x: Array, z: Array) -> Array:
    light = np.broadcast_to(np.array(street.ambient), (*x.shape, 3)).copy()
    for lamp in street.lamps if street.lamp_strength else ():
        away = (x - (lamp.x + lamp.arm)) ** 2 + (z - lamp.z) ** 2
        pool = street.lamp_strength / (1 + away / 22.0) ** 1.5
        for channel, share in enumerate(np.array([0.55, 0.8, 1.0])):
            light[..., channel] += pool * share
    return light


def _grain(random: np.random.Generator) -> Array:
    """A tile (256, 256) without seams."""
    grain = random.normal(0, 1, (256, 256))
    smooth = cv2.GaussianBlur(np.pad(grain, 16, mode="wrap"), (0, 0), 2)[16:-16, 16:-16]
    return np.asarray(0.5 * grain + smooth / smooth.std(), np.float64)


def _sample(grain: Array, x: Array, z: Array, metres: float) -> Array:
    across, along = np.mod(x / metres, 256), np.mod(z / metres, 256)
    sampled = cv2.remap(
        np.pad(grain, (0, 1), mode="wrap").astype(np.float32),
        across.astype(np.float32),
        along.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(sampled, np.float64)


def _props(picture: Image, street: Street, random: np.random.Generator) -> tuple[Prop, ...]:
    """Draws lamps, trees and parked cars from far to near; keeps each for drawing over actors."""
    view = street.view
    things: list[tuple[str, tuple[float, ...]]] = [
        *(("lamp", (lamp.x, lamp.z, lamp.arm, lamp.height)) for lamp in street.lamps),
        *(("tree", tree) for tree in street.trees),
        *(("car", car) for car in street.parked),
    ]
    deep = []
    for kind, where in things:
        camera = view.to_camera(np.array([where[0], 0.0, where[1]]))
        if camera[2] > (5.0 if kind == "lamp" else 2.5):
            deep.append((float(camera[2]), kind, where))
    props = []
    for depth, kind, where in sorted(deep, reverse=True):
        before = picture.copy()
        light = street.light_at(where[0], where[1])
        if kind == "lamp":
            _lamp(picture, street, where)
        elif kind == "tree":
            _tree(picture, street, where, random)
        else:
            state = np.zeros(vehicles.STATE_SIZE)
            state[vehicles.X], state[vehicles.Z] = where[0], where[1]
            car = vehicles.model(random)
            vehicles.draw_vehicle(picture, view, car, state, light, 0.0, False, street.style)
        changed = (picture != before).any(axis=2)
        if changed.any():
            ys, xs = np.nonzero(changed.any(axis=1))[0], np.nonzero(changed.any(axis=0))[0]
            box = (slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1))
            mask = np.ascontiguousarray(changed[box]).astype(np.uint8) * 255
            props.append(Prop(depth, box, picture[box].copy(), mask))
    return tuple(props)


def _lamp(image: Image, street: Street, where: tuple[float, ...]) -> None:
    x, z, arm, tall = where
    points = street.view.project(np.array([[x, 0, z], [x, tall, z], [x + arm, tall + 0.2, z]]))
    if points[:, 2].min() < 1.0:
        return
    size = street.view.focal / float(points[0, 2])
    pole = lit((70, 70, 68), street.light_at(x, z), 0.8)
    stroke(image, points[:2, :2].tolist(), pole, 0.14 * size)
    stroke(image, points[1:, :2].tolist(), pole, 0.1 * size)
    if street.light != "day":
        glow(image, points[2, 0], points[2, 1], 1.3 * size, (110, 170, 215))
        disc(image, points[2, :2].tolist(), 0.2 * size, (225, 245, 255))


def _tree(
    image: Image, street: Street, where: tuple[float, ...], random: np.random.Generator
) -> None:
    x, z, tall = where
    points = street.view.project(np.array([[x, 0, z], [x, tall * 0.5, z]]))
    size = street.view.focal / float(points[0, 2])
    light = street.light_at(x, z)
    stroke(image, points[:, :2].tolist(), lit((50, 62, 78), light), 0.25 * size)
    for _ in range(26):
        offset = random.normal(0, 0.14 * tall, 3)
        centre = street.view.project(np.array([x, tall * 0.72, z]) + offset)
        green = float(random.uniform(0.55, 1.1))
        blob = 0.1 * tall * size * float(random.uniform(0.5, 1.1))
        disc(image, centre[:2].tolist(), blob, lit((48, 92, 70), light, green))


def glow(image: Image, column: float, row: float, radius: float, colour: Colour) -> None:
    """Adds soft light around a pixel."""
    reach = int(min(max(radius, 2), 400))
    left, top = int(column) - reach, int(row) - reach
    high, wide = image.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + 2 * reach, wide), min(top + 2 * reach, high)
    if x0 >= x1 or y0 >= y1:
        return
    soft = cv2.resize(_SOFT, (2 * reach, 2 * reach), interpolation=cv2.INTER_LINEAR)
    patch = soft[y0 - top : y1 - top, x0 - left : x1 - left]
    layer = cv2.merge([cv2.convertScaleAbs(patch, alpha=part / 255) for part in colour])
    window = image[y0:y1, x0:x1]
    cv2.add(window, layer, window)


def _soft_disc(side: int) -> Image:
    span = np.linspace(-1, 1, side)
    away = np.hypot(span[:, None], span[None, :])
    return np.asarray(255 * np.clip(1 - away, 0, 1) ** 2, np.uint8)


_SOFT = _soft_disc(64)
