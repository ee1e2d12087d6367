"""`citywatch cameras`: the compacted cameras topic of a deployment, and a look at one source."""

from __future__ import annotations

import json as jsonlib
import time
import tomllib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from citywatch.configuration import resolve
from citywatch.deployment import deployment
from citywatch.sources import cameras_of
from ingest.addresses import Opened, has_credentials, kind_of
from ingest.child import Child
from ingest.pipe import Order, Parcel
from ingest.recorder import FACTS, Recorder
from ingest.settings import IngestSettings
from shared.bus import Output
from shared.cameras import Camera
from shared.codec import decode
from shared.errors import InvalidInput, SourceError
from shared.messages import Frame

_PICTURES = 30


def add(tables: Sequence[dict[str, Any]], config: Path | None, settings: Sequence[str]) -> None:
    """Publish definitions; all are checked before the first is sent."""
    cameras = [Camera.from_table(table) for table in tables]
    for camera in cameras:
        if has_credentials(camera.source):
            raise InvalidInput(
                f"{camera.id}: put user and password into a file of the secrets folder, write "
                "{secret} in their place, and name the file with --secret"
            )
    with deployment(config, settings) as there:
        there.send([Output(there.topics.cameras, c.id, c.to_json()) for c in cameras])
    for camera in cameras:
        print(f"registered {camera.id}")


def remove(ids: Sequence[str], config: Path | None, settings: Sequence[str]) -> None:
    """Publish removals; raises InvalidInput for a camera that is not registered."""
    with deployment(config, settings) as there:
        known = there.cameras()
        for name in ids:
            if name not in known:
                raise InvalidInput(f"{name}: no such camera; see `citywatch cameras list`")
        there.send([Output(there.topics.cameras, name, None) for name in ids])
    for name in ids:
        print(f"removed {name}")


def list_all(json: bool, config: Path | None, settings: Sequence[str]) -> None:
    """Print what is registered, sorted by id."""
    with deployment(config, settings) as there:
        cameras = sorted(there.cameras().values(), key=lambda camera: camera.id)
    if json:
        for camera in cameras:
            print(jsonlib.dumps(camera.model_dump(mode="json")))
        return
    if not cameras:
        print("No cameras are registered. Add one: citywatch cameras add ID SOURCE")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("id", "source", "fps", "lanes"):
        table.add_column(name, overflow="fold")
    for camera in cameras:
        table.add_row(camera.id, camera.source, f"{camera.fps:g}", ", ".join(camera.lanes) or "all")
    Console(highlight=False).print(table)


def tables(file: Path) -> list[dict[str, Any]]:
    """The `[[cameras]]` tables of a TOML file; raises InvalidInput."""
    try:
        found = tomllib.loads(file.read_text()).get("cameras")
    except FileNotFoundError:
        raise InvalidInput(f"{file}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"{file}: {error}") from None
    if not isinstance(found, list) or not found:
        raise InvalidInput(f"{file}: no [[cameras]] table in it")
    return found


def test(source: str, seconds: float, config: Path | None, settings: Sequence[str]) -> int:
    """Open a source as ingest would, in a process of its own; print what comes from it.

    Returns 0, or 1 if no picture came. Credentials are not printed.
    """
    configuration = resolve(
        config, settings, fixed=[f"ingest.open_timeout_seconds={seconds}",
                                 f"ingest.read_timeout_seconds={seconds}"],
    )  # fmt: skip
    camera = cameras_of([source])[0]
    ingest = configuration.get(IngestSettings)
    opened = Opened(camera, ingest.secrets_folder)
    order = Order(camera=camera, address=opened.address, generation=0, settings=ingest)
    begun = time.monotonic()
    drawn = kind_of(source) == "synthetic"
    run: Recorder | Child = Recorder(order) if drawn else Child(order, opened.redact)
    try:
        if isinstance(run, Child):
            run.started()
            begun = time.monotonic()
        return _describe(run.parcels(), begun)
    except SourceError as error:
        print(f"✗ {error}")
        return 1
    finally:
        run.close()


def _describe(parcels: Iterator[Parcel], begun: float) -> int:
    """Print the facts of a source and of its first pictures."""
    facts = FACTS.validate_json(next(parcels).payload)
    kind = "live" if facts.live else "a recording"
    size = f", {facts.width}x{facts.height}" if facts.width else ""
    rate = f", {facts.fps:g} pictures a second" if facts.fps else ""
    codec = f", {facts.codec}" if facts.codec else ""
    print(f"✓ opened after {time.monotonic() - begun:.1f} s: {kind}{size}{rate}{codec}")
    frames = [(time.monotonic(), parcel) for parcel in islice(parcels, _PICTURES)]
    if not frames:
        print("✗ not one picture came from it")
        return 1
    first = decode(frames[0][1].payload, Frame)
    kilobytes = sum(len(parcel.payload) for _, parcel in frames) / len(frames) / 1000
    print(
        f"✓ first picture after {frames[0][0] - begun:.1f} s; sent on as {first.width}x"
        f"{first.height}, {kilobytes:.0f} KB each"
    )
    moved = max(decode(parcel.payload, Frame).motion.energy for _, parcel in frames)
    print(f"✓ {len(frames)} pictures sampled; moving: {moved:.1%} of the picture at most")
    return 0
