"""From an experiment to a bundle: backbone, features, folds, thresholds, head.

Every clip is scored by a head that learnt from other groups only (`folds`); numbers and thresholds
come from those held-out scores, and the head that ships then learns from all clips. The threshold
with which a fold's accuracy is counted comes from the other folds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from torch import nn

from classifier.network import build
from featurizer.extractor import open_extractor
from featurizer.mobilenetv2 import MobileNetV2, load_checkpoint
from featurizer.settings import FeaturizerSettings
from shared.bundle import NORMAL, Bundle, Description, Label
from training import drift, metrics
from training import learnt as learnt_from
from training.bootstrap import interval, of_rows
from training.distil import changes, distil, examples, finished
from training.experiment import Experiment
from training.export import export
from training.features import Cache, Track
from training.fit import Probabilities, fit, predict, window_weights
from training.footage import gather
from training.manifest import Clip
from training.recordings import Recordings
from training.runs import Run
from training.scores import alarming, clip_scores, decide, sustained
from training.splits import Fold, group_folds, hold_out
from training.thresholds import with_thresholds
from training.truth import events_of
from training.windows import Windows, cut, targets


@dataclass(frozen=True)
class Learnt:
    """Windows of all clips of an experiment, and the clips' held-out scores."""

    clips: Sequence[Clip]
    tracks: Sequence[Track]
    windows: Windows
    shown: npt.NDArray[np.intp]
    folds: Sequence[Fold]

    @property
    def groups(self) -> npt.NDArray[np.intp]:
        """(C,) numbers of the clips' groups."""
        return np.unique([clip.group for clip in self.clips], return_inverse=True)[1]


def train(experiment: Experiment, folder: Path, cache: Path, console: Console) -> Bundle:
    """Run the experiment; the bundle is written to `folder/bundle`, metrics to `folder`."""
    run = Run(folder, "train", experiment, experiment.seed)
    learnt, backbone, report = learnable(experiment, folder, cache, console)
    held_out = _held_out(experiment, learnt, folder, console)
    np.savez(
        folder / "held_out.npz",
        probabilities=held_out,
        clip=learnt.windows.clip,
        shown=learnt.shown,
        truth=_truth(experiment, learnt.clips),
        drawn=[clip.drawn for clip in learnt.clips],
    )
    numbers, labels = _numbers(experiment, learnt, held_out)
    console.print("the head that ships, from all clips")
    head = _fit(experiment, learnt, np.arange(len(learnt.clips)))
    bundle = export(folder / "bundle", _description(experiment, labels), backbone, head)
    learnt_from.write(bundle.folder, learnt.clips)
    drift.write(bundle.folder, drift.of(learnt.windows, learnt.tracks, learnt.clips))
    run.finish({"backbone": report, "held_out": numbers, "labels": labels})
    return bundle


def learnable(
    experiment: Experiment, folder: Path, cache: Path, console: Console
) -> tuple[Learnt, MobileNetV2, dict[str, Any]]:
    """Clips, their features and windows, with the backbone that made them and its report."""
    clips = gather(experiment)
    console.print(f"{len(clips)} clips in {len({clip.group for clip in clips})} groups")
    plain = [clip for clip in clips if clip.disturbance == "plain"]
    backbone, report = backbone_of(experiment, plain, folder, cache, console)
    holder = _holder(experiment, backbone, folder / "backbone")
    extract = open_extractor(holder, FeaturizerSettings())
    features = Cache(cache, experiment.input, holder.backbone_fingerprint)
    learnt = prepare(experiment, clips, features.tracks(clips, extract))
    console.print(f"{len(learnt.windows)} windows; {experiment.folds} folds by group")
    return learnt, backbone, report


def backbone_of(
    experiment: Experiment, clips: Sequence[Clip], folder: Path, cache: Path, console: Console
) -> tuple[MobileNetV2, dict[str, Any]]:
    """The backbone in float32, as it reads back from its file, and what training did to it."""
    teacher = load_checkpoint(experiment.teacher.path, experiment.teacher.padding)
    if experiment.distil is None:
        return teacher, {}
    key = _key(experiment, clips)
    checkpoint = folder / f"student-{key}.pt"
    student = finished(teacher, experiment.distil, checkpoint)
    if student is None:
        student = _distilled(experiment, teacher, clips, checkpoint, cache, console)
    moved = changes(teacher, student)
    return student, {
        "steps": experiment.distil.steps,
        "moved_least": min(moved.values()),
        "moved_median": float(np.median(list(moved.values()))),
    }


def _distilled(
    experiment: Experiment,
    teacher: MobileNetV2,
    clips: Sequence[Clip],
    checkpoint: Path,
    cache: Path,
    console: Console,
) -> MobileNetV2:
    recipe = experiment.distil
    assert recipe is not None
    console.print("inputs for the backbone")
    folder = checkpoint.parent
    data = examples(
        clips,
        Recordings(cache / "frames", experiment.input.fps),
        experiment.input,
        recipe.images_per_clip,
        checkpoint.with_name(checkpoint.stem.replace("student", "examples") + ".npz"),
    )
    console.print(f"{len(data)} inputs; the teacher reads them")
    teaching = experiment.model_copy(update={"distil": None})
    taught = open_extractor(_holder(teaching, teacher, folder / "teacher"), FeaturizerSettings())(
        data
    )
    matches: list[float] = []

    def note(step: int, match: float) -> None:
        matches.append(match)
        if step % 50 == 0:
            console.print(f"step {step}/{recipe.steps}  match {np.mean(matches[-50:]):.4f}")

    return distil(
        teacher, data, taught, experiment.input, recipe, experiment.seed, checkpoint, note
    )


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


