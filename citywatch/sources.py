"""From what a user names on the command line to cameras."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from ingest.addresses import kind_of, path_of
from shared.cameras import Camera
from shared.errors import InvalidInput


def cameras_of(
    sources: Sequence[str], fps: float | None = None, loop: bool = False, start: str | None = None
) -> list[Camera]:
    """One camera a source, named after it; raises InvalidInput for what is plainly not there.

    `start` is when recordings began, as an ISO date and time.
    """
    wishes: dict[str, object] = {"loop": loop, "start_seconds": _seconds(start)}
    if fps is not None:
        wishes["fps"] = fps
    cameras = []
    names: Counter[str] = Counter()
    for source in sources:
        _check(source)
        name = _name(source)
        names[name] += 1
        if names[name] > 1:
            name = f"{name}-{names[name]}"
        cameras.append(Camera.from_table({"id": name, "source": source, **wishes}))
    return cameras


def _seconds(start: str | None) -> float:
    if start is None:
        return 0.0
    try:
        seconds = datetime.fromisoformat(start).timestamp()
    except ValueError:
        raise InvalidInput(f"--start {start}: write it as 2026-03-01T18:30:00") from None
    if seconds < 0:
        raise InvalidInput(f"--start {start}: before 1970")
    return seconds


def ends(source: str) -> bool:
    """Whether it is a recording, which comes to an end by itself."""
    return kind_of(source) in ("file", "folder")


def _check(source: str) -> None:
    """Look at what can be looked at without decoding; ingest finds the rest."""
    if not ends(source):
        return
    path = path_of(source)
    if not path.exists():
        raise InvalidInput(f"{source}: no such file")
    if path.is_file() and path.stat().st_size == 0:
        raise InvalidInput(f"{source}: the file is empty")
    if path.is_dir() and not any(path.iterdir()):
        raise InvalidInput(f"{source}: the folder is empty")


def _name(source: str) -> str:
    """A camera id; never user, password or query of an address, for ids are in logs."""
    kind = kind_of(source)
    if kind in ("file", "folder"):
        text = path_of(source).resolve().stem
    elif kind == "device":
        text = f"camera-{source.removeprefix('/dev/video')}"
    else:
        address = urlsplit(source)
        text = "-".join(filter(None, [address.hostname, *Path(address.path).parts[1:]]))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")[:100] or "camera"
