"""`citywatch watch`: the main job on files, streams and devices."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from alerting.incidents import Rules
from alerting.settings import AlertingSettings
from citywatch.configuration import lane_and_bundle, resolve
from citywatch.follow import Observer, follow
from citywatch.jsonlines import JsonLines, print_json
from citywatch.sources import cameras_of
from citywatch.standalone import Standalone
from citywatch.tally import Tally
from citywatch.view import View
from shared.bundle import Bundle
from shared.logs import start_logging
from shared.service import stop_on_signals
from shared.settings import Configuration, ServiceSettings

FIXED = ("alerting.store=sqlite", "alerting.sqlite_file=:memory:")
DEFAULTS = {("service", "log_level"): "ERROR"}
"""Incidents of a run live as long as the run. What a camera lacks, the view says."""


@dataclass(frozen=True)
class Wish:
    """What the command line asks for."""

    sources: tuple[str, ...]
    bundle: Path | None = None
    json: bool = False
    annotate: Path | None = None
    plot: Path | None = None
    fps: float | None = None
    loop: bool = False
    seconds: float | None = None
    start: str | None = None
    config: Path | None = None
    settings: tuple[str, ...] = ()


def watch(wish: Wish) -> int:
    """Watch until the end of all sources; returns the exit code."""
    cameras = cameras_of(wish.sources, wish.fps, wish.loop, wish.start)
    configuration = resolve(wish.config, wish.settings, wish.bundle, FIXED, DEFAULTS)
    lane, bundle = lane_and_bundle(configuration)
    be_lean(configuration, bundle, len(cameras), seen=wish.annotate is not None)
    start_logging(configuration.get(ServiceSettings))
    rules = Rules.of(bundle.description, configuration.get(AlertingSettings))
    tally = Tally(camera.id for camera in cameras)
    stop = stop_on_signals()
    with ExitStack() as stack:
        view = View(tally, f"citywatch · {bundle.name}", json=wish.json)
        observers: list[Observer] = [view]
        if wish.json:
            observers.append(JsonLines())
        if wish.annotate:
            from citywatch.annotate import Annotator

            observers.append(stack.enter_context(Annotator(wish.annotate, cameras, rules)))
        if wish.plot:
            from citywatch.plot import Timeline

            observers.append(stack.enter_context(Timeline(wish.plot, tally, rules)))
        house = stack.enter_context(Standalone(configuration, lane, cameras))
        stack.enter_context(view)
        seconds = follow(house, tally, observers, stop, wish.seconds)
    return _report(wish, tally, seconds)


def be_lean(configuration: Configuration, bundle: Bundle, cameras: int, *, seen: bool) -> None:
    """Defaults for one process: what is not `seen` is not made, and no core is asked twice."""
    ingest = configuration.tables.setdefault("ingest", {})
    if bundle.description.input.of_motion and not seen:
        ingest.setdefault("pictures", "grey")
    # A second thread for each video pays only while there are cores without one.
    spare = (os.cpu_count() or 1) // (cameras + 1)
    ingest.setdefault("decoder_threads", 1 if spare < 2 else 0)


def _report(wish: Wish, tally: Tally, seconds: float) -> int:
    if wish.json:
        print_json(tally.summary(seconds))
    else:
        _print(tally, seconds, [p for p in (wish.annotate, wish.plot) if p])
    return 1 if tally.failed or not tally.frames else 0


def _print(tally: Tally, seconds: float, written: list[Path]) -> None:
    console = Console(highlight=False)
    summary = tally.summary(seconds)
    drops = ", ".join(f"{count} {reason}" for reason, count in sorted(tally.dropped.items()))
    console.print(
        f"\n{summary['frames']:,} frames in {seconds:.1f} s ({summary['fps']:g} a second), "
        f"{summary['predictions']:,} windows, incidents: {summary['incidents'] or 'none'}, "
        f"dropped: {drops or 'none'}"
    )
    if tally.failed:
        console.print(f"not read, or not to the end: {', '.join(tally.failed)}", style="red")
    for path in written:
        console.print(f"written: {path}")
    if tally.frames and not tally.predictions:
        console.print("No window was complete: the video is shorter than one, or has gaps.")
