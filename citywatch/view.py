"""What a person sees while it runs: a line per incident, and below them a live table of cameras.

On something that is no terminal only the lines are printed.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from alerting.events import IncidentData
from citywatch.tally import CameraTally, Seen, Tally
from shared.bundle import NORMAL
from shared.messages import NANOSECONDS

_BAR = 16
_REFRESH_SECONDS = 0.125
_YEAR = 366 * 86400


class View:
    """Shows a tally as it grows.

    With `since_start` clocks count from each camera's start; else a live camera's show the time
    of day.
    """

    def __init__(
        self,
        tally: Tally,
        title: str,
        *,
        json: bool = False,
        since_start: bool = False,
    ) -> None:
        self._tally = tally
        self._title = title
        self._since_start = since_start
        screen = Console(stderr=True, highlight=False)
        out = Console(highlight=False)
        # On one terminal, lines and table must pass through one console to keep apart.
        self._lines = None if json else screen if out.is_terminal else out
        shown = screen.is_terminal and not (json and out.is_terminal)
        self._screen = screen
        self._live = Live(console=screen, auto_refresh=False, transient=True) if shown else None
        self._errors: dict[str, str | None] = {}
        self._next = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def take(self, seen: Seen) -> None:
        """Print incidents as they open and close."""
        if isinstance(seen, IncidentData) and self._lines is not None:
            begun = self._tally.cameras[seen.camera_id].begun_at / NANOSECONDS
            self._lines.print(incident_line(seen, begun if self._since_start else 0.0))

    def tick(self) -> None:
        """Say what is wrong with cameras; draw the table again, at most eight times a second."""
        for camera in self._tally.cameras.values():
            if camera.error != self._errors.get(camera.camera_id):
                self._errors[camera.camera_id] = camera.error
                if camera.error:
                    self._say(f"{camera.camera_id}: {camera.error}", "red")
                else:
                    self._say(f"{camera.camera_id}: is back", "green")
        now = time.monotonic()
        if self._live is not None and now >= self._next:
            self._next = now + _REFRESH_SECONDS
            self._live.update(self._table(), refresh=True)

    def _say(self, text: str, style: str) -> None:
        self._screen.print(Text(text, style), soft_wrap=True)  # whole lines for whoever greps

    def _table(self) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("camera", "source", "score", "now", ""):
            table.add_column(name, no_wrap=True)
        for camera in self._tally.cameras.values():
            table.add_row(
                camera.camera_id, self._state(camera), *_now(camera), _open_incidents(camera)
            )
        dropped = sum(self._tally.dropped.values())
        foot = (
            f"{self._tally.frames:,} frames · {self._tally.predictions:,} windows · "
            f"{self._tally.incident_count} incidents · {dropped} dropped · Ctrl-C ends"
        )
        return Group("", Text(self._title, "bold"), table, Text(foot, "dim"))

    @staticmethod
    def _state(camera: CameraTally) -> Text:
        if camera.state == "failed":
            return Text("failed", "red")
        if camera.state == "down":
            return Text("away, trying again", "red")
        if camera.end is not None:
            return Text("done", "dim")
        if not camera.frames:
            return Text("opening", "yellow")
        progress = camera.progress
        if progress is None:
            return Text("live", "green") if camera.live else Text("reading")
        full = round(progress * _BAR)
        bar = Text("━" * full, "cyan") + Text("━" * (_BAR - full), "bright_black")
        return bar + Text(f" {progress:4.0%}", "default")


def _now(camera: CameraTally) -> tuple[Text, Text]:
    if camera.last is None:
        return Text("·" * _BAR + "      ", "bright_black"), Text("")
    score = camera.last.score
    full = round(score * _BAR)
    style = "red" if score >= 0.5 else "yellow" if score >= 0.25 else "green"
    bar = Text("█" * full, style) + Text("·" * (_BAR - full), "bright_black")
    label = camera.last.label
    return bar + Text(f" {score:.2f} ", style), Text(
        label.replace("_", " "), "dim" if label == NORMAL else "bold"
    )


def _open_incidents(camera: CameraTally) -> Text:
    names = ", ".join(event.label.replace("_", " ") for event in camera.open.values())
    return Text(f" {names} ", "bold white on red") if names else Text("")


def incident_line(incident: IncidentData, origin: float = 0.0) -> Text:
    """One transition of an incident in one line; times are counted from `origin`."""
    opened = incident.ended_at is None
    at = incident.started_at if incident.ended_at is None else incident.ended_at
    line = Text(f"{clock(at, origin):>8}  {incident.camera_id}  ")
    line.append(incident.label.replace("_", " "), "bold red" if opened else "bold")
    if opened:
        return line.append(f" opened, score {incident.peak_score:.2f}")
    seconds = at - incident.started_at
    return line.append(f" closed after {seconds:.1f} s, peak {incident.peak_score:.2f}")


def clock(seconds: float, origin: float = 0.0) -> str:
    """A time for people: since `origin`, since the first frame of a recording, or of the day."""
    seconds -= origin
    if seconds >= _YEAR:
        return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S")
    minutes, tenths = divmod(round(seconds * 10), 600)
    return f"{minutes:02d}:{tenths / 10:04.1f}"
