"""The four services as processes on a real Kafka and Redis, under a prefix of their own."""

from __future__ import annotations

import signal
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.bus import Consumer
from shared.bus_kafka import KafkaBus
from shared.codec import decode
from shared.messages import EndOfStream, Prediction
from shared.settings import Configuration, KafkaSettings
from shared.topics import Topics
from tests.support.command import start

SERVICES = ("ingest", "featurizer", "classifier", "alerting")


@dataclass
class FourServices:
    """What runs, and how to reach it."""

    environment: dict[str, str]
    bundle: Path
    processes: dict[str, subprocess.Popen[str]]
    folder: Path

    @property
    def settings(self) -> KafkaSettings:
        """Of its Kafka."""
        return Configuration(environment=self.environment).get(KafkaSettings)

    @property
    def topics(self) -> Topics:
        """Its topics."""
        return Topics(self.settings.prefix)

    def log_of(self, service: str) -> str:
        """What a service has said so far."""
        return (self.folder / f"{service}.log").read_text()

    def run(self, service: str) -> None:
        """Start a service, or start it again."""
        options = [] if service == "ingest" else ["--set", f"{service}.bundle={self.bundle}"]
        with (self.folder / f"{service}.log").open("a") as log:
            self.processes[service] = start(
                [service, *options], env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def stop(self) -> dict[str, int]:
        """Ask all to end, in the order of the flow; their exit codes."""
        codes = {}
        for service in SERVICES:
            process = self.processes.pop(service, None)
            if process is not None:
                process.send_signal(signal.SIGTERM)
                codes[service] = process.wait(timeout=40)
        return codes

    def predictions(self, cameras: Sequence[str], lane: str, seconds: float) -> list[Prediction]:
        """All predictions until each camera's end of stream; the first of each id counts."""
        bus = KafkaBus(self.settings)
        try:
            consumer = bus.consumer(None, [self.topics.predictions(lane)], start="beginning")
            return list(_until_the_end(consumer, set(cameras), seconds))
        finally:
            bus.close()


def _until_the_end(consumer: Consumer, waiting: set[str], seconds: float) -> Iterator[Prediction]:
    seen: set[str] = set()
    for _ in range(int(seconds)):
        for record in consumer.poll(500, 1.0):
            message = decode(record.value, Prediction, EndOfStream)
            if isinstance(message, EndOfStream):
                waiting.discard(message.camera_id)
            elif isinstance(message, Prediction) and message.id not in seen:
                seen.add(message.id)
                yield message
        if not waiting:
            return
    raise AssertionError(f"no end of {', '.join(sorted(waiting))} in {seconds:g} s")


@contextmanager
def four_services(
    kafka: str, redis_url: str, bundle: Path, folder: Path, **more: str
) -> Iterator[FourServices]:
    """All services while the block lasts; whatever still runs after it is killed.

    `more` are environment variables.
    """
    environment = {
        "CITYWATCH_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "CITYWATCH_KAFKA_PREFIX": f"e2e-{uuid.uuid4().hex[:8]}",
        "CITYWATCH_KAFKA_PARTITIONS": "4",
        "CITYWATCH_ALERTING_REDIS_URL": redis_url,
        **more,
    }
    running = FourServices(environment, bundle, {}, folder)
    try:
        for service in SERVICES:
            running.run(service)
        yield running
    finally:
        for process in running.processes.values():
            process.kill()
            process.wait()
