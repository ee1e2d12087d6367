"""A street that a seed chooses: where the camera hangs, how wide it is, what stands there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import atan2, cos, pi, sin

import numpy as np

from ingest.scene.address import Options
from ingest.scene.brush import Light
from ingest.scene.view import Array, View


@dataclass(frozen=True)
class Lamp:
    """A street lamp: its foot, and how far its arm reaches over the road (signed)."""

    x: float
    z: float
    arm: float
    height: float = 5.5


@dataclass(frozen=True)
class Street:
    """Layout in metres. The road runs along z between -half_road and +half_road."""

    view: View
    light: str
    weather: str
    style: int
    half_road: float
    pavement: float
    lamps: tuple[Lamp, ...]
    trees: tuple[tuple[float, float, float], ...]
    parked: tuple[tuple[float, float], ...]
    sun: tuple[float, float]
    ambient: Light
    aim: tuple[float, float]
    tone: float

    @property
    def half_width(self) -> float:
        """From the middle of the road to the houses."""
        return self.half_road + self.pavement

    @cached_property
    def _lamp_places(self) -> Array:
        return np.array([[lamp.x + lamp.arm, lamp.z] for lamp in self.lamps]).reshape(-1, 2)

    def light_at(self, x: float, z: float) -> Light:
        """Light on something that stands at (x, z): factors for blue, green, red."""
        if self.light == "day" or not self.lamps:
            return self.ambient
        away = ((self._lamp_places - (x, z)) ** 2).sum(axis=1)
        lamp = self.lamp_strength * float((1 / (1 + away / 22.0) ** 1.5).sum())
        blue, green, red = self.ambient
        return blue + 0.55 * lamp, green + 0.8 * lamp, red + lamp

    @property
    def lamp_strength(self) -> float:
        """Light right under a lamp."""
        return {"day": 0.0, "dusk": 0.35, "night": 0.75}[self.light]


def build_street(options: Options) -> Street:
    """The street of an address; all from its seed but what the address fixes."""
    random = np.random.default_rng([options.seed, 0x57])
    light = str(random.choice(["day", "day", "dusk", "night"]))
    weather = "rain" if random.random() < 0.15 else "clear"
    light, weather = options.light or light, options.weather or weather
    half_road = float(random.uniform(3.0, 4.6))
    pavement = float(random.uniform(2.4, 5.5))
    view, aim = _camera(random, options, half_road, pavement)
    tone = float(random.uniform(0.85, 1.15))
    sun_angle, reach = random.uniform(0, 2 * pi), random.uniform(0.4, 1.6)
    return Street(
        view=view,
        light=light,
        weather=weather,
        style=options.style,
        half_road=half_road,
        pavement=pavement,
        lamps=_lamps(random, half_road),
        trees=_trees(random, view, aim, half_road, pavement),
        parked=_parked(random, view, aim, half_road),
        sun=(float(reach * cos(sun_angle)), float(reach * sin(sun_angle))),
        ambient=_ambient(random, light, weather),
        aim=aim,
        tone=tone,
    )


def _camera(
    random: np.random.Generator, options: Options, half_road: float, pavement: float
) -> tuple[View, tuple[float, float]]:
    """A camera between first floor and roof, aimed so that a person fills 1/6 to 2/5 of it."""
    yaw = float(random.choice([-1, 1]) * random.uniform(0.05, 1.1))
    height = float(random.uniform(3.2, 7.5))
    distance = float(random.uniform(7.5, 13.0))
    tall = float(random.uniform(0.17, 0.38))  # of the picture, for 1.75 m at the aim
    aim_x = float(random.uniform(-half_road - 0.3 * pavement, half_road + 0.3 * pavement))
    slant = (distance**2 + height**2) ** 0.5
    focal = tall * options.height * slant / 1.75
    focal = float(np.clip(focal, 0.62 * options.width, 1.6 * options.width))
    eye = (aim_x - distance * sin(yaw), height, -distance * cos(yaw))
    pitch = atan2(height - 0.9, distance)
    return View(options.width, options.height, eye, yaw, pitch, focal), (aim_x, 0.0)


def _ambient(random: np.random.Generator, light: str, weather: str) -> Light:
    grey = {"day": 0.95, "dusk": 0.5, "night": 0.26}[light] * random.uniform(0.88, 1.08)
    if weather == "rain":
        grey *= 0.85
    blue = {"day": 1.0, "dusk": 1.15, "night": 1.3}[light]
    return float(grey * blue), float(grey), float(grey * (2 - blue))


def _lamps(random: np.random.Generator, half_road: float) -> tuple[Lamp, ...]:
    spacing = float(random.uniform(13, 20))
    first = float(random.uniform(-spacing / 2, spacing / 2))
    side = float(random.choice([-1, 1]))
    both = random.random() < 0.4
    lamps = []
    for number in range(-2, 6):
        turn = side * (-1 if both and number % 2 else 1)
        foot = turn * (half_road + 0.5)
        lamps.append(Lamp(foot, first + number * spacing, -1.6 * turn))
    return tuple(lamps)


def _trees(
    random: np.random.Generator, view: View, aim: tuple[float, float], half_road: float,
    pavement: float,
) -> tuple[tuple[float, float, float], ...]:  # fmt: skip
    """Feet and heights, never between the camera and its aim."""
    trees = []
    for _ in range(int(random.integers(0, 9))):
        x = float(random.choice([-1, 1]) * (half_road + random.uniform(0.5, pavement * 0.6)))
        z = float(random.uniform(-4, 45))
        if _beyond(view, aim, x, z, 5.0):
            trees.append((x, z, float(random.uniform(3.5, 6.5))))
    return tuple(trees)


def _parked(
    random: np.random.Generator, view: View, aim: tuple[float, float], half_road: float
) -> tuple[tuple[float, float], ...]:
    side = float(random.choice([-1, 1]))
    cars: list[tuple[float, float]] = []
    for _ in range(int(random.integers(0, 6))):
        x, z = side * (half_road - 1.0), float(random.uniform(-6, 40))
        clear = all(abs(z - other) > 5.6 for _, other in cars)
        if clear and abs(z - aim[1]) > 6.5 and _beyond(view, aim, x, z, 4.0):
            cars.append((x, z))
    return tuple(cars)


def _beyond(view: View, aim: tuple[float, float], x: float, z: float, room: float) -> bool:
    """Whether (x, z) lies at least `room` behind or beside the aim, as the camera sees it."""
    ahead = np.array([sin(view.yaw), cos(view.yaw)])
    offset = np.array([x - aim[0], z - aim[1]])
    deep = float(offset @ ahead)
    beside = float(abs(offset @ (ahead[1], -ahead[0])))
    return deep > room or (deep > -2.0 and beside > room)
