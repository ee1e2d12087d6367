"""Two bundles on the same data, paired by group."""

from __future__ import annotations

from typing import Any

from shared.errors import InvalidInput
from training import metrics
from training.bootstrap import Statistic, interval, of_rows, paired_interval
from training.scored import Scored
from training.scores import decide


def compare(first: Scored, second: Scored, positive: str) -> dict[str, Any]:
    """AUC of one label and accuracy of both bundles, and first - second with its interval."""
    for scored in (first, second):
        if positive not in scored.names:
            raise InvalidInput(f"{scored.bundle.folder}: does not know the label {positive}")
    result: dict[str, Any] = {
        "first": str(first.bundle.folder),
        "second": str(second.bundle.folder),
        "positive": positive,
    }
    for name, make in (("auc", _auc), ("accuracy", _accuracy)):
        a, b = make(first, positive), make(second, positive)
        result[name] = {
            "first": interval(first.groups, a),
            "second": interval(second.groups, b),
            "difference": paired_interval(first.groups, a, b),
        }
    return result


def _auc(scored: Scored, positive: str) -> Statistic:
    column = scored.names.index(positive)
    truth, scores = scored.truth == column, scored.scores[:, column]
    return of_rows(metrics.auc, truth, scores)


def _accuracy(scored: Scored, positive: str) -> Statistic:
    answers, truth = decide(scored.scores, scored.bundle.description.labels), scored.truth
    return of_rows(metrics.accuracy, truth, answers)
