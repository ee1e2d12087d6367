"""Manifests from data sets as they come, and the search for what would leak."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from shared.errors import InvalidInput
from training import drawn, duplicates, layouts, manifest
from training.clips import pictures
from training.manifest import Clip
from training.runs import Run
from training.splits import check_manifest_splits

_FOLD = re.compile(r"ucf-crime-([1-4])")
_SAMPLED = 40  # pictures read of a video for its signature


def prepare(
    layout: str,
    source: str,
    out: Path,
    lists: Path | None,
    seed: int,
    console: Console,
    *,
    check: bool = True,
) -> list[Clip]:
    """Write `out/manifest.csv`; report duplicates. Raises InvalidInput."""
    run = Run(out, "prepare", {"layout": layout, "source": source}, seed)
    clips = clips_of(layout, source, lists, seed)
    check_manifest_splits(clips)
    manifest.write(out / manifest.FILE_NAME, clips)
    console.print(f"{out / manifest.FILE_NAME}: {len(clips)} videos")
    found = leaks(clips) if check and not layout.startswith("drawn") else []
    across = [pair for pair in found if not pair.same_group]
    for pair in across:
        console.print(f"{pair.kind}: {pair.first} ~ {pair.second} ({pair.bits:.1f} bits)")
    if across:
        console.print(f"{len(across)} pairs stand in different groups: give them one group")
    run.finish({"clips": len(clips), "duplicates": duplicates.summary(found)})
    return clips


def clips_of(layout: str, source: str, lists: Path | None, seed: int) -> list[Clip]:
    """The clips of a data set."""
    if layout in {"drawn", "drawn-held-out"}:
        if not source.isdecimal():
            raise InvalidInput(f"{layout}: how many scenes? {source!r} is not a number")
        styles = drawn.TRAINING_STYLES if layout == "drawn" else drawn.HELD_OUT_STYLES
        return drawn.scenes(int(source), seed, styles=styles)
    root = Path(source)
    if layout == "folders":
        return layouts.folders(root)
    if layout == "ucf-crime":
        return layouts.ucf_crime(root, lists or root)
    if match := _FOLD.fullmatch(layout):
        return layouts.ucf_crime_recognition(root, lists or root, int(match[1]))
    readers = {"ucsd": layouts.ucsd, "avenue": layouts.avenue, "umn": layouts.umn}
    if layout not in readers:
        raise InvalidInput(f"layout {layout!r} is none of folders, ucf-crime, ucf-crime-1..4, "
                           "ucsd, avenue, umn, drawn, drawn-held-out")  # fmt: skip
    return readers[layout](root)


def leaks(clips: Sequence[Clip]) -> list[duplicates.Pair]:
    """All pairs of clips that are the same, exactly or nearly."""
    signatures = []
    for clip in track(clips, description="duplicates", transient=True):
        images = []
        every = 1
        for number, picture in enumerate(pictures(clip)):
            if number % every == 0:
                images.append(picture.image.copy())
            if len(images) > 2 * _SAMPLED:  # thin out a long video as it is read
                images, every = images[::2], every * 2
        signatures.append(duplicates.signature(images))
    return list(duplicates.find(clips, signatures))
