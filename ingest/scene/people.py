"""Drawing of persons from their projected skeletons, one function a style."""

from __future__ import annotations

from math import hypot

import cv2
import numpy as np

from ingest.scene import figure as f
from ingest.scene.brush import Colour, Light, convex, disc, lit, stroke, taper
from ingest.scene.view import Array, Image


def draw_person(
    image: Image, joints: Array, size: float, wearing: f.Appearance, light: Light, style: int
) -> None:
    """Draws joints (17, 2) in pixels; `size` is pixels per metre there."""
    points: list[list[float]] = joints.tolist()
    if style == 1:
        _inked(image, points, joints, size, wearing, light)
    else:
        _painted(image, points, joints, size, wearing, light)


def draw_shadow(mask: Image, joints: Array, size: float) -> None:
    """The joints' (17, 2) shadow on the ground, into a mask."""
    at = joints.astype(np.int32).tolist()
    limb, trunk = max(1, int(0.11 * size)), max(1, int(0.26 * size))
    for start, end, width in (
        (f.L_FOOT, f.PELVIS, limb),
        (f.R_FOOT, f.PELVIS, limb),
        (f.PELVIS, f.CHEST, trunk),
        (f.CHEST, f.HEAD, trunk // 2 + 1),
        (f.L_SHOULDER, f.L_HAND, limb),
        (f.R_SHOULDER, f.R_HAND, limb),
    ):
        cv2.line(mask, at[start], at[end], 255, width)


def _sides(points: list[list[float]], joints: Array) -> tuple[bool, float]:
    """Whether the left side is nearer (drawn later), and how much the chest is seen edge-on."""
    breadth = hypot(*(joints[f.L_SHOULDER] - joints[f.R_SHOULDER]))
    left_nearer = points[f.L_FOOT][1] + points[f.L_HAND][1] >= (
        points[f.R_FOOT][1] + points[f.R_HAND][1]
    )
    return left_nearer, breadth


def _hull(points: Array) -> Array:
    return np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], dtype=np.float64)


_LEFT = ((f.L_HIP, f.L_KNEE, f.L_FOOT, f.L_TOE), (f.L_SHOULDER, f.L_ELBOW, f.L_HAND))
_RIGHT = ((f.R_HIP, f.R_KNEE, f.R_FOOT, f.R_TOE), (f.R_SHOULDER, f.R_ELBOW, f.R_HAND))


def _painted(
    image: Image,
    points: list[list[float]],
    joints: Array,
    size: float,
    wearing: f.Appearance,
    light: Light,
) -> None:
    left_nearer, _ = _sides(points, joints)
    far, near = (_RIGHT, _LEFT) if left_nearer else (_LEFT, _RIGHT)
    unit = size * wearing.height / 1.73 * wearing.girth
    small = size * wearing.height < 34
    for gain, (leg, arm) in ((0.72, far), (1.0, near)):
        if gain < 1.0:
            _arm(image, points, arm, unit, wearing, light, gain, small)
        cloth = lit(wearing.bottom, light, gain)
        stroke(image, [points[leg[0]], points[leg[1]]], cloth, 0.165 * unit)
        stroke(image, [points[leg[1]], points[leg[2]]], cloth, 0.115 * unit)
        if not small:
            stroke(image, [points[leg[2]], points[leg[3]]], lit(wearing.shoes, light), 0.09 * unit)
    top = lit(wearing.top, light)
    if wearing.skirt:
        knees = (joints[[f.L_KNEE, f.R_KNEE]] + joints[[f.L_HIP, f.R_HIP]]) / 2
        hem = np.concatenate([joints[[f.L_HIP, f.R_HIP]], knees[::-1]])
        convex(image, _hull(hem), lit(wearing.bottom, light, 0.9))
        stroke(image, knees.tolist(), lit(wearing.bottom, light, 0.9), 0.2 * unit)
    trunk = [points[f.PELVIS], points[f.CHEST]]
    stroke(image, trunk, top, 0.27 * unit)
    if not small:
        corners = joints[[f.L_SHOULDER, f.R_SHOULDER, f.R_HIP, f.L_HIP]]
        convex(image, corners, top)
        stroke(image, corners[:2].tolist(), top, 0.13 * unit)
    if wearing.bag is not None:
        x, y = points[f.PELVIS]
        bag = np.array([[x - 0.2, y - 0.28], [x + 0.02, y - 0.28], [x + 0.02, y], [x - 0.2, y]])
        convex(image, (bag - [x, y]) * unit + [x, y], lit(wearing.bag, light))
    _head(image, points, unit, wearing, light, small)
    _arm(image, points, near[1], unit, wearing, light, 1.0, small)


