"""Folds and hold-outs in which a group never stands on two sides (EVALUATION 1).

`leaky_folds` breaks that rule on purpose: it reproduces protocols that split clips at random, and
whatever is measured with it is labelled as a reproduction (EVALUATION 9).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from shared.errors import InvalidInput
from training.manifest import SPLITS, Clip

Indices = npt.NDArray[np.intp]


class Fold(NamedTuple):
    """Indices of clips to learn from and to test on."""

    train: Indices
    test: Indices


def group_folds(
    labels: Sequence[str], groups: Sequence[str], folds: int = 5, seed: int = 0
) -> list[Fold]:
    """Folds by group, the labels' shares about equal in each."""
    if len(set(groups)) < folds:
        raise InvalidInput(f"{folds} folds need {folds} groups, there are {len(set(groups))}")
    label, count = Counter(labels).most_common(1)[0]
    if count < folds:
        raise InvalidInput(f"{folds} folds need {folds} clips of a label, {label} has {count}")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a rare label is absent from some folds: so be it
        warnings.filterwarnings("ignore", message="The least populated class")
        result = [Fold(*pair) for pair in splitter.split(np.zeros(len(labels)), labels, groups)]
    for fold in result:
        check_disjoint(groups, fold.train, fold.test)
    return result


def leaky_folds(labels: Sequence[str], folds: int = 5, seed: int = 0) -> list[Fold]:
    """Folds by clip, whatever their groups: a reproduction of a protocol that leaks."""
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return [Fold(*pair) for pair in splitter.split(np.zeros(len(labels)), labels)]


def hold_out(labels: Sequence[str], groups: Sequence[str], share: float, seed: int = 0) -> Fold:
    """One fold: about `share` of the clips, in whole groups, are held out."""
    return group_folds(labels, groups, max(2, round(1 / share)), seed)[0]


def check_disjoint(groups: Sequence[str], *parts: Sequence[int] | Indices) -> None:
    """Raise InvalidInput if a group has clips in two of the parts."""
    owner: dict[str, int] = {}
    for part, indices in enumerate(parts):
        for index in indices:
            group = groups[int(index)]
            if owner.setdefault(group, part) != part:
                raise InvalidInput(f"group {group!r} stands in two splits")


def check_manifest_splits(clips: Sequence[Clip]) -> None:
    """Raise InvalidInput if the splits stated in a manifest tear a group apart."""
    parts = [[i for i, clip in enumerate(clips) if clip.split == name] for name in SPLITS]
    check_disjoint([clip.group for clip in clips], *parts)
