"""Who is about anyway: walkers on the pavements, people who wait, vehicles that pass."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, pi, sin

import numpy as np

from ingest.scene import gait, vehicles
from ingest.scene.accident import driving
from ingest.scene.act import Act
from ingest.scene.address import Options
from ingest.scene.figure import Appearance, appearance
from ingest.scene.street import Street
from ingest.scene.view import Array

_SPAN = 64.0
"""Metres of pavement that a walker covers before beginning again, out of sight."""

Seen = tuple[Appearance, Array, tuple[float, float, float]]
"""Somebody with a pose, at x, z, with a heading."""


@dataclass(frozen=True)
class Walker:
    """Somebody who walks along a pavement for ever, or stands if `speed` is 0."""

    wearing: Appearance
    x: float
    z: float
    speed: float
    way: float
    manner: int

    def at(self, time: float) -> tuple[Array, tuple[float, float, float]]:
        """Pose and place (x, z, heading)."""
        if self.speed == 0:
            turn = self.manner + 0.3 * sin(0.2 * time + self.manner)
            return gait.idle(time, self.manner), (self.x, self.z, turn)
        gone = self.z + self.way * self.speed * time
        z = (gone + _SPAN * 0.4) % _SPAN - _SPAN * 0.4
        x = self.x + 0.25 * sin(0.21 * gone + self.manner)
        lean = 0.25 * 0.21 * cos(0.21 * gone + self.manner)
        phase = gait.cycles_per_second(self.speed) * time + self.manner * 0.37
        heading = lean if self.way > 0 else pi - lean
        return gait.striding(phase, self.speed), (x, z, heading)


@dataclass(frozen=True)
class Passing:
    """A vehicle that goes once along the street; at `time` it is at z = 0."""

    model: vehicles.Model
    lane: float
    time: float
    speed: float

    def at(self, time: float) -> Array | None:
        """Its state, or None while it is far away."""
        gone = (time - self.time) * self.speed
        if not -70 < gone < 70:
            return None
        state = np.zeros(vehicles.STATE_SIZE)
        state[vehicles.HEADING] = driving(self.lane)
        state[vehicles.X] = self.lane
        state[vehicles.Z] = gone * cos(state[vehicles.HEADING])
        return state


class Passers:
    """Everybody and everything that has no part in the script, but gives way to it."""

    def __init__(self, options: Options, street: Street) -> None:
        random = np.random.default_rng([options.seed, 0x7A])
        self._seed, self._street = options.seed, street
        count = int(random.integers(2, 9)) if options.people is None else options.people
        self._walkers = [self._walker(random) for _ in range(count)]
        rate = float(random.uniform(2, 14)) if options.traffic is None else options.traffic
        self._headway = 60.0 / rate if rate > 0 else 0.0
        self._cyclist = appearance(random)

    def _walker(self, random: np.random.Generator) -> Walker:
        street = self._street
        side = float(random.choice([-1, 1]))
        x = side * (street.half_road + float(random.uniform(0.6, street.pavement - 0.5)))
        still = random.random() < 0.2
        return Walker(
            appearance(random, child=bool(random.random() < 0.08)),
            x,
            float(random.uniform(-6, 14) if still else random.uniform(-0.4, 0.6) * _SPAN),
            0.0 if still else float(random.uniform(0.9, 1.75)),
            float(random.choice([-1, 1])),
            int(random.integers(100)),
        )

    def people(self, time: float, acts: list[Act]) -> list[Seen]:
        """Everybody at `time`; who is near an explosion runs away from it."""
        seen: list[Seen] = []
        alarms = [(*act.flee, act.event.end) for act in acts if act.flee and time > act.flee[2]]
        for walker in self._walkers:
            place: tuple[float, float, float] | None
            vector, place = walker.at(time)
            for x, z, since, until in alarms:
                fled = _fleeing(walker, time, (x, z, since, until), self._street.half_width)
                if fled is not None:
                    vector, place = fled
            seen.append((walker.wearing, vector, place))
        return seen

    def vehicles(
        self, time: float, acts: list[Act]
    ) -> tuple[list[tuple[vehicles.Model, Array]], list[Seen]]:
        """Vehicles under way at `time`, and the riders of bicycles."""
        if not self._headway:
            return [], []
        cars: list[tuple[vehicles.Model, Array]] = []
        riders: list[Seen] = []
        closed = [act.clear for act in acts if act.clear]
        slowest = 70 / 3.5
        first, last = int((time - slowest) // self._headway), int((time + 20) // self._headway)
        for number in range(first, last + 1):
            passing = self._passing(number)
            state = passing.at(time)
            if state is None:
                continue
            reach = 25 / passing.speed
            if any(passing.time + reach > a and passing.time - reach < b for a, b in closed):
                continue
            cars.append((passing.model, state))
            if passing.model is vehicles.BICYCLE:
                place = (float(state[0]), float(state[1]), float(state[2]))
                riders.append((self._cyclist, gait.pedalling(1.1 * time), place))
        return cars, riders

    def _passing(self, number: int) -> Passing:
        random = np.random.default_rng([self._seed, 0x9A, number & 0xFFFFFFFF])
        lane = float(random.choice([-1, 1]))
        at = (number + float(random.uniform(0.1, 0.9))) * self._headway
        if random.random() < 0.2:
            beside = lane * (self._street.half_road - 0.55)
            return Passing(vehicles.BICYCLE, beside, at, float(random.uniform(3.5, 5.5)))
        # One speed a lane, so that nobody drives through anybody.
        speed = 8.0 + 3.0 * ((self._seed + (lane > 0)) % 3) / 2
        return Passing(vehicles.model(random), lane * 0.5 * self._street.half_road, at, speed)


def _fleeing(
    walker: Walker, time: float, alarm: tuple[float, float, float, float], half_width: float
) -> tuple[Array, tuple[float, float, float]] | None:
    x, z, since, until = alarm
    react = since + 0.25 + 0.02 * (walker.manner % 20)
    _, (x0, z0, heading) = walker.at(react)
    near = hypot(x0 - x, z0 - z)
    if near > 16 or time > until + 8:
        return None
    if time < react:
        return None
    ran = 4.6 * max(0.0, time - react - 0.25)
    way = 1.0 if z0 >= z else -1.0
    out = float(np.clip(x0 + 0.25 * ran * np.sign(x0 - x), -half_width + 0.4, half_width - 0.4))
    turned = 0.0 if way > 0 else pi
    share = min(1.0, (time - react) / 0.3)
    heading += share * ((turned - heading + pi) % (2 * pi) - pi)
    if ran == 0:
        return gait.pose(bend=0.5, l_knee=0.6, r_knee=0.6, l_hip=0.4, r_hip=0.4), (x0, z0, heading)
    return gait.striding(1.7 * time + walker.manner * 0.1, 4.4), (out, z0 + way * ran, heading)
