"""Intervals by drawing groups, not clips: clips of one camera hang together (EVALUATION 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
Statistic = Callable[[Rows], float]
"""From row numbers (with repetitions) to one number; NaN where it is not defined."""


def of_rows(measure: Callable[..., float], *arrays: npt.NDArray[Any]) -> Statistic:
    """`measure` of the chosen rows of the arrays."""
    return lambda rows: measure(*(array[rows] for array in arrays))


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the central 95 % of its bootstrap distribution."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interval(
    groups: Sequence[str], statistic: Statistic, draws: int = 1000, seed: int = 0
) -> Interval:
    """95 % percentile interval of `statistic` over resampled groups.

    Draws for which the statistic is not defined (one label only) are left out; with fewer than
    half of them left, or fewer than two groups, the bounds are NaN.
    """
    names = np.asarray(groups)
    members = [np.flatnonzero(names == name) for name in dict.fromkeys(groups)]
    value = statistic(np.arange(len(names)))
    if len(members) < 2:
        return Interval(value, float("nan"), float("nan"))
    random = np.random.default_rng(seed)
    values = np.array(
        [
            statistic(np.concatenate([members[i] for i in picks]))
            for picks in random.integers(len(members), size=(draws, len(members)))
        ]
    )
    values = values[~np.isnan(values)]
    if len(values) < draws / 2:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(values, (0.025, 0.975))
    return Interval(value, float(low), float(high))


def paired_interval(
    groups: Sequence[str], first: Statistic, second: Statistic, draws: int = 1000, seed: int = 0
) -> Interval:
    """Interval of first - second, both computed on the same resampled groups."""
    return interval(groups, lambda rows: first(rows) - second(rows), draws, seed)
