"""The branch of statistics of a pooled network: logistic regression, as sure as it may be.

LSTMs that learnt what the branch leaves over, with the branch held out by group so that it left
something, were worse than the branch alone on the fights set (`docs/experiments.md`); the mean of
both is not, and stays as quiet on shaken pictures as the branch does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from training.splits import group_folds

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

_NEVER = -12.0
"""Logit of a label that the training windows lack."""


@dataclass(frozen=True)
class Guess:
    """logits = x @ weight.T + bias, for statistics x (N, S)."""

    weight: Array
    bias: Array

    def __call__(self, x: Array) -> Array:
        """(N, S) to (N, L)."""
        return x @ self.weight.T + self.bias

    def times(self, factor: float) -> Guess:
        """The same answers, more or less sure."""
        return Guess(self.weight * np.float32(factor), self.bias * np.float32(factor))


def mean(guesses: Sequence[Guess]) -> Guess:
    """Whose logits are the mean of theirs."""
    return Guess(
        np.mean([guess.weight for guess in guesses], 0),
        np.mean([guess.bias for guess in guesses], 0),
    )


def first_guess(x: Array, targets: Indices, weights: Array, labels: int, strength: float) -> Guess:
    """Weighted logistic regression on standardised statistics (N, S), one row of weights a label.

    `strength` is 1 / penalty, for weights (N,) that sum to the number of clips; windows that weigh
    nothing are left out. With fewer windows than statistics the solution lies in the span of the
    windows, and is sought there.
    """
    counted = weights > 0
    x, targets, weights = x[counted], targets[counted], weights[counted]
    mean, scale = x.mean(0), x.std(0) + np.float32(1e-6)
    z = ((x - mean) / scale).astype(np.float64)
    basis = None
    if len(z) < z.shape[1]:
        values, vectors = np.linalg.eigh(z @ z.T)
        kept = values > 1e-8 * values[-1]
        basis = z.T @ (vectors[:, kept] / np.sqrt(values[kept]))  # (S, K), orthonormal
        z = vectors[:, kept] * np.sqrt(values[kept])
    weight, bias = np.zeros((labels, x.shape[1])), np.full(labels, _NEVER)
    present = np.unique(targets)
    if len(present) == 1:
        bias[present] = 0.0
        return Guess(weight.astype(np.float32), bias.astype(np.float32))
    model = LogisticRegression(C=strength, max_iter=500).fit(z, targets, weights)
    rows, offsets = model.coef_, model.intercept_
    if len(rows) == 1:  # one row says how far the second label is ahead
        rows, offsets = np.concatenate([-rows, rows]) / 2, np.concatenate([-offsets, offsets]) / 2
    rows = (rows if basis is None else rows @ basis.T) / scale
    weight[present] = rows
    bias[present] = offsets - rows @ mean
    return Guess(weight.astype(np.float32), bias.astype(np.float32))


def out_of_fold(
    x: Array,
    targets: Indices,
    weights: Array,
    groups: Indices,
    labels: int,
    strength: float,
    seed: int,
    folds: int = 5,
) -> Array:
    """(N, L) what guesses from other groups say of each window; `groups` (N,)."""
    folds = min(folds, len(np.unique(groups)), int(np.bincount(targets).max()))
    result = np.zeros((len(x), labels), np.float32)
    if folds < 2:
        return result
    names = [str(target) for target in targets], [str(group) for group in groups]
    for train, test in group_folds(*names, folds, seed):
        guess = first_guess(x[train], targets[train], weights[train], labels, strength)
        result[test] = guess(x[test])
    return result


def sureness(logits: Array, targets: Indices, weights: Array) -> float:
    """The factor that makes held-out logits (N, L) fit their targets best, 0.2 to 5.

    A strong penalty makes a guess less sure than it may be.
    """

    def loss(power: float) -> float:
        answers = log_softmax(logits * np.exp(power), axis=1)
        return -float(np.sum(weights * answers[np.arange(len(targets)), targets]))

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0))).x))
