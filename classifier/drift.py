"""How far a window lies from what the bundle has learnt from.

A bundle may hold `drift.safetensors` (`training/drift.py` writes it): a probabilistic PCA (Tipping
and Bishop, 1999) of the training's windows, each summed up in one vector. The covariance is
axes.T @ diag(variances - rest) @ axes + rest * I: the largest directions each with their variance,
all others with one. The distance is Mahalanobis', the root of its mean over D numbers: 1 is usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from shared.bundle import Bundle
from shared.errors import InvalidBundle

Numbers = npt.NDArray[np.float32]

FAR = 99
"""Per cent of the training's groups that are closer than what counts as far."""
_EVERY = 5
"""Steps: neighbours hardly differ, and adding up all of a window in float16 takes 42 us more."""


def summed_up(windows: npt.NDArray[np.float16]) -> Numbers:
    """(N, T, D) windows to (N, D): the mean of every fifth step."""
    return cast(Numbers, windows[:, ::_EVERY].mean(1, dtype=np.float32))


@dataclass(frozen=True)
class Drift:
    """`mean` (D,), `axes` (K, D) of unit length, `variances` (K,), `rest` (1,) the variance of
    every other direction, `quantiles` (101,) by per cent of the training's groups: of the mean
    distance of a group's windows from statistics that had not seen it.
    """

    mean: Numbers
    axes: Numbers
    variances: Numbers
    rest: Numbers
    quantiles: Numbers

    def distance(self, vectors: Numbers) -> Numbers:
        """(N, D) windows summed up, to (N,) distances."""
        centred = vectors - self.mean
        along = centred @ self.axes.T  # (N, K)
        # What is left, not the difference of two sums of squares: that loses all digits in float32.
        across = centred - along @ self.axes
        total = (along * along / self.variances).sum(1) + (across * across).sum(1) / self.rest
        return cast(Numbers, np.sqrt(total / vectors.shape[1]))

    def relative(self, vectors: Numbers) -> Numbers:
        """(N,) distances in units of the one below which 99 % of the training's groups lie."""
        return cast(Numbers, self.distance(vectors) / self.quantiles[FAR])


def read(bundle: Bundle) -> Drift | None:
    """The bundle's; None if it has none, or one of another backbone. Raises InvalidBundle."""
    path = bundle.drift_file
    if path is None:
        return None
    try:
        with safe_open(path, "numpy") as file:
            made_with = (file.metadata() or {}).get("backbone")
            drift = Drift(**{name: file.get_tensor(name) for name in Drift.__dataclass_fields__})
    except (SafetensorError, OSError) as error:
        raise InvalidBundle(f"{path}: {error}") from None
    features = bundle.description.backbone.features
    shapes = [v.shape for v in (drift.mean, drift.axes, drift.variances, drift.quantiles)]
    axes = len(drift.variances)
    if shapes != [(features,), (axes, features), (axes,), (101,)]:
        raise InvalidBundle(f"{path}: not statistics of {features} features")
    return drift if made_with == bundle.backbone_fingerprint else None
