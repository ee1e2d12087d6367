"""`citywatch cameras`: the compacted cameras topic of a deployment, and a look at one source."""

from __future__ import annotations

import json as jsonlib
import threading
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from citywatch.configuration import sections
from shared.bus import Bus, Output
from shared.cameras import Camera
from shared.errors import InvalidInput, InvalidMessage, Unavailable
from shared.service import connect
from shared.settings import Configuration, KafkaSettings
from shared.topics import Topics

_ANSWER_SECONDS = 5.0


def add(tables: Sequence[dict[str, Any]], config: Path | None, settings: Sequence[str]) -> None:
    """Publish definitions; all are checked before the first is sent."""
    cameras = [Camera.from_table(table) for table in tables]
    with _bus(config, settings) as (bus, topics):
        _send(bus, [Output(topics.cameras, c.id, c.to_json()) for c in cameras])
    for camera in cameras:
        print(f"registered {camera.id}")


def remove(ids: Sequence[str], config: Path | None, settings: Sequence[str]) -> None:
    """Publish removals; raises InvalidInput for a camera that is not registered."""
    with _bus(config, settings) as (bus, topics):
        known = {camera.id for camera in _registered(bus, topics)}
        for name in ids:
            if name not in known:
                raise InvalidInput(f"{name}: no such camera; see `citywatch cameras list`")
        _send(bus, [Output(topics.cameras, name, None) for name in ids])
    for name in ids:
        print(f"removed {name}")


def list_all(json: bool, config: Path | None, settings: Sequence[str]) -> None:
    """Print what is registered, sorted by id."""
    with _bus(config, settings) as (bus, topics):
        cameras = sorted(_registered(bus, topics), key=lambda camera: camera.id)
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


@contextmanager
def _bus(config: Path | None, settings: Sequence[str]) -> Iterator[tuple[Bus, Topics]]:
    configuration = Configuration(config, settings).refuse_unknown(*sections())
    kafka = configuration.get(KafkaSettings)
    bus = connect(kafka, None, _ANSWER_SECONDS, threading.Event())
    assert bus is not None
    try:
        yield bus, Topics(kafka.prefix)
    finally:
        bus.close()


def _send(bus: Bus, outputs: Sequence[Output]) -> None:
    producer = bus.producer()
    try:
        for output in outputs:
            producer.send(output)
        for output, error in producer.flush(_ANSWER_SECONDS):
            raise Unavailable(f"{output.key}: not registered: {error}")
    finally:
        producer.close()


def _registered(bus: Bus, topics: Topics) -> list[Camera]:
    """The cameras topic from its beginning to its present end; the newest of each id counts."""
    consumer = bus.consumer(None, [topics.cameras], start="beginning")
    newest: dict[str, bytes | None] = {}
    try:
        for _ in range(1000):
            records = consumer.poll(1000, 1.0)
            newest.update({record.key or "": record.value for record in records})
            if not records and consumer.assigned() and not any(consumer.lag().values()):
                break
    finally:
        consumer.close()
    cameras = []
    for value in newest.values():
        if value is not None:
            try:
                cameras.append(Camera.from_json(value))
            except InvalidMessage as error:
                print(f"passed over: {error}")
    return cameras
