"""Workers on a memory bus, for tests: run in a thread, watched without sleeping."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from shared.bus import Bus, Decode, Output, Partition, Record, Stage
from shared.bus_memory import MemoryBus
from shared.settings import WorkerSettings
from shared.worker import Route, Worker
from tests.support.window_stage import read_text

IN, OUT, DEAD, GROUP = "in", "out", "dead", "group"
ROUTE = Route(service="tested", group=GROUP, topics=(IN,), dead_letters=DEAD)
SECONDS = 20.0  # longer than anything here takes


def settings(**changes: object) -> WorkerSettings:
    """Without waits, so that tests are fast."""
    return WorkerSettings.model_validate(
        {"max_wait_seconds": 0, "commit_interval_seconds": 0} | changes
    )


def feed(bus: MemoryBus, *texts: str, key: str = "camera") -> None:
    """Append texts to the input topic."""
    producer = bus.producer()
    for text in texts:
        producer.send(Output(IN, key, text.encode()), 0)


def log(bus: MemoryBus, topic: str = OUT) -> list[Record]:
    """Everything in a topic, partition after partition."""
    return [
        record
        for number in range(bus.partitions)
        for record in bus.read(Partition(topic, number), 0, 1 << 60)
    ]


def texts(bus: MemoryBus, topic: str = OUT, key: str = "camera") -> list[str]:
    """The values of one key, in order, repetitions included."""
    return [(r.value or b"").decode() for r in log(bus, topic) if r.key == key]


def first_of_each(values: list[str]) -> list[str]:
    """Without repetitions: what a reader keeps that de-duplicates."""
    return list(dict.fromkeys(values))


def last_of_each(values: list[str]) -> list[str]:
    """The order in which they stand when each has come for the last time."""
    return list(dict.fromkeys(reversed(values)))[::-1]


def wait_for(bus: MemoryBus, condition: Callable[[], bool]) -> None:
    """Until the condition holds, looked at whenever the bus changes."""
    with bus.changed:
        assert bus.changed.wait_for(condition, SECONDS), "it did not happen"


@dataclass
class Running:
    """A worker in its thread."""

    worker: Worker
    stop: threading.Event
    thread: threading.Thread = field(init=False)
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:
            self.error = error

    def join(self) -> BaseException | None:
        """Wait for the end; what it died of, if it did."""
        self.thread.join(SECONDS)
        assert not self.thread.is_alive(), "the worker does not end"
        return self.error

    def end(self) -> BaseException | None:
        """Tell it to stop, and wait."""
        self.stop.set()
        return self.join()


@contextmanager
def running(
    bus: Bus, stage: Stage, *, decode: Decode = read_text, **changes: object
) -> Iterator[Running]:
    """A worker that runs, and is stopped at the end; an error that nobody looked at is raised."""
    stop = threading.Event()
    run = Running(Worker(bus, stage, decode, ROUTE, settings(**changes), stop), stop)
    try:
        yield run
    finally:
        seen = run.error
        error = run.end()
    if error is not None and error is not seen:
        raise error
