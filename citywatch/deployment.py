"""A deployment on Kafka, as the commands that look into it or send to it reach it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from citywatch.configuration import sections
from shared.bus import Bus, Output, read_to_end
from shared.cameras import Camera
from shared.errors import InvalidMessage, Unavailable
from shared.service import connect
from shared.settings import Configuration, KafkaSettings
from shared.topics import Topics

ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Deployment:
    """Its bus, the names on it, and the settings that led there."""

    bus: Bus
    topics: Topics
    configuration: Configuration

    def send(self, outputs: Sequence[Output]) -> None:
        """All of them, acknowledged; raises Unavailable if one is not."""
        producer = self.bus.producer()
        try:
            for output in outputs:
                producer.send(output)
            for output, error in producer.flush(ANSWER_SECONDS):
                raise Unavailable(f"{output.key}: not sent to {output.topic}: {error}")
        finally:
            producer.close()

    def cameras(self) -> dict[str, Camera]:
        """The cameras that are registered, by id; what is no camera is passed over, and named."""
        newest = {record.key: record.value for record in read_to_end(self.bus, self.topics.cameras)}
        cameras = {}
        for name, value in newest.items():
            if value is not None:
                try:
                    camera = Camera.from_json(value)
                except InvalidMessage as error:
                    print(f"camera {name} is passed over: {error}", file=sys.stderr)
                else:
                    cameras[camera.id] = camera
        return cameras


@contextmanager
def deployment(config: Path | None, settings: Sequence[str]) -> Iterator[Deployment]:
    """Connected, its shared topics in place. Raises InvalidSettings, Unavailable."""
    configuration = Configuration(config, settings).refuse_unknown(*sections())
    kafka = configuration.get(KafkaSettings)
    bus = connect(kafka, None, ANSWER_SECONDS, threading.Event())
    assert bus is not None
    try:
        yield Deployment(bus, Topics(kafka.prefix), configuration)
    finally:
        bus.close()
