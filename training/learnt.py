"""Which videos a bundle has learnt from, so that no one takes an in-sample number for a result.

`learnt.txt` beside the weights holds one line a video: the first 16 hex digits of its SHA-256, or
of a drawn scene's address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from training.duplicates import digest
from training.manifest import Clip

FILE_NAME = "learnt.txt"


def mark(clip: Clip) -> str:
    """16 hex digits that stand for the clip's content."""
    if clip.drawn:
        return hashlib.sha256(clip.source.encode()).hexdigest()[:16]
    return digest(Path(clip.source))[:16]


def write(folder: Path, clips: Iterable[Clip]) -> None:
    """Note the clips in the bundle's folder."""
    marks = sorted({mark(clip) for clip in clips})
    (folder / FILE_NAME).write_text("\n".join(marks) + "\n", encoding="utf-8")


def known(folder: Path, clips: Sequence[Clip]) -> int | None:
    """How many of the clips the bundle has learnt from; None if it does not say."""
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    marks = set(path.read_text(encoding="utf-8").split())
    return sum(mark(clip) in marks for clip in clips)
