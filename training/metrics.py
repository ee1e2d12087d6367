"""Clip and frame metrics, from probabilities and never from thresholded outputs where ranks count.

Arrays: `truth` (N,) integer labels, `probabilities` (N, L) in the order of `labels`; rows need not
sum to one (a clip's score of a label is the largest over its windows, EVALUATION 11).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

Truth = npt.NDArray[np.integer[Any]]
Scores = npt.NDArray[np.floating[Any]]


def auc(truth: Truth, scores: Scores) -> float:
    """Area under the ROC curve of a binary truth; NaN if only one class is there."""
    positive = np.asarray(truth, bool)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    # By ranks, ties halved: the bootstrap asks thousands of times, and sklearn's checks cost more.
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(truth: Truth, scores: Scores) -> float:
    """Area under the precision-recall curve; NaN without a positive."""
    if not np.any(truth):
        return float("nan")
    return float(average_precision_score(truth, scores))


def accuracy(truth: Truth, predicted: Truth) -> float:
    """Share of right answers."""
    return float(np.mean(truth == predicted))


def balanced_accuracy(truth: Truth, predicted: Truth) -> float:
    """Mean recall of the labels that occur in `truth`."""
    return float(np.mean([np.mean(predicted[truth == label] == label) for label in set(truth)]))


def mean_auc(truth: Truth, probabilities: Scores) -> float:
    """Mean one-vs-rest AUC of the labels that occur, weighing each label alike."""
    values = [auc(truth == label, probabilities[:, label]) for label in np.unique(truth)]
    return float(np.mean(values)) if values else float("nan")


def clip_metrics(
    truth: Truth, predicted: Truth, probabilities: Scores, labels: Sequence[str]
) -> dict[str, Any]:
    """Everything of EVALUATION 3 for several labels; labels absent from the data give null."""
    numbers = list(range(len(labels)))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=numbers, zero_division=0.0
    )
    return {
        "clips": len(truth),
        "accuracy": accuracy(truth, predicted),
        "balanced_accuracy": balanced_accuracy(truth, predicted),
        "auc": mean_auc(truth, probabilities),
        "labels": {
            name: {
                "clips": int(support[i]),
                "precision": float(precision[i]),
                "recall": float(recall[i]) if support[i] else None,
                "f1": float(f1[i]) if support[i] else None,
                "auc": _or_none(auc(truth == i, probabilities[:, i])),
            }
            for i, name in enumerate(labels)
        },
        "confusion": confusion_matrix(truth, predicted, labels=numbers).tolist(),
    }


def binary_metrics(truth: Truth, scores: Scores, threshold: float) -> dict[str, Any]:
    """One label against the rest, decided at its threshold."""
    predicted = (scores >= threshold).astype(int)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, predicted, labels=[1], zero_division=0.0
    )
    return {
        "clips": len(truth),
        "positives": int(np.sum(truth)),
        "threshold": threshold,
        "accuracy": accuracy(truth, predicted),
        "balanced_accuracy": balanced_accuracy(truth, predicted),
        "auc": auc(truth, scores),
        "average_precision": average_precision(truth, scores),
        "precision": float(precision[0]),
        "recall": float(recall[0]),
        "f1": float(f1[0]),
        "confusion": confusion_matrix(truth, predicted, labels=[0, 1]).tolist(),
    }


def frame_metrics(
    truths: Sequence[Truth], scores: Sequence[Scores]
) -> dict[str, float | int | None]:
    """EVALUATION 4 over videos with labels for each frame (0 normal, 1 not).

    Micro: all frames joined. Macro: mean over videos that hold both kinds of frames. Abnormal: the
    frames of videos that hold an abnormal one.
    """
    joined, joined_scores = np.concatenate(truths), np.concatenate(scores)
    per_video = [auc(t, s) for t, s in zip(truths, scores, strict=True)]
    defined = [value for value in per_video if not np.isnan(value)]
    abnormal = [i for i, t in enumerate(truths) if np.any(t)]
    on_abnormal = (
        auc(
            np.concatenate([truths[i] for i in abnormal]),
            np.concatenate([scores[i] for i in abnormal]),
        )
        if abnormal
        else float("nan")
    )
    return {
        "videos": len(truths),
        "frames": len(joined),
        "micro_auc": _or_none(auc(joined, joined_scores)),
        "micro_ap": _or_none(average_precision(joined, joined_scores)),
        "macro_auc": float(np.mean(defined)) if defined else None,
        "abnormal_auc": _or_none(on_abnormal),
    }


def calibration(truth: Truth, scores: Scores, bins: int = 10) -> list[dict[str, float]]:
    """For equal bins of the score: mean score, share of positives, number of clips."""
    which = np.minimum((scores * bins).astype(int), bins - 1)
    return [
        {
            "score": float(np.mean(scores[which == i])),
            "positives": float(np.mean(truth[which == i])),
            "clips": int(np.sum(which == i)),
        }
        for i in range(bins)
        if np.any(which == i)
    ]


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
