"""`citywatch demo`: four drawn cameras with scripted events, and what was made of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from alerting.events import IncidentData
from citywatch.configuration import lane_and_bundle, resolve
from citywatch.follow import follow
from citywatch.standalone import Standalone
from citywatch.tally import Seen, Tally
from citywatch.view import View, clock
from citywatch.watch import DEFAULTS, FIXED
from shared.cameras import Camera
from shared.logs import start_logging
from shared.messages import NANOSECONDS
from shared.service import stop_on_signals
from shared.settings import ServiceSettings

SECONDS = 60.0
GRACE_SECONDS = 2.0
"""An incident that opens this long after the end of its event still counts (EVALUATION rule 5)."""


@dataclass(frozen=True)
class Event:
    """What the script lets happen; times in seconds since the camera's first frame."""

    camera_id: str
    label: str
    onset: float
    offset: float


@dataclass(frozen=True)
class Scene:
    """One drawn camera. `lively` is normal and looks busy: it must not alarm."""

    camera_id: str
    seed: int
    events: tuple[tuple[str, float, float], ...]
    lively: str = "none"
    options: str = ""

    def camera(self) -> Camera:
        """Its definition."""
        acts = ",".join(f"{act}@{onset:g}-{offset:g}" for act, onset, offset in self.events)
        source = f"synthetic://street?seed={self.seed}&events={acts}&distractors={self.lively}"
        return Camera(id=self.camera_id, source=source + self.options)


SCENES = (
    Scene("station", 11, (("fighting", 12, 22),), "hugging@36-42"),
    Scene("market", 23, (("assault", 20, 30),), "crowd@2-12"),
    Scene("crossing", 5, (("accident", 28, 38),), "braking@8-12"),
    Scene("harbour", 42, (("explosion", 38, 46),), "running@14-20"),
)
LABELS = {"accident": "road_accident"}
"""Acts whose label is not their name."""


@dataclass
class Hit:
    """An incident of the run, on the script's clock."""

    incident: IncidentData
    opened: float
    heard: float


class Referee:
    """Holds incidents against the script. A hit is raised in [onset, offset + grace], once.

    An incident is raised when its score has stayed up for `open_after` seconds; it starts when
    the score rose.
    """

    def __init__(self, events: Sequence[Event], tally: Tally, open_after: float = 0.0) -> None:
        self.events = events
        self._tally = tally
        self._open_after = open_after
        self.hits: dict[str, Hit] = {}

    def take(self, seen: Seen) -> None:
        """Note when each incident opened and when it was heard of, since the first frame."""
        if isinstance(seen, IncidentData) and seen.id not in self.hits:
            origin = self._tally.cameras[seen.camera_id].begun_at / NANOSECONDS
            raised = seen.started_at - origin + self._open_after
            self.hits[seen.id] = Hit(seen, raised, time.time() - origin)

    def tick(self) -> None:
        """Nothing to do between messages."""

    def during(self, event: Event) -> list[Hit]:
        """Incidents that opened on the event's camera while it lasted, whatever their label."""
        return sorted(
            (
                hit
                for hit in self.hits.values()
                if hit.incident.camera_id == event.camera_id
                and event.onset <= hit.opened <= event.offset + GRACE_SECONDS
            ),
            key=lambda hit: hit.opened,
        )

    def recognised(self, event: Event) -> Hit | None:
        """The first incident of the event's own label."""
        return next((h for h in self.during(event) if h.incident.label == event.label), None)

    def false(self) -> list[Hit]:
        """Incidents that no event of the script explains."""
        explained = {hit.incident.id for event in self.events for hit in self.during(event)}
        return [hit for name, hit in self.hits.items() if name not in explained]


def demo(bundle: Path | None, settings: Sequence[str]) -> int:
    """Run the demo; returns 0 if every scripted event was recognised, else 1."""
    configuration = resolve(None, settings, bundle, FIXED, DEFAULTS)
    lane, model = lane_and_bundle(configuration)
    start_logging(configuration.get(ServiceSettings))
    console = Console(highlight=False)
    console.print(
        "Four cameras, drawn by a program: what you see says that the system works, and nothing "
        f"about real streets.\nThis takes a little over {SECONDS:.0f} seconds. Loading the model."
    )
    cameras = [scene.camera() for scene in SCENES]
    tally = Tally(camera.id for camera in cameras)
    referee = Referee(
        [
            Event(scene.camera_id, LABELS.get(act, act), onset, offset)
            for scene in SCENES
            for act, onset, offset in scene.events
        ],
        tally,
        model.description.incidents.open_after_seconds,
    )
    stop = stop_on_signals()
    house = Standalone(configuration, lane, cameras)
    with house, View(tally, f"citywatch demo · {model.name}", since_start=True) as view:
        seconds = follow(house, tally, [view, referee], stop, seconds=SECONDS)
    _print_events(console, referee)
    _print_numbers(console, tally, seconds)
    missed = [event for event in referee.events if referee.recognised(event) is None]
    if stop.is_set():
        console.print("\nEnded early.")
    elif missed:
        console.print(f"\n[red]{len(missed)} of {len(referee.events)} events were missed.[/]")
    _print_next(console)
    return 1 if missed else 0


def _print_events(console: Console, referee: Referee) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("camera", "event", "from", "to", "recognised", "after"):
        table.add_column(name, no_wrap=True)
    for event in sorted(referee.events, key=lambda event: event.onset):
        hit = referee.recognised(event)
        others = sorted({h.incident.label for h in referee.during(event)} - {event.label})
        named = " and ".join(others).replace("_", " ")
        verdict = "[green]yes[/]" if hit else "[red]no[/]"
        if others:
            verdict += f", also as {named}" if hit else f", as {named}"
        delay = f"{hit.heard - event.onset:.1f} s" if hit else ""
        label = event.label.replace("_", " ")
        table.add_row(
            event.camera_id, label, clock(event.onset), clock(event.offset), verdict, delay
        )
    console.print()
    console.print(table)
    false = referee.false()
    console.print(f"\nIncidents without an event: {len(false)}")
    for hit in false:
        label = hit.incident.label.replace("_", " ")
        console.print(f"  {clock(hit.opened)}  {hit.incident.camera_id}  {label}")


def _print_numbers(console: Console, tally: Tally, seconds: float) -> None:
    summary = tally.summary(seconds)
    drops = ", ".join(f"{count} {reason}" for reason, count in sorted(tally.dropped.items()))
    console.print(
        f"{summary['frames']:,} frames ({summary['fps']:g} a second), "
        f"{summary['predictions']:,} windows, dropped: {drops or 'none'}"
    )
    middle, most = tally.latency(0.5), tally.latency(0.99)
    if middle is not None and most is not None:
        console.print(
            f"From a frame to the score of its window: half within {middle * 1000:.0f} ms, "
            f"99 % within {most * 1000:.0f} ms"
        )


def _print_next(console: Console) -> None:
    # As it was called, if from the checkout's own environment; a long absolute path helps nobody.
    called = Path(sys.argv[0])
    program = (
        str(called) if called.name == "citywatch" and not called.is_absolute() else "citywatch"
    )
    console.print(
        "\nNext, your own pictures:\n"
        f"  {program} watch video.mp4                                  a file\n"
        f"  {program} watch 0                                          a webcam\n"
        f"  {program} watch rtsp://user:password@192.168.1.20/stream   an RTSP camera",
        markup=False,
        soft_wrap=True,
    )
