"""Explosion: a flash, a ball of fire, smoke, flying pieces, and people who run."""

from __future__ import annotations

import numpy as np

from ingest.scene.act import Act, Event
from ingest.scene.effects import burst, shards
from ingest.scene.street import Street


def explosion(
    street: Street, random: np.random.Generator, place: tuple[float, float], start: float,
    end: float,
) -> Act:  # fmt: skip
    """Something on the ground blows up; it burns and smokes until the end."""
    x, z = place
    power = float(random.uniform(0.7, 1.25))
    region = street.view.region(x, z, 2.6 * power, 4.5 * power)
    return Act(
        Event("explosion", start, end, region, "explosion"),
        plumes=burst(random, x, z, start, end, power),
        debris=[shards(random, x, z, start + 0.03, end + 2, 2.0 * power, 40)],
        flee=(x, z, start + 0.1),
        flash=(x, z, start),
        clear=(start - 3, end + 4),
    )
