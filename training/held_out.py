"""What held-out scores say: the numbers of a training run, and the thresholds that follow.

The threshold with which a fold's accuracy is counted comes from the other folds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.bundle import NORMAL, Label
from training import metrics
from training.bootstrap import interval, of_rows
from training.experiment import Experiment
from training.fit import Probabilities
from training.manifest import Clip
from training.scores import alarming, clip_scores, decide, sustained
from training.thresholds import with_thresholds
from training.windowed import Learnt


def numbers(
    experiment: Experiment, learnt: Learnt, probabilities: Probabilities
) -> tuple[dict[str, Any], tuple[Label, ...]]:
    """Held-out metrics over real, drawn and all plain clips, and the labels with thresholds."""
    clips, names = learnt.clips, experiment.label_names
    scores = clip_scores(probabilities, learnt.windows, len(clips), names)
    in_a_row = 1 + math.ceil(
        experiment.incidents.open_after_seconds
        * experiment.input.fps
        / experiment.classifier.stride
    )
    lasting = sustained(probabilities, learnt.windows, len(clips), in_a_row)
    truth = truth_of(experiment, clips)
    answers = np.zeros(len(clips), np.intp)
    drawn = np.array([clip.drawn for clip in clips])
    plain = np.array([clip.disturbance == "plain" for clip in clips])
    filmed = plain & ~drawn
    for fold in learnt.folds:  # each fold is decided at the thresholds of the others
        others = fold.train
        labels = with_thresholds(experiment.labels, lasting[others], truth[others], filmed[others])
        answers[fold.test] = decide(lasting[fold.test], labels)
    groups = [clip.group for clip in clips]
    numbers: dict[str, Any] = {}
    apart = np.isin(groups, experiment.apart)
    parts = {"real": ~drawn & plain, "drawn": drawn & plain, "all": plain}
    if apart.any():
        parts["real_without_apart"] = ~drawn & plain & ~apart
    for name, chosen in parts.items():
        rows = np.flatnonzero(chosen)
        if not rows.size:
            continue
        numbers[name] = metrics.clip_metrics(truth[rows], answers[rows], scores[rows], names)
        own = [groups[i] for i in rows]
        right = of_rows(metrics.accuracy, truth[rows], answers[rows])
        numbers[name]["accuracy_interval"] = interval(own, right)
        column = names.index("fighting") if "fighting" in names else None
        if column is not None:
            flags, values = (truth == column)[rows], scores[rows, column]
            numbers[name]["fighting_auc"] = interval(own, of_rows(metrics.auc, flags, values))
    labels = with_thresholds(experiment.labels, lasting, truth, filmed)
    numbers["quiet"] = _quiet(experiment, learnt, probabilities, scores, labels)
    return numbers, labels


def _quiet(
    experiment: Experiment,
    learnt: Learnt,
    probabilities: Probabilities,
    scores: Probabilities,
    labels: Sequence[Label],
) -> dict[str, Any]:
    """Held-out windows of real normal clips of 5 s and more: how many alarm (EVALUATION 12).

    `any` at the bundle's thresholds, `fighting_80` over the score that 80 % of real fights reach.
    """
    names = experiment.label_names
    if "fighting" not in names:
        return {}
    column = names.index("fighting")
    fights = [
        number
        for number, clip in enumerate(learnt.clips)
        if clip.label == "fighting" and not clip.drawn and clip.disturbance == "plain"
    ]
    if not fights:
        return {}
    reached = float(np.quantile(scores[fights, column], 0.2))
    over, fighting = alarming(probabilities, labels), probabilities[:, column] >= reached
    table: dict[str, dict[str, Any]] = {}
    for number, (clip, track) in enumerate(zip(learnt.clips, learnt.tracks, strict=True)):
        own = learnt.windows.clip == number
        if clip.drawn or clip.label != NORMAL or track.duration < 5 or not own.any():
            continue
        row = table.setdefault(clip.disturbance, {"windows": 0, "any": 0, "fighting_80": 0})
        row["windows"] += int(own.sum())
        row["any"] += int(over[own].sum())
        row["fighting_80"] += int(fighting[own].sum())
        row[clip.name] = {"any": float(over[own].mean()), "80": float(fighting[own].mean())}
    return {"threshold_for_recall_80": reached, **table}


def truth_of(experiment: Experiment, clips: Sequence[Clip]) -> npt.NDArray[np.intp]:
    """(C,) label numbers."""
    return np.array([experiment.label_names.index(clip.label) for clip in clips], np.intp)
