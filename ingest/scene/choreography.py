"""Writes the tracks of performers: they walk, strike, reel and fall by key poses in time."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, ceil, cos, hypot, pi, sin

import numpy as np

from ingest.scene.figure import Appearance
from ingest.scene.gait import POSE_SIZE, cycles_per_second, striding
from ingest.scene.track import Track
from ingest.scene.view import Array, View

# A performer's row: a pose, then its place.
PLACE = slice(POSE_SIZE, POSE_SIZE + 3)
"""x, z and heading."""


@dataclass(frozen=True)
class Performer:
    """A person of an act."""

    wearing: Appearance
    track: Track


class Dancer:
    """A cursor in time and place that writes one performer's key poses."""

    def __init__(self, time: float, x: float, z: float, heading: float) -> None:
        self.time, self.x, self.z, self.heading = time, x, z, heading
        self._phase = 0.0
        self._times: list[float] = []
        self._rows: list[Array] = []

    def key(self, time: float, vector: Array) -> None:
        """Is in this pose at `time`, at the cursor's place."""
        self.time = max(time, self.time)
        self._times.append(self.time)
        self._rows.append(np.concatenate([vector, [self.x, self.z, self.heading]]))

    def hold(self, seconds: float, vector: Array) -> None:
        """Stays in a pose."""
        self.key(self.time + 0.15, vector)
        self.key(self.time + max(seconds - 0.15, 0.0), vector)

    def shift(self, metres: float, heading: float | None = None) -> None:
        """Moves along a heading (its own by default) before the next key."""
        way = self.heading if heading is None else heading
        self.x += metres * sin(way)
        self.z += metres * cos(way)

    def face(self, x: float, z: float) -> None:
        """Turns towards a place, the short way round."""
        self.turn_to(atan2(x - self.x, z - self.z))

    def turn_to(self, heading: float) -> None:
        """Turns to a heading, the short way round."""
        self.heading += (heading - self.heading + pi) % (2 * pi) - pi

    def go(self, x: float, z: float, speed: float, manner: Array | None = None) -> None:
        """Walks or runs straight to a place, 8 keys a cycle; `manner` is added to the gait."""
        length = hypot(x - self.x, z - self.z)
        if length < 0.05:
            return
        self.face(x, z)
        if not self._times:
            self._add(striding(self._phase, speed), manner)
        seconds = length / speed
        rate = cycles_per_second(speed)
        steps = max(1, ceil(seconds * rate * 8))
        x0, z0, t0 = self.x, self.z, self.time
        for step in range(1, steps + 1):
            share = step / steps
            self.x, self.z = x0 + share * (x - x0), z0 + share * (z - z0)
            self.time = t0 + share * seconds
            self._phase += seconds * rate / steps
            self._add(striding(self._phase, speed), manner)

    def _add(self, vector: Array, manner: Array | None) -> None:
        self.key(self.time, vector if manner is None else vector + manner)

    def performer(self, wearing: Appearance) -> Performer:
        """The finished track."""
        return Performer(wearing, Track(self._times, self._rows))


def way_out(view: View, x: float, z: float, half_width: float, random: np.random.Generator,
            limit: float = 32.0) -> tuple[float, float]:  # fmt: skip
    """The nearest place along the street that the camera does not see, from (x, z)."""
    best: tuple[float, float, float] | None = None
    for way in (-1.0, 1.0):
        for length in np.arange(2.0, limit, 0.75):
            px = float(np.clip(x + random.uniform(-0.08, 0.08) * length, -half_width, half_width))
            pz = z + way * float(length)
            if not view.sees(px, pz, margin=0.6):
                if best is None or length < best[2]:
                    best = (px, pz, float(length))
                break
    if best is None:
        return x, z + limit
    return best[0], best[1]


def entering(view: View, time: float, x: float, z: float, heading: float, half_width: float,
             random: np.random.Generator, speed: float = 1.4) -> Dancer:  # fmt: skip
    """A performer who walks in from outside the picture and stands at (x, z) at `time`."""
    px, pz = way_out(view, x, z, half_width, random)
    dancer = Dancer(time - hypot(px - x, pz - z) / speed - 0.3, px, pz, 0.0)
    dancer.go(x, z, speed)
    dancer.turn_to(heading)
    return dancer


def leaving(dancer: Dancer, view: View, half_width: float, random: np.random.Generator,
            speed: float = 1.4) -> None:  # fmt: skip
    """Walks or runs out of the picture."""
    dancer.go(*way_out(view, dancer.x, dancer.z, half_width, random), speed)
