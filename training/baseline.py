"""The baseline without any network: six numbers of motion, held out by group (EVALUATION 13).

Where these do well, a set is too easy for its numbers to say much.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from training import metrics
from training.heads import fit_linear, motion_numbers
from training.scored import Scored
from training.scores import clip_scores
from training.splits import group_folds
from training.truth import events_of
from training.windows import targets

_FOLDS = 5


def motion(scored: Scored, positive: str | None = None) -> dict[str, Any] | None:
    """AUC of clips from their motion energy alone, in folds of the clips themselves.

    Of `positive`, or the mean of all labels that occur. None where groups or labels are too few.
    """
    clips, windows = scored.clips, scored.windows
    labels = [clip.label for clip in clips]
    folds = min(_FOLDS, len(set(scored.groups)), *(labels.count(name) for name in set(labels)))
    if folds < 2 or len(set(labels)) < 2:
        return None
    truth = scored.truth
    events = [events_of(clip, track) for clip, track in zip(clips, scored.tracks, strict=True)]
    shown = targets(windows, scored.tracks, truth.tolist(), events, scored.names)
    numbers = motion_numbers(windows.energy(scored.tracks))
    probabilities = np.zeros((len(windows), len(scored.names)), np.float32)
    for fold in group_folds(labels, scored.groups, folds):
        learnt = np.flatnonzero(np.isin(windows.clip, fold.train) & (shown >= 0))
        asked = np.flatnonzero(np.isin(windows.clip, fold.test))
        if len(set(shown[learnt])) < 2 or not asked.size:
            return None
        model = fit_linear(numbers[learnt], shown[learnt], 1.0)
        rows = np.zeros((len(asked), len(scored.names)), np.float32)
        rows[:, model.classes_] = model.predict_proba(numbers[asked])
        probabilities[asked] = rows
    scores = clip_scores(probabilities, windows, len(clips), scored.names)
    if positive is None:
        return {"auc": metrics.mean_auc(truth, scores), "folds": folds}
    column = scored.names.index(positive)
    return {"auc": metrics.auc(truth == column, scores[:, column]), "folds": folds}
