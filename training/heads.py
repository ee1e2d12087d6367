"""The linear head on statistics: what every temporal network has to beat.

A window's vectors become their mean, deviation and mean absolute step, which are standardised and
classified by logistic regression (EVALUATION.md, measured starting points).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

Array = npt.NDArray[np.float32]


def statistics(windows: npt.NDArray[np.floating]) -> Array:
    """(N, T, D) vectors to (N, 3 D): mean, deviation and mean absolute step over time."""
    vectors = np.asarray(windows, np.float32)
    steps = np.abs(np.diff(vectors, axis=1)).mean(1)
    return np.concatenate([vectors.mean(1), vectors.std(1), steps], axis=1)


def motion_numbers(energy: npt.NDArray[np.floating]) -> Array:
    """(N, T) motion energy to (N, 6): the baseline without any network (EVALUATION 13)."""
    energy = np.asarray(energy, np.float32)
    return np.stack(
        [
            energy.mean(1),
            energy.std(1),
            energy.max(1),
            np.median(energy, axis=1),
            np.abs(np.diff(energy, axis=1)).mean(1),
            (energy > 0.02).mean(1),
        ],
        axis=1,
    )


def fit_linear(
    features: Array, targets: Sequence[int] | npt.NDArray[np.intp], strength: float = 0.001
) -> Pipeline:
    """Standardised logistic regression, classes weighted alike; `strength` is 1 / penalty."""
    model = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=strength, class_weight="balanced", max_iter=2000),
    )
    model.fit(features, targets)
    return model
