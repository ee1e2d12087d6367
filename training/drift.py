"""Statistics of what a bundle has learnt from, so that serving can tell when a camera differs.

`classifier/drift.py` says what they are and uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from classifier.drift import Drift, Numbers, summed_up
from shared.bundle import DRIFT_FILE, Bundle
from training.features import Track
from training.manifest import Clip
from training.windows import Windows

AXES = 64
"""Directions with a variance of their own, at most."""
_FOLDS = 5
_LEAST = 1e-6
"""Of a variance: features that never move in training do not make every camera infinitely far."""


def of(windows: Windows, tracks: Sequence[Track], clips: Sequence[Clip]) -> Drift:
    """Statistics of all windows of the clips; the clips' groups are told apart."""
    _, groups = np.unique([clip.group for clip in clips], return_inverse=True)
    return describe(summaries(windows, tracks), groups[windows.clip])


def summaries(windows: Windows, tracks: Sequence[Track]) -> Numbers:
    """(W, D) windows summed up, without holding all of them at once."""
    return np.concatenate(
        [
            summed_up(tracks[clip].vectors[rows][None])
            for clip, rows in zip(windows.clip, windows.rows, strict=True)
        ]
    )


def describe(
    vectors: Numbers, groups: npt.NDArray[np.intp] | None = None, axes: int = AXES
) -> Drift:
    """Statistics of (N, D) windows summed up, `groups` (N,) being what they are cut from.

    The quantiles are those of the groups' mean distances, taken in five folds from the statistics
    of other groups: a camera that serving meets is none that training has seen either, and what is
    shown of it is an average. Without `groups` each window stands for itself.
    """
    whole = _fitted(vectors, axes)
    distances = whole.distance(vectors)
    if groups is not None:
        _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        for fold in range(_FOLDS if len(sizes) > 1 else 0):
            own = numbers % _FOLDS == fold
            if own.any():
                distances[own] = _fitted(vectors[~own], axes).distance(vectors[own])
        distances = (np.bincount(numbers, distances) / sizes).astype(np.float32)
    quantiles = np.percentile(distances, np.arange(101)).astype(np.float32)
    return Drift(whole.mean, whole.axes, whole.variances, whole.rest, quantiles)


def write(folder: Path, drift: Drift) -> None:
    """Put the file into a bundle's folder, marked as of its backbone."""
    save_file(
        {name: np.ascontiguousarray(value) for name, value in vars(drift).items()},
        folder / DRIFT_FILE,
        {"backbone": Bundle(folder).backbone_fingerprint},
    )


def _fitted(vectors: Numbers, axes: int) -> Drift:
    """Mean and covariance, the latter by its largest directions; no quantiles yet."""
    wide = vectors.astype(np.float64)
    mean = wide.mean(0)
    centred = wide - mean
    values, directions = np.linalg.eigh(centred.T @ centred / len(wide))  # ascending
    kept = min(axes, len(wide) - 1, wide.shape[1] - 1)
    first = len(values) - kept
    values = np.maximum(values, _LEAST)
    return Drift(
        mean.astype(np.float32),
        directions.T[first:][::-1].astype(np.float32),
        values[first:][::-1].astype(np.float32),
        np.array([values[:first].mean()], np.float32),
        np.ones(101, np.float32),
    )
