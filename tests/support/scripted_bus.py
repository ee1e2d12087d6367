"""A bus that does as told, for what a memory bus cannot show: losses, jumps, late deliveries."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from shared.bus import Output, Partition, Record, Start
from shared.topics import TopicSpec

FIRST = Partition("in", 0)


def record(offset: int, text: str | None = None, place: Partition = FIRST) -> Record:
    """A record of the input topic; its text is its offset if none is given."""
    return Record(place, offset, "camera", (str(offset) if text is None else text).encode())


class ScriptedConsumer:
    """Each poll gives the next of `polls`: records, and the partitions lost meanwhile."""

    def __init__(
        self, polls: Iterable[tuple[list[Record], Collection[Partition]]], alive: threading.Event
    ) -> None:
        self._polls = deque(polls)
        self._lost: set[Partition] = set()
        self._alive = alive
        self.read_out = threading.Event()
        self.commits: list[dict[Partition, int]] = []
        self.rewound: list[frozenset[Partition]] = []
        self.changed = threading.Condition()

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        if not self._polls:
            self.read_out.set()
            with self.changed:
                self.changed.wait(min(timeout, 0.01))
            return []
        records, lost = self._polls.popleft()
        assert len(records) <= max_records
        self._lost |= set(lost)
        return records

    def keep_alive(self) -> None:
        self._alive.set()

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        with self.changed:
            self.commits.append(dict(offsets))
            self.changed.notify_all()
        return True

    def note(self, notes: Mapping[Partition, str]) -> None:
        pass

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, str]]:
        return {}

    def rewind(self, partitions: Collection[Partition], *, to_beginning: bool = False) -> None:
        self.rewound.append(frozenset(partitions))

    def assigned(self) -> frozenset[Partition]:
        return frozenset()

    def take_lost(self) -> frozenset[Partition]:
        lost, self._lost = frozenset(self._lost), set()
        return lost

    def lag(self) -> dict[Partition, int]:
        return {}

    def generation(self) -> int:
        return 1

    def close(self) -> None:
        pass


class HeldDelivery:
    """A send whose fate the test decides."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.error: Exception | None = None
        self._known = threading.Event()

    @property
    def done(self) -> bool:
        return self._known.is_set()

    def wait(self, timeout: float) -> bool:
        return self._known.wait(timeout)

    def settle(self, error: Exception | None = None) -> None:
        self.error = error
        self._known.set()


class HeldProducer:
    """Acknowledges nothing by itself, unless `at_once`."""

    def __init__(self, bus: ScriptedBus) -> None:
        self._bus = bus
        self.closed = False

    def send(self, output: Output, timeout: float | None = None) -> HeldDelivery:
        delivery = HeldDelivery(output)
        if self._bus.at_once:
            delivery.settle()
        with self._bus.sending:
            self._bus.sent.append(delivery)
            self._bus.sending.notify_all()
        return delivery

    def flush(self, timeout: float) -> list[tuple[Output, Exception]]:
        return []

    def close(self) -> None:
        self.closed = True


class ScriptedBus:
    """One consumer with a script, and producers that hold every delivery."""

    def __init__(
        self,
        *polls: tuple[list[Record], Collection[Partition]],
        at_once: bool = True,
    ) -> None:
        self.alive = threading.Event()
        self.scripted = ScriptedConsumer(polls, self.alive)
        self.at_once = at_once
        self.sent: list[HeldDelivery] = []
        self.sending = threading.Condition()
        self.producers: list[HeldProducer] = []

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        pass

    def consumer(
        self, group: str | None, topics: Sequence[str], start: Start = "committed"
    ) -> ScriptedConsumer:
        return self.scripted

    def producer(self) -> HeldProducer:
        self.producers.append(HeldProducer(self))
        return self.producers[-1]

    def read(self, partition: Partition, first: int, last: int) -> list[Record]:
        return []

    def close(self) -> None:
        pass

    def wait_for_sends(self, count: int) -> list[HeldDelivery]:
        """Until so many outputs were handed over."""
        with self.sending:
            assert self.sending.wait_for(lambda: len(self.sent) >= count, 10), "nothing was sent"
            return list(self.sent)

    def wait_for_commit(self, offsets: dict[Partition, int]) -> None:
        """Until these offsets were committed."""
        with self.scripted.changed:
            assert self.scripted.changed.wait_for(lambda: offsets in self.scripted.commits, 10), (
                f"not committed: {self.scripted.commits}"
            )