def _arm(
    image: Image,
    points: list[list[float]],
    arm: tuple[int, int, int],
    unit: float,
    wearing: f.Appearance,
    light: Light,
    gain: float,
    small: bool,
) -> None:
    sleeve = lit(wearing.top, light, 0.88 * gain)
    if small:
        stroke(image, [points[joint] for joint in arm], sleeve, 0.09 * unit)
    else:
        stroke(image, [points[arm[0]], points[arm[1]]], sleeve, 0.115 * unit)
        stroke(image, [points[arm[1]], points[arm[2]]], sleeve, 0.085 * unit)
        disc(image, points[arm[2]], 0.055 * unit, lit(wearing.skin, light, gain))
    if wearing.bat and arm[2] == f.R_HAND:
        (ex, ey), (hx, hy) = points[arm[1]], points[arm[2]]
        tip = [hx + 2.4 * (hx - ex), hy + 2.4 * (hy - ey)]
        stroke(image, [points[arm[2]], tip], lit((60, 90, 120), light), 0.05 * unit)


def _head(
    image: Image,
    points: list[list[float]],
    unit: float,
    wearing: f.Appearance,
    light: Light,
    small: bool,
) -> None:
    (cx, cy), (hx, hy) = points[f.CHEST], points[f.HEAD]
    skin = lit(wearing.skin, light)
    if not small:
        stroke(image, [points[f.CHEST], points[f.HEAD]], skin, 0.1 * unit)
    disc(image, points[f.HEAD], 0.115 * unit, skin)
    reach = hypot(hx - cx, hy - cy) or 1.0
    crown = [hx + (hx - cx) / reach * 0.045 * unit, hy + (hy - cy) / reach * 0.045 * unit]
    disc(image, crown, 0.105 * unit, lit(wearing.hair, light))


def _inked(
    image: Image,
    points: list[list[float]],
    joints: Array,
    size: float,
    wearing: f.Appearance,
    light: Light,
) -> None:
    """Tapered limbs with a dark edge, a coat in one piece: the style that is held out."""
    left_nearer, _ = _sides(points, joints)
    far, near = (_RIGHT, _LEFT) if left_nearer else (_LEFT, _RIGHT)
    unit = size * wearing.height / 1.73 * wearing.girth
    edge = lit((32, 28, 26), light)
    rim = max(1.0, 0.035 * size)

    def limb(start: int, end: int, widths: tuple[float, float], colour: Colour) -> None:
        a, b = widths[0] * unit, widths[1] * unit
        taper(image, points[start], points[end], (a + 2 * rim, b + 2 * rim), edge)
        taper(image, points[start], points[end], (a, b), colour)

    cloth, top = lit(wearing.bottom, light), lit(wearing.top, light)
    for leg, arm in (far, near):
        if arm is far[1]:
            limb(arm[0], arm[1], (0.12, 0.1), top)
            limb(arm[1], arm[2], (0.1, 0.05), top)
        limb(leg[0], leg[1], (0.22, 0.13), cloth)
        limb(leg[1], leg[2], (0.13, 0.07), cloth)
    low = joints[[f.L_HIP, f.R_HIP]]
    if wearing.skirt:
        low = (low + joints[[f.L_KNEE, f.R_KNEE]]) / 2
    body = np.concatenate([joints[[f.L_SHOULDER, f.R_SHOULDER]], low[::-1]])
    limb(f.PELVIS, f.CHEST, (0.28, 0.3), top)
    hull = _hull(body)
    convex(image, hull, top)
    disc(image, points[f.HEAD], 0.13 * unit + rim, edge)
    disc(image, points[f.HEAD], 0.13 * unit, lit(wearing.skin, light))
    x, y = points[f.HEAD]
    taper(image, [x - 0.15 * unit, y - 0.04 * unit], [x + 0.15 * unit, y - 0.04 * unit],
          (0.12 * unit, 0.12 * unit), lit(wearing.hair, light))  # fmt: skip
    limb(near[1][0], near[1][1], (0.12, 0.1), top)
    limb(near[1][1], near[1][2], (0.1, 0.05), top)
    if wearing.bat:
        (ex, ey), (hx, hy) = points[f.R_ELBOW], points[f.R_HAND]
        tip = [hx + 2.4 * (hx - ex), hy + 2.4 * (hy - ey)]
        taper(image, points[f.R_HAND], tip, (0.04 * unit, 0.08 * unit), edge)
