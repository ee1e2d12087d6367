"""From an experiment to a bundle: backbone, features, folds, thresholds, head.

Every clip is scored by a head that learnt from other groups only (`folds`); numbers and thresholds
come from those held-out scores, and the head that ships then learns from all clips.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from torch import nn

from classifier.network import build
from featurizer.extractor import open_extractor
from featurizer.mobilenetv2 import MobileNetV2, load_checkpoint
from featurizer.settings import FeaturizerSettings
from shared.bundle import Bundle, Description, Label
from training import drift
from training import learnt as learnt_from
from training.distil import changes, distil, examples, finished
from training.experiment import Experiment
from training.export import export
from training.features import Cache
from training.fit import Probabilities, fit, predict
from training.footage import for_backbone, gather
from training.held_out import numbers, truth_of
from training.manifest import Clip
from training.recordings import Recordings
from training.runs import Run
from training.splits import hold_out
from training.weights import window_weights
from training.windowed import Learnt, prepare
from training.windows import Windows


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
        truth=truth_of(experiment, learnt.clips),
        drawn=[clip.drawn for clip in learnt.clips],
    )
    found, labels = numbers(experiment, learnt, held_out)
    console.print("the head that ships, from all clips")
    head = kept_head(experiment, learnt, folder, "all", np.arange(len(learnt.clips)))
    bundle = export(folder / "bundle", _description(experiment, labels), backbone, head)
    learnt_from.write(bundle.folder, learnt.clips)
    drift.write(bundle.folder, drift.of(learnt.windows, learnt.tracks, learnt.clips))
    run.finish({"backbone": report, "held_out": found, "labels": labels})
    return bundle


def learnable(
    experiment: Experiment, folder: Path, cache: Path, console: Console
) -> tuple[Learnt, MobileNetV2, dict[str, Any]]:
    """Clips, their features and windows, with the backbone that made them and its report."""
    clips = gather(experiment)
    console.print(f"{len(clips)} clips in {len({clip.group for clip in clips})} groups")
    plain = for_backbone(experiment)
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


def _fit(experiment: Experiment, learnt: Learnt, clips: npt.NDArray[np.intp]) -> nn.Module:
    """A head that learns from the given clips; some of them may only choose the epoch."""
    labels = len(experiment.labels)
    validation = None
    if experiment.validation:
        names = [learnt.clips[i].label for i in clips]
        groups = [learnt.clips[i].group for i in clips]
        inner = hold_out(names, groups, experiment.validation, experiment.seed)
        windows, shown = _shown(learnt, clips[inner.test])
        filmed = _filmed(learnt, windows)
        weights = window_weights(shown, windows.clip, labels, filmed, experiment.head.real_weight)
        validation = (windows.vectors(learnt.tracks), shown, weights)
        clips = clips[inner.train]
    windows, shown = _shown(learnt, clips)
    vectors = windows.vectors(learnt.tracks)
    return fit(
        vectors, shown, windows.clip, labels, experiment.head, experiment.seed, validation,
        groups=learnt.groups[windows.clip], filmed=_filmed(learnt, windows),
    )  # fmt: skip


def _filmed(learnt: Learnt, windows: Windows) -> npt.NDArray[np.bool_]:
    """(W,) whether a window's pictures are filmed and not drawn."""
    return np.array([not clip.drawn for clip in learnt.clips])[windows.clip]


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
        rows, answers = fold_answers(experiment, learnt, folder, number)
        result[rows] = answers
        console.print(f"fold {number + 1}/{len(learnt.folds)}")
    return result


def fold_answers(
    experiment: Experiment, learnt: Learnt, folder: Path, number: int
) -> tuple[npt.NDArray[np.intp], Probabilities]:
    """Windows (N,) that a fold leaves out, and what its head says of them (N, L); kept as well."""
    fold = learnt.folds[number]
    rows = np.flatnonzero(np.isin(learnt.windows.clip, fold.test))
    stored = folder / f"answers-{number + 1}-{_head_key(experiment, learnt)}.npy"
    if not stored.is_file():
        head = kept_head(experiment, learnt, folder, f"fold{number + 1}", fold.train)
        part = stored.with_suffix(".part.npy")
        np.save(part, predict(head, learnt.windows.take(rows).vectors(learnt.tracks)))
        part.replace(stored)
    return rows, np.asarray(np.load(stored), np.float32)


def kept_head(
    experiment: Experiment,
    learnt: Learnt,
    folder: Path,
    name: str,
    clips: npt.NDArray[np.intp],
) -> nn.Module:
    """A head that learns from the given clips; kept in `folder` for a run that is taken up again.

    Heads do not need one another: several processes may make them.
    """
    stored = folder / f"head-{name}-{_head_key(experiment, learnt)}.pt"
    if stored.is_file():
        labels, window = len(experiment.labels), experiment.classifier.window
        head = build(experiment.head.variant, labels, experiment.backbone.features, window)
        head.load_state_dict(torch.load(stored, weights_only=True))
        return head.eval()
    head = _fit(experiment, learnt, clips)
    part = stored.with_suffix(".part")
    torch.save(head.state_dict(), part)
    part.replace(stored)
    return head


def _head_key(experiment: Experiment, learnt: Learnt) -> str:
    """Of what decides a head: its recipe, what each window shows, and the vectors."""
    digest = hashlib.sha256(experiment.model_dump_json().encode())
    digest.update(learnt.shown.tobytes() + learnt.windows.rows.tobytes())
    for track in learnt.tracks:
        digest.update(track.vectors.tobytes())
    return digest.hexdigest()[:12]


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
