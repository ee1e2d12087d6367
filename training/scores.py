"""From windows to clips and frames (EVALUATION 11), and what alarms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shared.bundle import NORMAL, Label
from training.features import Track
from training.fit import Probabilities
from training.windows import Windows


def clip_scores(
    probabilities: Probabilities, windows: Windows, clips: int, names: Sequence[str]
) -> Probabilities:
    """(W, L) of windows to (C, L) of clips: a label's score is its largest over the windows.

    Of `normal` it is the smallest: a clip is as normal as its least normal window. A clip without
    any window cannot alarm: it scores 1 for normal, 0 else.
    """
    normal = list(names).index(NORMAL)
    scores = np.zeros((clips, len(names)), np.float32)
    scores[:, normal] = 1
    for clip in np.unique(windows.clip):
        own = probabilities[windows.clip == clip]
        scores[clip] = own.max(0)
        scores[clip, normal] = own[:, normal].min()
    return scores


def sustained(
    probabilities: Probabilities, windows: Windows, clips: int, count: int
) -> Probabilities:
    """(W, L) of windows to (C, L): the largest score that `count` windows in a row reach.

    It is what an incident needs, which opens after some time above its threshold. Of a clip with
    fewer windows, all of them count.
    """
    scores = np.zeros((clips, probabilities.shape[1]), np.float32)
    for clip in np.unique(windows.clip):
        own = probabilities[windows.clip == clip]
        runs = np.lib.stride_tricks.sliding_window_view(own, min(count, len(own)), axis=0)
        scores[clip] = runs.min(axis=-1).max(axis=0)
    return scores


def decide(scores: Probabilities, labels: Sequence[Label]) -> npt.NDArray[np.intp]:
    """(C, L) scores to (C,) labels: the highest that reaches its open_score, else normal."""
    names = [label.name for label in labels]
    thresholds = np.array([label.open_score for label in labels], np.float32)
    reached = np.where(scores >= thresholds, scores, -1.0)
    reached[:, names.index(NORMAL)] = -0.5
    return np.asarray(reached.argmax(1), np.intp)


def frame_scores(
    probabilities: Probabilities, windows: Windows, track: Track, clip: int, names: Sequence[str]
) -> npt.NDArray[np.float64]:
    """(F,) score 1 - P(normal) of each sampled frame: that of the newest window that covers it.

    Frames that no window covers score 0.
    """
    normal = list(names).index(NORMAL)
    scores = np.zeros(len(track.index))
    for i in np.flatnonzero(windows.clip == clip):  # in order: the newest window wins
        scores[windows.rows[i]] = 1 - probabilities[i, normal]
    return scores


def alarming(probabilities: Probabilities, labels: Sequence[Label]) -> npt.NDArray[np.bool_]:
    """(W,) whether any label but normal reaches its open_score."""
    over = np.stack(
        [
            probabilities[:, i] >= label.open_score
            for i, label in enumerate(labels)
            if label.name != NORMAL
        ]
    )
    return np.asarray(over.any(0))
