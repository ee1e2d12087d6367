"""Explosion: a flash, a ball of fire, smoke, flying pieces, and people who run."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from ingest.scene import gait
from ingest.scene.act import Act, Event
from ingest.scene.choreography import Performer, entering, way_out
from ingest.scene.effects import burst, shards
from ingest.scene.figure import appearance
from ingest.scene.street import Street


def explosion(
    street: Street, random: np.random.Generator, place: tuple[float, float], start: float,
    end: float,
) -> Act:  # fmt: skip
    """Something on the ground blows up; it burns and smokes until the end."""
    x, z = place
    power = float(random.uniform(0.7, 1.25))
    victims = [_runner(street, random, place, start) for _ in range(int(random.integers(1, 5)))]
    region = street.view.region(x, z, 2.6 * power, 4.5 * power)
    return Act(
        Event("explosion", start, end, region, "explosion"),
        victims,
        plumes=burst(random, x, z, start, end, power),
        debris=[shards(random, x, z, start + 0.03, end + 2, 2.0 * power, 40)],
        flee=(x, z, start + 0.1),
        flash=(x, z, start),
        clear=(start - 3, end + 4),
    )


def _runner(
    street: Street, random: np.random.Generator, place: tuple[float, float], start: float
) -> Performer:
    """Somebody near by, who ducks, perhaps is thrown down, and runs away."""
    angle, away = float(random.uniform(0, 2 * pi)), float(random.uniform(2.5, 6.0))
    limit = street.half_width - 0.5
    x = float(np.clip(place[0] + away * cos(angle), -limit, limit))
    z = place[1] + away * sin(angle)
    who = entering(street.view, start, x, z, float(random.uniform(0, 2 * pi)),
                   street.half_width, random)  # fmt: skip
    who.key(start + 0.1, gait.idle(start, 0))
    who.shift(0.4, angle)
    if away < 3.6:
        who.key(start + 0.35, gait.BUCKLED)
        who.key(start + 0.6, gait.LYING)
        who.hold(float(random.uniform(0.3, 1.2)), gait.LYING)
        who.key(who.time + 0.6, gait.KNEELING)
    else:
        who.key(start + 0.25 + float(random.uniform(0, 0.3)), gait.COVER)
    outward = 1.0 if z > place[1] else -1.0
    out = way_out(street.view, who.x, who.z + 4 * outward, street.half_width, random)
    who.go(out[0], max(out[1], who.z) if outward > 0 else min(out[1], who.z),
           float(random.uniform(3.6, 5.2)))  # fmt: skip
    return who.performer(appearance(random))
