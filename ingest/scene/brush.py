"""Anti-aliased strokes and shapes at sub-pixel places, and the shade of a colour."""

from __future__ import annotations

from math import hypot

import cv2
import numpy as np

from ingest.scene.view import Array, Image

SHIFT = 4
ONE = 1 << SHIFT

Colour = tuple[int, int, int]
Light = tuple[float, float, float]


def lit(colour: Colour, light: Light, gain: float = 1.0) -> Colour:
    """A daylight colour under a light (BGR factors)."""
    return (
        min(255, int(colour[0] * light[0] * gain)),
        min(255, int(colour[1] * light[1] * gain)),
        min(255, int(colour[2] * light[2] * gain)),
    )


def shape(image: Image, corners: Array, colour: Colour) -> None:
    """Fills a polygon (N, 2) in pixels."""
    cv2.fillPoly(image, [(corners * ONE).astype(np.int32)], colour, cv2.LINE_AA, SHIFT)


def convex(image: Image, corners: Array, colour: Colour) -> None:
    """Fills a convex polygon (N, 2) in pixels; quicker."""
    cv2.fillConvexPoly(image, (corners * ONE).astype(np.int32), colour, cv2.LINE_AA, SHIFT)


def stroke(image: Image, line: list[list[float]], colour: Colour, width: float) -> None:
    """A line through points with round ends, `width` pixels wide."""
    thick = max(1, round(width))
    x0, y0 = line[0]
    for x1, y1 in line[1:]:
        cv2.line(
            image,
            (int(x0 * ONE), int(y0 * ONE)),
            (int(x1 * ONE), int(y1 * ONE)),
            colour,
            thick,
            cv2.LINE_AA,
            SHIFT,
        )
        x0, y0 = x1, y1


def taper(
    image: Image, start: list[float], end: list[float], widths: tuple[float, float], colour: Colour
) -> None:
    """A limb that is `widths` pixels wide at its ends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = hypot(dx, dy) or 1.0
    nx, ny = -dy / length / 2, dx / length / 2
    a, b = widths
    corners = np.array(
        [
            [start[0] + nx * a, start[1] + ny * a],
            [end[0] + nx * b, end[1] + ny * b],
            [end[0] + dx / length * b * 0.4, end[1] + dy / length * b * 0.4],
            [end[0] - nx * b, end[1] - ny * b],
            [start[0] - nx * a, start[1] - ny * a],
            [start[0] - dx / length * a * 0.4, start[1] - dy / length * a * 0.4],
        ]
    )
    convex(image, corners, colour)


def disc(image: Image, centre: list[float], radius: float, colour: Colour) -> None:
    """A filled circle."""
    place = (int(centre[0] * ONE), int(centre[1] * ONE))
    cv2.circle(image, place, max(1, int(radius * ONE)), colour, -1, cv2.LINE_AA, SHIFT)
