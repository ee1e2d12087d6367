"""`citywatch incidents`: what has happened, from the store that alerting or `serve` keeps."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from alerting.events import IncidentData, data_of
from alerting.history import incidents
from alerting.settings import AlertingSettings
from citywatch.configuration import resolve, served
from citywatch.jsonlines import print_json
from citywatch.moments import since as moment
from citywatch.view import clock
from shared.bundle import Bundle, find
from shared.errors import InvalidInput
from shared.messages import NANOSECONDS

_YEAR = 366 * 86400


@dataclass(frozen=True)
class Wish:
    """Which incidents are asked for; an empty collection asks for all."""

    cameras: Collection[str] = ()
    labels: Collection[str] = ()
    state: str | None = None
    since: str | None = None
    limit: int = 50


@dataclass(frozen=True)
class Place:
    """Which store: `file` of SQLite, else what the settings name; `lane` else the bundle's."""

    lane: str | None
    file: Path | None
    config: Path | None
    settings: Sequence[str]


def list_all(place: Place, wish: Wish, *, json: bool) -> None:
    """Print those that match, newest first. Raises InvalidInput, Unavailable."""
    if wish.state not in (None, "open", "closed"):
        raise InvalidInput(f"--state {wish.state}: open or closed")
    found = [
        incident
        for incident in _read(place, wish.since)
        if (not wish.cameras or incident.camera_id in wish.cameras)
        and (not wish.labels or incident.label in wish.labels)
        and (wish.state is None or incident.state == wish.state)
    ]
    shown = found[: wish.limit]
    if json:
        for incident in shown:
            print_json(incident.as_json())
        return
    if not shown:
        print("No incident matches.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("began", "lasted", "camera", "label", "state", "peak", "id"):
        table.add_column(name, overflow="fold")
    for incident in shown:
        table.add_row(
            _when(incident.started_at), _length(incident), incident.camera_id,
            incident.label.replace("_", " "), incident.state, f"{incident.peak_score:.2f}",
            incident.id,
        )  # fmt: skip
    Console(highlight=False).print(table)
    if len(found) > len(shown):
        print(f"{len(found) - len(shown)} older ones match, too: --limit {len(found)}")


def show(place: Place, name: str, *, json: bool) -> None:
    """Print one incident. Raises InvalidInput if there is none of that id."""
    found = next((incident for incident in _read(place, None) if incident.id == name), None)
    if found is None:
        raise InvalidInput(f"{name}: no such incident; `citywatch incidents list` names them")
    if json:
        print_json(found.as_json())
        return
    why = f", because of {found.reason}" if found.reason else ""
    drawn = " (learnt from drawn scenes only)" if found.evidence == "synthetic" else ""
    first, last = found.frames
    rows = {
        "id": found.id,
        "camera": f"{found.camera_id}, session {found.session}, lane {found.lane}",
        "label": found.label.replace("_", " ") + drawn,
        "state": found.state + why,
        "began": _when(found.started_at),
        "lasted": _length(found),
        "peak score": f"{found.peak_score:.3f}",
        "frames": f"{first.partition}/{first.offset} to {last.partition}/{last.offset}",
        "bundle": found.fingerprint,
    }
    for key, value in rows.items():
        print(f"{key:12}{value}")


def _read(place: Place, since: str | None) -> list[IncidentData]:
    stated = [*place.settings]
    if place.file is not None:
        stated += ["alerting.store=sqlite", f"alerting.sqlite_file={place.file}"]
    configuration = resolve(
        place.config, stated, defaults=_of_serve(place.config) if place.config else None
    )
    settings = configuration.get(AlertingSettings)
    lane = place.lane or settings.lane or Bundle(find(settings.bundle)).name
    after = None if since is None else round(moment(since) * NANOSECONDS)
    return [data_of(incident) for incident in incidents(configuration, lane, after)]


def _of_serve(config: Path) -> dict[tuple[str, str], object]:
    """A file with cameras is one for `serve`: its store is SQLite, unless it says otherwise."""
    try:
        has_cameras = "cameras" in tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # `resolve` says what is wrong with it
        return {}
    return {("alerting", "store"): "sqlite", **served(config)} if has_cameras else {}


def _when(seconds: float) -> str:
    """Date and time; for a recording that says no date, the time since it began."""
    if seconds < _YEAR:
        return clock(seconds)
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _length(incident: IncidentData) -> str:
    if incident.ended_at is None:
        return "goes on"
    return f"{incident.ended_at - incident.started_at:.1f} s"
