"""Clips ready to learn from: their windows, what these show, and folds by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.experiment import Experiment
from training.features import Track
from training.manifest import Clip
from training.splits import Fold, group_folds
from training.truth import events_of
from training.windows import Windows, cut, targets


@dataclass(frozen=True)
class Learnt:
    """Windows of all clips of an experiment, (W,) what each shows (-1: open), and folds."""

    clips: Sequence[Clip]
    tracks: Sequence[Track]
    windows: Windows
    shown: npt.NDArray[np.intp]
    folds: Sequence[Fold]

    @property
    def groups(self) -> npt.NDArray[np.intp]:
        """(C,) numbers of the clips' groups."""
        return np.unique([clip.group for clip in self.clips], return_inverse=True)[1]


def prepare(experiment: Experiment, clips: Sequence[Clip], tracks: Sequence[Track]) -> Learnt:
    """Windows, what they show, and folds by group."""
    windows = cut(tracks, experiment.classifier)
    labels = [experiment.label_names.index(clip.label) for clip in clips]
    events = [events_of(clip, track) for clip, track in zip(clips, tracks, strict=True)]
    shown = targets(windows, tracks, labels, events, experiment.label_names)
    folds = group_folds(
        [f"{clip.label}{clip.drawn}" for clip in clips],
        [clip.group for clip in clips],
        experiment.folds,
        experiment.seed,
    )
    return Learnt(clips, tracks, windows, shown, folds)
