"""One bus with a topic and a group of its own, and how tests poll it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from shared.bus import Bus, Consumer, Output, Record, Start

PARTITIONS = 4
SECONDS = 20.0  # longer than anything here takes


@dataclass
class World:
    """One bus, a topic and a group of its own, and whom to close at the end."""

    bus: Bus
    name: str
    opened: list[Consumer] = field(default_factory=list)

    @property
    def topic(self) -> str:
        return f"{self.name}.frames"

    @property
    def group(self) -> str:
        return f"{self.name}.reader"

    def join(self, start: Start = "committed", group: str | None = "") -> Consumer:
        """A member of the group ("": this test's own; None: alone)."""
        name = self.group if group == "" else group
        member = self.bus.consumer(name, [self.topic], start)
        self.opened.append(member)
        return member

    def fill(self, *outputs: tuple[str | None, bytes | None]) -> None:
        """Send (key, value) pairs and see them acknowledged."""
        producer = self.bus.producer()
        for key, value in outputs:
            producer.send(Output(self.topic, key, value))
        assert producer.flush(SECONDS) == []
        producer.close()


def take(consumer: Consumer, count: int, batch: int = 100) -> list[Record]:
    """Poll until `count` records have come, and no more."""
    records: list[Record] = []
    poll_until([consumer], lambda: len(records) >= count, records, batch)
    assert len(records) == count
    return records


def poll_until(
    consumers: list[Consumer],
    condition: Callable[[], bool],
    records: list[Record] | None = None,
    batch: int = 100,
) -> None:
    """Poll each member in a thread of its own, as in life, until the condition holds."""
    deadline = time.monotonic() + SECONDS
    taking = threading.Lock()

    def poll(consumer: Consumer) -> None:
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            polled = consumer.poll(batch, 0.1)
            if records is not None:
                with taking:
                    records.extend(polled)

    with ThreadPoolExecutor(len(consumers)) as pool:
        for polling in [pool.submit(poll, consumer) for consumer in consumers]:
            polling.result()


def joined(*consumers: Consumer) -> None:
    """Poll until the members share all partitions evenly."""
    share = PARTITIONS // len(consumers)
    poll_until(list(consumers), lambda: all(len(c.assigned()) == share for c in consumers))


Make = Callable[..., World]
