"""`manifest.csv`: which videos there are, what they show, and which belong together.

Columns `video,label,group` and optionally `split` (train, validation, test) and `frame_labels` (a
JSON list of 0 or 1 per frame of the video). `video` is a file or a folder of images relative to
the manifest, or a drawn scene (`synthetic://...`). Videos of one group (source, event, actor,
camera) never stand in two splits.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import InvalidInput

FILE_NAME = "manifest.csv"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Clip:
    """One video: `source` is what ingest opens, `name` what reports call it.

    A training copy may be disturbed (`training/disturb.py`); a manifest lists plain videos only.
    """

    name: str
    source: str
    label: str
    group: str
    split: str | None = None
    frame_labels: tuple[int, ...] | None = None
    disturbance: str = "plain"

    @property
    def drawn(self) -> bool:
        """Whether the pictures are drawn and not filmed."""
        return self.source.startswith("synthetic://")


def read(path: Path | str) -> list[Clip]:
    """Read a manifest, or the one in a folder; raises InvalidInput that names file and line."""
    path = Path(path)
    if path.is_dir():
        path = path / FILE_NAME
    if not path.is_file():
        raise InvalidInput(f"{path}: no manifest here; `python -m training prepare` writes one")
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = {"video", "label", "group"} - set(rows.fieldnames or ())
        if missing:
            raise InvalidInput(f"{path}: column {', '.join(sorted(missing))} is absent")
        clips = [_clip(path, rows.line_num, row) for row in rows]
    if not clips:
        raise InvalidInput(f"{path}: no video is listed")
    return clips


def write(path: Path, clips: Sequence[Clip]) -> None:
    """Write a manifest; sources become relative to its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["video", "label", "group", "split", "frame_labels"])
        for clip in clips:
            frames = json.dumps(clip.frame_labels) if clip.frame_labels is not None else ""
            video = clip.source if clip.drawn else _relative(clip.source, path.parent)
            rows.writerow([video, clip.label, clip.group, clip.split or "", frames])


def refuse_unknown(clips: Iterable[Clip], labels: Sequence[str]) -> None:
    """Raise InvalidInput if a clip has a label that the model cannot say."""
    unknown = sorted({clip.label for clip in clips} - set(labels))
    if unknown:
        raise InvalidInput(
            f"labels that the bundle does not know: {', '.join(unknown)}; it knows "
            f"{', '.join(labels)}. Rename them in the manifest or leave those videos out"
        )


def _clip(path: Path, line: int, row: dict[str, str]) -> Clip:
    where = f"{path}, line {line}"
    video, label, group = (
        (row.get(column) or "").strip() for column in ("video", "label", "group")
    )
    split = (row.get("split") or "").strip() or None
    if not (video and label and group):
        raise InvalidInput(f"{where}: video, label and group must not be empty")
    if split is not None and split not in SPLITS:
        raise InvalidInput(f"{where}: split {split!r} is none of {', '.join(SPLITS)}")
    drawn = video.startswith("synthetic://")
    source = video if drawn else str(path.parent / video)
    if not drawn and not Path(source).exists():
        raise InvalidInput(f"{where}: {video} is absent")
    return Clip(video, source, label, group, split, _frame_labels(where, row.get("frame_labels")))


def _frame_labels(where: str, text: str | None) -> tuple[int, ...] | None:
    if not text:
        return None
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        values = None
    if not isinstance(values, list) or not all(value in (0, 1) for value in values):
        raise InvalidInput(f"{where}: frame_labels is not a JSON list of 0 and 1")
    return tuple(int(value) for value in values)


def _relative(source: str, folder: Path) -> str:
    return os.path.relpath(Path(source).resolve(), folder.resolve())
