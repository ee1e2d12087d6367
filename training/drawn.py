"""The drawn set: street scenes from seeds, one a group, whose script is the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

import numpy as np

from ingest.scene.address import ABNORMAL, DISTRACTORS, HELD_OUT_STYLE, STYLES
from shared.bundle import NORMAL
from training.manifest import Clip

CYCLE = (NORMAL, "fighting", "assault", NORMAL, "explosion", "road_accident")
"""Labels of successive seeds: a third is normal."""

KEPT_SEEDS = frozenset({5, 11, 23, 42})
"""Streets of `citywatch demo`: never learnt from, so that the demo shows recognition."""

TRAINING_STYLES = tuple(style for style in STYLES if style != HELD_OUT_STYLE)
HELD_OUT_STYLES = (HELD_OUT_STYLE,)
"""How no training scene is drawn: is the act recognised, or the drawing?"""

_ACTS = {label.replace(" ", "_"): act for act, label in ABNORMAL.items()}


def scenes(
    count: int, first_seed: int = 0, seconds: float = 10.0, styles: Sequence[int] = TRAINING_STYLES
) -> list[Clip]:
    """Up to `count` scenes of `seconds` each; split them by group, which is the seed.

    An act begins in the first half of its scene and lasts 3 to 6 s, so that a scene shows what is
    normal before it. Lively normal acts (running, hugging, dancing, ...) are put before acts, and
    fill most normal scenes.
    """
    return [
        scene(CYCLE[number % len(CYCLE)], first_seed + number, seconds, styles)
        for number in range(count)
        if first_seed + number not in KEPT_SEEDS
    ]


def scene(label: str, seed: int, seconds: float, styles: Sequence[int] = TRAINING_STYLES) -> Clip:
    """One scene of one label."""
    random = np.random.default_rng([seed, 0xD4])
    start = float(random.uniform(0.3, 0.5)) * seconds
    end = min(start + float(random.uniform(3.0, 6.0)), seconds - 0.5)
    lively = str(random.choice(DISTRACTORS))
    if label == NORMAL:
        events = "none"
        distractors = f"{lively}@1.0-{seconds - 1:.1f}" if random.random() < 0.75 else "none"
    else:
        events = f"{_ACTS[label]}@{start:.2f}-{end:.2f}"
        early = start > 3.0 and random.random() < 0.4
        distractors = f"{lively}@0.5-{start - 1:.1f}" if early else "none"
    query = {
        "seed": seed,
        "seconds": f"{seconds:g}",
        "style": int(random.choice(styles)),
        "events": events,
        "distractors": distractors,
    }
    url = "synthetic://street?" + urlencode(query, safe="@,.-")
    return Clip(url, url, label, f"drawn{seed}")
