"""A bundle's int8 backbone from the user's own videos."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from featurizer import int8
from featurizer.inputs import Image
from featurizer.quantise import quantise
from ingest.settings import IngestSettings
from shared.bundle import Bundle, Input, find
from shared.errors import InvalidInput
from training.clips import frames, steps
from training.manifest import Clip

T = TypeVar("T")
_PICTURES = 800  # kept in all: 150 of them calibrate, a quarter measures


def quantize(folder: Path, videos: Sequence[str], out: Path | None) -> tuple[int8.Record, Path]:
    """Quantise the bundle into its own folder, or into a copy of it at `out`.

    Raises InvalidInput, and SourceError for a video that cannot be read.
    """
    bundle = Bundle(find(folder))
    target = out or bundle.folder
    if out is not None and out.exists() and not (out / "bundle.toml").is_file():
        raise InvalidInput(f"{out}: exists and is not a bundle; name a new folder")
    each = _PICTURES // len(videos) + 1
    images = [
        image
        for video in videos
        for image in thinned(inputs(video, bundle.description.input), each)
    ]
    if out is not None:
        shutil.copytree(bundle.folder, out, dirs_exist_ok=True)
    return quantise(bundle, images, target), int8.file_of(target)


def inputs(video: str, description: Input) -> Iterator[Image]:
    """What the backbone would see of a video, as serving makes it."""
    clip = Clip(video, video, "", video)
    sent = frames(clip, description.fps, IngestSettings(static_gating=False))
    return (step.image for step in steps(sent, description) if step.image is not None)


def thinned(items: Iterable[T], most: int) -> list[T]:
    """At most `most` of the items, evenly spread, holding no more than that at any time."""
    kept: list[T] = []
    every = 1
    for i, item in enumerate(items):
        if i % every:
            continue
        if len(kept) == most:
            kept = kept[::2]
            every *= 2
            if i % every:
                continue
        kept.append(item)
    return kept
