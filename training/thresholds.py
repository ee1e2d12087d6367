"""When an incident opens: thresholds from clips that the network had not learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shared.bundle import NORMAL, Label
from training.fit import Probabilities

RECALL = 0.8
"""Share of a label's filmed clips that its threshold must let through (EVALUATION 12 measures what
stays quiet there): clips that are drawn must not decide how many real events are missed."""

CLOSE = 0.6
"""close_score as a share of open_score: an incident should not end with every flutter."""


def choose(
    scores: npt.NDArray[np.floating],
    truth: npt.NDArray[np.bool_],
    quiet: float = 2.0,
    filmed: npt.NDArray[np.bool_] | None = None,
) -> float:
    """The threshold of one label from held-out scores (C,) of clips and whether they show it (C,).

    Least cost, where the share of missed clips costs 1 and the share of clips falsely alarming
    costs `quiet`; among equals the middle of the widest gap between scores. No higher than what
    `RECALL` of the label's `filmed` clips reach. Rounded to 0.01 and kept within 0.5, where a label
    is more probable than all others together, and 0.95.
    """
    if not truth.any() or truth.all():
        return 0.5
    values = np.unique(scores)
    edges = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2, [1.0]])
    gaps = np.concatenate([[values[0]], np.diff(values), [1 - values[-1]]])
    missed = np.array([np.mean(scores[truth] < edge) for edge in edges])
    false = np.array([np.mean(scores[~truth] >= edge) for edge in edges])
    cost = missed + quiet * false
    best = np.flatnonzero(cost <= cost.min() + 1e-9)
    edge = float(edges[best[np.argmax(gaps[best])]])
    if filmed is not None and (filmed & truth).any():
        edge = min(edge, float(np.quantile(scores[filmed & truth], 1 - RECALL)))
    return float(np.clip(round(edge, 2), 0.5, 0.95))


def with_thresholds(
    labels: Sequence[Label],
    scores: Probabilities,
    truth: npt.NDArray[np.intp],
    filmed: npt.NDArray[np.bool_],
) -> tuple[Label, ...]:
    """The labels with open_score and close_score set from (C, L) scores and (C,) truth.

    `filmed` (C,) are clips that are not drawn, and not disturbed.
    """
    result = []
    for number, label in enumerate(labels):
        if label.name != NORMAL:
            opens = choose(scores[:, number], truth == number, filmed=filmed)
            scores_ = {"open_score": opens, "close_score": round(CLOSE * opens, 2)}
            label = label.model_copy(update=scores_)  # noqa: PLW2901
        result.append(label)
    return tuple(result)
