"""Workers with the window stage on a real Kafka: fed, run in threads, and read to the end."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.bus import Output
from shared.bus_kafka import KafkaBus
from shared.settings import KafkaSettings
from shared.topics import HOUR, TopicSpec
from shared.worker import Route, Worker
from tests.support.window_stage import WindowStage, read_text
from tests.support.workers import settings

PARTITIONS = 4
KEYS = tuple(f"camera-{n}" for n in range(8))
SECONDS = 40.0


@dataclass
class Life:
    """One worker from start to end."""

    worker: Worker
    stop: threading.Event
    thread: threading.Thread
    died_of: BaseException | None = None


class WindowService:
    """Three topics and a group of its own on the Kafka at an address."""

    def __init__(self, address: str) -> None:
        self.name = f"windows-{uuid.uuid4().hex[:8]}"
        self._buses: list[KafkaBus] = []
        self.bus = self.connect(address)
        self.bus.ensure_topics(self.specs)

    @property
    def specs(self) -> list[TopicSpec]:
        return [TopicSpec(self.topic(name), HOUR) for name in ("in", "out", "dead")]

    @property
    def group(self) -> str:
        return f"{self.name}.group"

    def topic(self, name: str) -> str:
        return f"{self.name}.{name}"

    def connect(self, address: str) -> KafkaBus:
        """Another bus, which small things fill."""
        bus = KafkaBus(KafkaSettings(
            bootstrap_servers=address, partitions=PARTITIONS, session_timeout_seconds=6,
            buffer_bytes=1 << 20,
        ))  # fmt: skip
        self._buses.append(bus)
        return bus

    def close(self) -> None:
        for bus in self._buses:
            bus.close()

    def feed(self, numbers: range) -> None:
        """A text for every key and number."""
        self.put(*((key, f"{n:03}") for n in numbers for key in KEYS))

    def put(self, *texts: tuple[str, str]) -> None:
        """These texts, seen to be acknowledged."""
        producer = self.bus.producer()
        for key, text in texts:
            producer.send(Output(self.topic("in"), key, text.encode()))
        assert producer.flush(SECONDS) == []
        producer.close()

    @contextmanager
    def worker(self, bus: KafkaBus | None = None, **changes: object) -> Iterator[Life]:
        """A worker in a thread; whatever it died of is in `died_of` after the block."""
        stage, stop = WindowStage(self.topic("out")), threading.Event()
        route = Route("tested", self.group, (self.topic("in"),), self.topic("dead"))
        given = {"max_records": 20, "commit_interval_seconds": 0.2, **changes}
        worker = Worker(bus or self.bus, stage, read_text, route, settings(**given), stop)

        def run() -> None:
            try:
                worker.run()
            except BaseException as error:
                life.died_of = error

        life = Life(worker, stop, threading.Thread(target=run, daemon=True))
        life.thread.start()
        try:
            yield life
        finally:
            stop.set()
            life.thread.join(SECONDS)
        assert not life.thread.is_alive()

    def outputs(self, wanted: int, keys: tuple[str, ...] = KEYS) -> dict[str, list[str]]:
        """The first of each output by key, in order, once there are `wanted` for every key.

        Without the short windows that a worker begins with where another left off.
        """
        reader = self.bus.consumer(None, [self.topic("out")], "beginning")
        found: dict[str, dict[str, None]] = {key: {} for key in keys}

        def complete() -> bool:
            for record in reader.poll(1000, 0.2):
                text = (record.value or b"").decode()
                assert record.key is not None
                if text.count("-") == 2 or text.startswith("000"):
                    found[record.key][text] = None
            return all(len(texts) >= wanted for texts in found.values())

        until(complete, lambda: {key: len(texts) for key, texts in found.items()})
        reader.close()
        return {key: list(texts) for key, texts in found.items()}


def until(
    condition: Callable[[], bool],
    said: Callable[[], object] = lambda: "",
    seconds: float = SECONDS,
) -> None:
    """Looked at again and again."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.02)
