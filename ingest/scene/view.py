"""The camera of a drawn scene: a pinhole above the street, and what projects where.

World axes in metres: x across the street, y up, z along it. The ground is y = 0. A heading of 0
looks along +z and grows towards +x.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import cos, sin

import numpy as np
from numpy.typing import NDArray

from shared.messages import Region

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

NEAR = 0.6
"""Nothing nearer than this many metres is drawn."""


def pair(point: Array) -> tuple[float, float]:
    """A ground point (2,) as (x, z)."""
    return float(point[0]), float(point[1])


@dataclass(frozen=True)
class View:
    """A pinhole camera. `pitch` is downwards; `focal` in pixels; angles in radians."""

    width: int
    height: int
    eye: tuple[float, float, float]
    yaw: float
    pitch: float
    focal: float

    @cached_property
    def axes(self) -> Array:
        """Rows: right, down, forward, in world axes."""
        sy, cy, sp, cp = sin(self.yaw), cos(self.yaw), sin(self.pitch), cos(self.pitch)
        return np.array([[cy, 0.0, -sy], [-sy * sp, -cp, -cy * sp], [sy * cp, -sp, cy * cp]])

    def scaled(self, factor: int) -> View:
        """The same view with `factor` times as many pixels a side."""
        return replace(
            self,
            width=self.width * factor,
            height=self.height * factor,
            focal=self.focal * factor,
        )

    def to_camera(self, points: Array) -> Array:
        """World points (..., 3) as (right, down, depth)."""
        turned: Array = (points - np.array(self.eye)) @ self.axes.T
        return turned

    def to_pixels(self, camera: Array) -> Array:
        """Camera points (..., 3) as (column, row, depth); depth below NEAR is held at NEAR."""
        depth = np.maximum(camera[..., 2], NEAR)
        pixels = np.empty_like(camera)
        pixels[..., 0] = self.width / 2 + self.focal * camera[..., 0] / depth
        pixels[..., 1] = self.height / 2 + self.focal * camera[..., 1] / depth
        pixels[..., 2] = camera[..., 2]
        return pixels

    def project(self, points: Array) -> Array:
        """World points (..., 3) as (column, row, depth)."""
        return self.to_pixels(self.to_camera(points))

    def polygon(self, corners: Array) -> Array | None:
        """A flat polygon (N, 3) in pixels (M, 2), cut at the near plane; None if behind it."""
        camera = self.to_camera(corners)
        kept: list[Array] = []
        for here, there in zip(camera, np.roll(camera, -1, axis=0), strict=True):
            if here[2] >= NEAR:
                kept.append(here)
            if (here[2] >= NEAR) != (there[2] >= NEAR):
                share = (NEAR - here[2]) / (there[2] - here[2])
                kept.append(here + share * (there - here))
        return self.to_pixels(np.array(kept))[:, :2] if len(kept) >= 3 else None

    def pixels_per_metre(self, x: float, z: float) -> float:
        """Size at the ground point; 0 behind the camera."""
        depth = float(self.to_camera(np.array([x, 1.0, z]))[2])
        return self.focal / depth if depth > NEAR else 0.0

    def ground(self, column: float, row: float) -> tuple[float, float] | None:
        """The ground point (x, z) seen at a pixel; None at or above the horizon."""
        ray = np.array([column - self.width / 2, row - self.height / 2, self.focal]) @ self.axes
        if ray[1] >= -1e-3 * self.focal:
            return None
        reach = -self.eye[1] / ray[1]
        return float(self.eye[0] + reach * ray[0]), float(self.eye[2] + reach * ray[2])

    def sees(self, x: float, z: float, margin: float = 0.0) -> bool:
        """Whether a person at (x, z) would be in the picture; `margin` in metres around it."""
        points = self.project(np.array([[x, 0.0, z], [x, 1.8, z]]))
        if points[0, 2] < NEAR:
            return False
        slack = margin * self.focal / points[0, 2]
        across = -slack <= points[:, 0].mean() <= self.width + slack
        return bool(across and points[1, 1] <= self.height + slack and points[0, 1] >= -slack)

    def region(self, x: float, z: float, radius: float, tall: float = 2.0) -> Region:
        """Box (left, top, width, height), 0..1, of a cylinder that stands on the ground."""
        offsets = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * radius
        corners = np.array([[x + a, y, z + b] for a, b in offsets for y in (0.0, tall)])
        pixels = self.project(corners)[:, :2] / (self.width, self.height)
        low, high = np.clip(pixels.min(axis=0), 0, 1), np.clip(pixels.max(axis=0), 0, 1)
        return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])
