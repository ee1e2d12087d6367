"""Heads compared on the same folds: the patent's table, honestly and as it leaks.

Every head sees the same vectors and the same folds. `linear` is logistic regression on the
window's statistics, `motion` the same on six numbers of motion energy without any network; the
others are those of `classifier/network.py`. What one head says under one protocol with one seed is
kept in a file of its own: a run that was killed goes on where it stood, and runs of different heads
may work on the same folder side by side.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from training import metrics
from training.bootstrap import Interval, interval, of_rows, paired_interval
from training.experiment import Experiment
from training.fit import Probabilities, fit, predict
from training.heads import fit_linear, motion_numbers, statistics
from training.manifest import Clip
from training.scores import clip_scores, decide
from training.splits import Fold, group_folds, leaky_folds
from training.windowed import Learnt

BASELINE, FINAL = "linear", "pooled"
HEADS = (
    "motion", BASELINE, "lstm", "bilstm", "gru", "residual", "residual_attention", "patent", FINAL,
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """One head under one protocol, over all seeds."""

    head: str
    protocol: str
    auc: Sequence[float]
    accuracy: Sequence[float]
    scores: Sequence[Probabilities]


def ablate(
    experiment: Experiment,
    learnt: Learnt,
    heads: Sequence[str],
    seeds: int,
    *,
    folder: Path,
    leaky_seeds: int = 0,
) -> list[Outcome]:
    """Every head with `seeds` foldings by group, and with `leaky_seeds` that leak.

    Scores are kept in `folder`, one file for each head, protocol and seed.
    """
    runs = [
        (protocol, seed, head)
        for protocol, count in (("group", seeds), ("leaky", leaky_seeds))
        for seed in range(count)
        for head in heads
    ]
    scores: dict[tuple[str, str], list[Probabilities]] = {}
    with Progress(transient=True) as progress:
        for protocol, seed, head in progress.track(runs, description="heads"):
            found = _kept(experiment, learnt, head, protocol, seed, folder)
            scores.setdefault((head, protocol), []).append(found)
    return [
        _outcome(experiment, learnt, head, protocol, found)
        for (head, protocol), found in sorted(
            scores.items(), key=lambda item: (item[0][1], HEADS.index(item[0][0]))
        )
    ]


def table(
    experiment: Experiment, learnt: Learnt, outcomes: Sequence[Outcome], exclude: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """One row a head: mean and deviation over seeds, intervals, differences to two of the heads.

    Intervals are of the seeds' mean score. Groups in `exclude` are left out of the counting, not
    of the training.
    """
    rows = []
    keep = np.array([clip.group not in exclude for clip in learnt.clips])
    groups = [clip.group for clip in learnt.clips if clip.group not in exclude]
    truth = _truth(experiment, learnt.clips)[keep]
    means = {(o.head, o.protocol): np.mean(o.scores, axis=0)[keep] for o in outcomes}
    for outcome in outcomes:
        per_seed = [_auc(experiment, truth, scores[keep]) for scores in outcome.scores]
        right = [
            metrics.accuracy(truth, decide(scores[keep], experiment.labels))
            for scores in outcome.scores
        ]
        own = means[outcome.head, outcome.protocol]
        differences = {
            f"minus_{other}": _difference(experiment, groups, truth, own, base)
            for other in (BASELINE, FINAL)
            if other != outcome.head and (base := means.get((other, outcome.protocol))) is not None
        }
        rows.append(
            {
                "head": outcome.head,
                "protocol": outcome.protocol,
                "seeds": len(outcome.scores),
                "auc": float(np.mean(per_seed)),
                "auc_deviation": float(np.std(per_seed)),
                "accuracy": float(np.mean(right)),
                "accuracy_deviation": float(np.std(right)),
                "interval": interval(groups, of_rows(partial(_auc, experiment), truth, own)),
                **differences,
            }
        )
    return rows


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table for a document."""
    lines = [
        "| head | split | seeds | AUC ± sd over seeds | 95 % interval | accuracy "
        "| minus linear, paired | minus pooled, paired |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        split = "by group" if row["protocol"] == "group" else "random (leaky reproduction)"
        within = row["interval"]
        minus = [_signed(row.get(f"minus_{other}")) for other in (BASELINE, FINAL)]
        lines.append(
            f"| {row['head']} | {split} | {row['seeds']} "
            f"| {row['auc']:.3f} ± {row['auc_deviation']:.3f} "
            f"| [{within.low:.3f}, {within.high:.3f}] "
            f"| {row['accuracy']:.3f} | {minus[0]} | {minus[1]} |"
        )
    return "\n".join(lines) + "\n"


def _signed(within: Interval | None) -> str:
    if within is None:
        return ""
    return f"{within.value:+.3f} [{within.low:+.3f}, {within.high:+.3f}]"


def _kept(
    experiment: Experiment, learnt: Learnt, head: str, protocol: str, seed: int, folder: Path
) -> Probabilities:
    """(C, L) held-out clip scores, read from their file or made."""
    decides = experiment.model_dump_json(exclude={"name", "validation", "incidents"})
    parts = [decides, [clip.source for clip in learnt.clips]]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
    path = folder / f"{key}-{protocol}-{head}-{seed}.npy"
    if path.is_file():
        return np.asarray(np.load(path), np.float32)
    folds = _folds(protocol, learnt.clips, experiment.folds, seed)
    scores = _scores(experiment, learnt, head, folds, seed)
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part.npy")
    np.save(part, scores)
    part.replace(path)  # a killed run leaves no half file under the final name
    return scores


def _folds(protocol: str, clips: Sequence[Clip], count: int, seed: int) -> list[Fold]:
    labels = [clip.label for clip in clips]
    if protocol == "leaky":
        return leaky_folds(labels, count, seed)
    return group_folds(labels, [clip.group for clip in clips], count, seed)


def _scores(
    experiment: Experiment, learnt: Learnt, head: str, folds: Sequence[Fold], seed: int
) -> Probabilities:
    """(C, L) held-out clip scores."""
    probabilities = np.zeros((len(learnt.windows), len(experiment.labels)), np.float32)
    for fold in folds:
        train = np.flatnonzero(np.isin(learnt.windows.clip, fold.train) & (learnt.shown >= 0))
        test = np.flatnonzero(np.isin(learnt.windows.clip, fold.test))
        probabilities[test] = _answer(experiment, learnt, head, train, test, seed)
    return clip_scores(probabilities, learnt.windows, len(learnt.clips), experiment.label_names)


def _answer(
    experiment: Experiment,
    learnt: Learnt,
    head: str,
    train: npt.NDArray[np.intp],
    test: npt.NDArray[np.intp],
    seed: int,
) -> Probabilities:
    shown, count = learnt.shown[train], len(experiment.labels)
    if head in {"motion", BASELINE}:
        if head == "motion":
            features = motion_numbers(learnt.windows.energy(learnt.tracks))
        else:
            features = statistics(learnt.windows.vectors(learnt.tracks))
        model = fit_linear(features[train], shown, 1.0 if head == "motion" else 0.001)
        result = np.zeros((len(test), count), np.float32)
        result[:, model.classes_] = model.predict_proba(features[test])
        return result
    recipe = experiment.head.model_copy(update={"variant": head})
    windows = learnt.windows.take(train)
    vectors, groups = windows.vectors(learnt.tracks), learnt.groups[windows.clip]
    network = fit(vectors, shown, windows.clip, count, recipe, seed, groups=groups)
    return predict(network, learnt.windows.take(test).vectors(learnt.tracks))


def _outcome(
    experiment: Experiment,
    learnt: Learnt,
    head: str,
    protocol: str,
    scores: Sequence[Probabilities],
) -> Outcome:
    truth = _truth(experiment, learnt.clips)
    return Outcome(
        head,
        protocol,
        [_auc(experiment, truth, s) for s in scores],
        [metrics.accuracy(truth, decide(s, experiment.labels)) for s in scores],
        scores,
    )


def _difference(
    experiment: Experiment,
    groups: Sequence[str],
    truth: npt.NDArray[np.intp],
    own: Probabilities,
    base: Probabilities,
) -> Interval:
    return paired_interval(
        groups,
        of_rows(partial(_auc, experiment), truth, own),
        of_rows(partial(_auc, experiment), truth, base),
    )


def _auc(experiment: Experiment, truth: npt.NDArray[np.intp], scores: Probabilities) -> float:
    """Of the one abnormal label, or the mean over labels where there are more."""
    names = experiment.label_names
    if len(names) == 2:
        column = 1 - names.index("normal")
        return metrics.auc(truth == column, scores[:, column])
    return metrics.mean_auc(truth, scores)


def _truth(experiment: Experiment, clips: Sequence[Clip]) -> npt.NDArray[np.intp]:
    return np.array([experiment.label_names.index(clip.label) for clip in clips], np.intp)
