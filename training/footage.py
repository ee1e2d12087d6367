"""Which clips an experiment learns from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shared.errors import InvalidInput
from training import drawn, manifest
from training.experiment import Drawn, Experiment, Footage
from training.manifest import Clip

COPIES = ("shake", "flicker", "rain", "pan")
"""Disturbances that training copies have, in turn. Lost pictures give missing steps, no others."""

VIDEOS = frozenset({".avi", ".mp4", ".mkv", ".mov", ".mpg", ".webm"})


def gather(experiment: Experiment) -> list[Clip]:
    """All clips, in a fixed order. Raises InvalidInput for absent paths and unknown labels."""
    clips = [clip for footage in experiment.footage for clip in of(footage)]
    clips += [clip for table in experiment.drawn for clip in scenes(table)]
    if not clips:
        raise InvalidInput("the experiment names no clips: [[footage]] or [[drawn]]")
    manifest.refuse_unknown(clips, experiment.label_names)
    return clips


def for_backbone(experiment: Experiment) -> list[Clip]:
    """Those clips, all plain, that the backbone learns from as well."""
    clips = [clip for footage in experiment.footage for clip in of(footage)]
    clips = [clip for clip in clips if clip.disturbance == "plain"]
    return clips + [c for table in experiment.drawn if not table.head_only for c in scenes(table)]


def scenes(table: Drawn) -> list[Clip]:
    """The drawn clips of one table of the experiment. Raises InvalidInput for unknown labels."""
    if unknown := set(table.labels) - set(drawn.CYCLE):
        raise InvalidInput(f"[[drawn]] labels: nothing draws {', '.join(sorted(unknown))}")
    found = drawn.scenes(table.clips, table.first_seed, table.seconds)
    return [clip for clip in found if not table.labels or clip.label in table.labels]


def of(footage: Footage) -> list[Clip]:
    """The clips of one table of the experiment, then their disturbed copies.

    Both labels must be disturbed alike, or a camera that shakes would come to mean normal.
    """
    if footage.label is None:
        clips = manifest.read(footage.path)
    else:
        clips = videos(footage.path, footage.label, one_group=footage.one_group)
    clips = clips[:: footage.every]
    copies = [
        replace(clip, name=f"{clip.name}, {name}", disturbance=name)
        for number, clip in enumerate(clips)
        for name in (COPIES * 2)[number % len(COPIES) :][: footage.disturbed]
    ]
    return clips + copies


def videos(path: Path, label: str, *, one_group: bool = False) -> list[Clip]:
    """The video at `path`, or all videos under it, each of one label."""
    files = [path] if path.is_file() else sorted(_under(path))
    if not files:
        raise InvalidInput(f"{path}: no videos here")
    return [
        Clip(
            file.name if file == path else str(file.relative_to(path)),
            str(file),
            label,
            path.stem if one_group else file.stem,
        )
        for file in files
    ]


def _under(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.suffix.lower() in VIDEOS]
