"""What an epoch sees, and how much each window of it counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt


def window_weights(
    targets: npt.NDArray[np.intp],
    clips: npt.NDArray[np.intp],
    labels: int,
    filmed: npt.NDArray[np.bool_] | None = None,
    real_weight: float = 1.0,
) -> npt.NDArray[np.float32]:
    """(W,) weights with mean 1: labels alike, and within a label its clips alike.

    With `filmed` (W,), that holds among filmed windows and among drawn ones: neither outweighs the
    other because it has more clips, but filmed labels weigh `real_weight` times as much.
    """
    cells = targets if filmed is None else targets + labels * filmed
    weights = np.zeros(len(targets), np.float32)
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells == cell)
        _, inverse, counts = np.unique(clips[rows], return_inverse=True, return_counts=True)
        weights[rows] = 1.0 / counts[inverse]
        weights[rows] *= (real_weight if cell >= labels else 1.0) / weights[rows].sum()
    return weights * np.float32(len(targets) / weights.sum())


def drawn_rows(
    targets: npt.NDArray[np.intp],
    clips: npt.NDArray[np.intp],
    per_clip: int,
    random: np.random.Generator,
) -> npt.NDArray[np.intp]:
    """Rows in random order, at most `per_clip` of each (clip, label)."""
    order = random.permutation(len(targets))
    seen: Counter[tuple[int, int]] = Counter()
    chosen = []
    for row in order:
        key = int(clips[row]), int(targets[row])
        if seen[key] < per_clip:
            seen[key] += 1
            chosen.append(row)
    return np.array(chosen, np.intp)