def _fit(experiment: Experiment, learnt: Learnt, clips: npt.NDArray[np.intp]) -> nn.Module:
    """A head that learns from the given clips; some of them may only choose the epoch."""
    labels = len(experiment.labels)
    validation = None
    if experiment.validation:
        names = [learnt.clips[i].label for i in clips]
        groups = [learnt.clips[i].group for i in clips]
        inner = hold_out(names, groups, experiment.validation, experiment.seed)
        windows, shown = _shown(learnt, clips[inner.test])
        weights = window_weights(shown, windows.clip, labels)
        validation = (windows.vectors(learnt.tracks), shown, weights)
        clips = clips[inner.train]
    windows, shown = _shown(learnt, clips)
    vectors = windows.vectors(learnt.tracks)
    recipe, seed = experiment.head, experiment.seed
    own = learnt.groups[windows.clip]
    return fit(vectors, shown, windows.clip, labels, recipe, seed, validation, groups=own)


def _shown(learnt: Learnt, clips: npt.NDArray[np.intp]) -> tuple[Windows, npt.NDArray[np.intp]]:
    """The windows of the clips of which it is known what they show, and that."""
    rows = np.flatnonzero(np.isin(learnt.windows.clip, clips) & (learnt.shown >= 0))
    return learnt.windows.take(rows), learnt.shown[rows]


def _held_out(
    experiment: Experiment, learnt: Learnt, folder: Path, console: Console
) -> Probabilities:
    """(W, L) of every window, from the head of the fold in which its clip was left out."""
    result = np.zeros((len(learnt.windows), len(experiment.labels)), np.float32)
    for number in range(len(learnt.folds)):
        rows, answers = held_out_fold(experiment, learnt, folder, number)
        result[rows] = answers
        console.print(f"fold {number + 1}/{len(learnt.folds)}")
    return result


def held_out_fold(
    experiment: Experiment, learnt: Learnt, folder: Path, number: int
) -> tuple[npt.NDArray[np.intp], Probabilities]:
    """Windows (N,) that a fold leaves out, and what a head that learnt from the others says (N, L).

    Kept in `folder` for a run that is taken up again; folds may be made by several processes.
    """
    fold = learnt.folds[number]
    rows = np.flatnonzero(np.isin(learnt.windows.clip, fold.test))
    stored = folder / f"fold-{number + 1}-{_head_key(experiment, learnt)}.npy"
    if stored.is_file():
        return rows, np.asarray(np.load(stored), np.float32)
    head = _fit(experiment, learnt, fold.train)
    answers = predict(head, learnt.windows.take(rows).vectors(learnt.tracks))
    part = stored.with_suffix(".part.npy")
    np.save(part, answers)
    part.replace(stored)
    return rows, answers


def _head_key(experiment: Experiment, learnt: Learnt) -> str:
    """Of what decides a head: its recipe, what each window shows, and the vectors."""
    digest = hashlib.sha256(experiment.model_dump_json().encode())
    digest.update(learnt.shown.tobytes() + learnt.windows.rows.tobytes())
    for track in learnt.tracks:
        digest.update(track.vectors.tobytes())
    return digest.hexdigest()[:12]


def _numbers(
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
    truth = _truth(experiment, clips)
    answers = np.zeros(len(clips), np.intp)
    for fold in learnt.folds:  # each fold is decided at the thresholds of the others
        labels = with_thresholds(experiment.labels, lasting[fold.train], truth[fold.train])
        answers[fold.test] = decide(lasting[fold.test], labels)
    drawn = np.array([clip.drawn for clip in clips])
    plain = np.array([clip.disturbance == "plain" for clip in clips])
    groups = [clip.group for clip in clips]
    numbers: dict[str, Any] = {}
    for name, chosen in (("real", ~drawn & plain), ("drawn", drawn & plain), ("all", plain)):
        rows = np.flatnonzero(chosen)
        if not rows.size:
            continue
        numbers[name] = metrics.clip_metrics(truth[rows], answers[rows], scores[rows], names)
        column = names.index("fighting") if "fighting" in names else None
        if column is not None:
            flags, values = (truth == column)[rows], scores[rows, column]
            own = [groups[i] for i in rows]
            numbers[name]["fighting_auc"] = interval(own, of_rows(metrics.auc, flags, values))
    labels = with_thresholds(experiment.labels, lasting, truth)
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


def _key(experiment: Experiment, clips: Sequence[Clip]) -> str:
    """Of what decides the backbone: a changed experiment does not go on from the old student."""
    parts = [
        [clip.source for clip in clips],
        experiment.input.model_dump(mode="json"),
        experiment.distil.model_dump(mode="json") if experiment.distil else None,
        experiment.teacher.model_dump(mode="json"),
        experiment.seed,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _truth(experiment: Experiment, clips: Sequence[Clip]) -> npt.NDArray[np.intp]:
    return np.array([experiment.label_names.index(clip.label) for clip in clips], np.intp)


def _description(experiment: Experiment, labels: Sequence[Label]) -> Description:
    return Description(
        name=experiment.name,
        input=experiment.input,
        backbone=experiment.backbone,
        classifier=experiment.classifier,
        incidents=experiment.incidents,
        labels=tuple(labels),
    )


def _holder(experiment: Experiment, backbone: MobileNetV2, folder: Path) -> Bundle:
    """A bundle around a backbone, with a head that has learnt nothing."""
    head = build("residual_attention", len(experiment.labels))
    return export(folder, _description(experiment, experiment.labels), backbone, head)
