"""The bus inside one process: bounded, partitioned, with consumer groups. For standalone and tests.

A sender waits while a subscribed group has more than `capacity` records of that partition unread.
Unread, not uncommitted: the classifier leaves its open windows uncommitted, and would deadlock the
sender. What every group has committed is kept up to `keep_bytes` a topic (evidence), then dropped.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from shared.bus import Output, Partition, Record, Start
from shared.errors import BusFull, OperatorError, Transient
from shared.topics import TopicSpec


@dataclass
class _Log:
    """One partition: the records from offset `base` on."""

    base: int = 0
    records: deque[Record] = field(default_factory=deque)

    @property
    def end(self) -> int:
        return self.base + len(self.records)


@dataclass
class _Topic:
    partitions: list[_Log]
    bytes: int = 0


@dataclass
class _Group:
    topics: frozenset[str]
    members: list[MemoryConsumer] = field(default_factory=list)
    committed: dict[Partition, int] = field(default_factory=dict)
    generation: int = 0


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    """A send whose fate is known at once."""

    error: Exception | None = None
    done: bool = True

    def wait(self, timeout: float) -> bool:
        return True


class MemoryBus:
    """See the module's text. All state is guarded by one condition."""

    def __init__(
        self, partitions: int = 1, capacity: int = 256, keep_bytes: int = 64 << 20
    ) -> None:
        self.partitions = partitions
        self.capacity = capacity
        self.keep_bytes = keep_bytes
        self.closed = False
        self.changed = threading.Condition()
        self._topics: dict[str, _Topic] = {}
        self._groups: dict[str, _Group] = {}
        self._failures: dict[str, int] = {}
        self._numbers: dict[str | None, int] = {}

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        for spec in specs:
            self.topic(spec.name)

    def producer(self) -> MemoryProducer:
        return MemoryProducer(self)

    def consumer(
        self, group: str | None, topics: Sequence[str], start: Start = "committed"
    ) -> MemoryConsumer:
        with self.changed:
            name = group if group is not None else f"alone-{time.monotonic_ns()}"
            state = self._groups.setdefault(name, _Group(frozenset(topics)))
            if state.topics != frozenset(topics):
                raise OperatorError(f"group {name} already reads {sorted(state.topics)}")
            member = MemoryConsumer(self, state, start)
            state.members.append(member)
            self._rebalance(state)
            return member

    def read(self, partition: Partition, first: int, last: int) -> list[Record]:
        with self.changed:
            log = self.log(partition)
            begin = max(first - log.base, 0)
            return list(islice(log.records, begin, max(last + 1 - log.base, begin)))

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def unread(self, group: str) -> int:
        """Records that no member of the group has taken yet, over all its topics."""
        with self.changed:
            state = self._groups[group]
            reading = _Reading(state)
            return sum(
                self.log(partition).end - reading.position(partition)
                for topic in state.topics
                for partition in (Partition(topic, n) for n in range(self.partitions))
            )

    def fail_next(self, operation: str, times: int = 1) -> None:
        """Make the next `send`, `flush` or `commit` fail with Transient: for fault tests."""
        with self.changed:
            self._failures[operation] = self._failures.get(operation, 0) + times

    # --- for producer and consumer; the caller holds `changed` -----------------------------------

    def topic(self, name: str) -> _Topic:
        with self.changed:
            if name not in self._topics:
                self._topics[name] = _Topic([_Log() for _ in range(self.partitions)])
            return self._topics[name]

    def log(self, partition: Partition) -> _Log:
        return self.topic(partition.topic).partitions[partition.number]

    def failing(self, operation: str) -> bool:
        left = self._failures.get(operation, 0)
        self._failures[operation] = max(left - 1, 0)
        return left > 0

    def append(self, output: Output, timeout: float | None) -> None:
        topic = self.topic(output.topic)
        # Dealt out in turn, not hashed: with a partition a camera no two ever meet in one.
        number = self._numbers.setdefault(output.key, len(self._numbers) % self.partitions)
        partition = Partition(output.topic, number)
        log = topic.partitions[number]
        readers = [g for g in self._groups.values() if output.topic in g.topics and g.members]

        def room() -> bool:
            return self.closed or all(
                log.end - g.position(partition) < self.capacity for g in map(_Reading, readers)
            )

        if not self.changed.wait_for(room, timeout):
            raise BusFull(f"{output.topic} has {self.capacity} unread records")
        if self.closed:
            raise Transient("the bus is closed")
        now = time.time_ns() // 1_000_000
        record = Record(partition, log.end, output.key, output.value, output.headers, now)
        log.records.append(record)
        topic.bytes += _size(record)
        self._trim(output.topic, topic)
        self.changed.notify_all()

    def _trim(self, name: str, topic: _Topic) -> None:
        """Drop the oldest records that every group has committed, beyond `keep_bytes`."""
        readers = [g for g in self._groups.values() if name in g.topics and g.members]
        for number, log in enumerate(topic.partitions):
            partition = Partition(name, number)
            while topic.bytes > self.keep_bytes and log.records:
                if any(g.committed.get(partition, 0) <= log.base for g in readers):
                    break
                topic.bytes -= _size(log.records.popleft())
                log.base += 1

    def _rebalance(self, group: _Group) -> None:
        """Deal the partitions out in turn; members keep what is still theirs."""
        group.generation += 1
        partitions = [Partition(t, n) for t in sorted(group.topics) for n in range(self.partitions)]
        for topic in group.topics:
            self.topic(topic)
        shares: list[set[Partition]] = [set() for _ in group.members]
        for i, partition in enumerate(partitions):
            if shares:
                shares[i % len(shares)].add(partition)
        for member, share in zip(group.members, shares, strict=True):
            member.reassign(share)
        self.changed.notify_all()

    def leave(self, group: _Group, member: MemoryConsumer) -> None:
        if member in group.members:
            group.members.remove(member)
            self._rebalance(group)


class _Reading:
    """How far the members of a group have read."""

    def __init__(self, group: _Group) -> None:
        self._group = group

    def position(self, partition: Partition) -> int:
        for member in self._group.members:
            if partition in member.positions:
                return member.positions[partition]
        return self._group.committed.get(partition, 0)


class MemoryProducer:
    """Sends into a MemoryBus; every send is acknowledged at once."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._failed: list[tuple[Output, Exception]] = []

    def send(self, output: Output, timeout: float | None = None) -> _Acknowledged:
        with self._bus.changed:
            if self._bus.failing("send") or self._bus.failing("flush"):
                error = Transient("made to fail")
                self._failed.append((output, error))
                return _Acknowledged(error)
            self._bus.append(output, timeout)
            return _Acknowledged()

    def flush(self, timeout: float) -> list[tuple[Output, Exception]]:
        failed, self._failed = self._failed, []
        return failed

    def close(self) -> None:
        self._failed.clear()


class MemoryConsumer:
    """One member of a group on a MemoryBus."""

    def __init__(self, bus: MemoryBus, group: _Group, start: Start) -> None:
        self._bus = bus
        self._group = group
        self._start = start
        self._lost: set[Partition] = set()
        self._turn = 0
        self.positions: dict[Partition, int] = {}

    def reassign(self, share: set[Partition]) -> None:
        for partition in self.positions.keys() - share:
            del self.positions[partition]
            self._lost.add(partition)
        for partition in share - self.positions.keys():
            self.positions[partition] = self._first(partition)

    def _first(self, partition: Partition) -> int:
        log = self._bus.log(partition)
        if self._start == "end":
            return log.end
        if self._start == "beginning":
            return log.base
        return max(self._group.committed.get(partition, 0), log.base)

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        bus = self._bus
        with bus.changed:
            bus.changed.wait_for(lambda: bus.closed or any(self.lag().values()), min(timeout, 1))
            records: list[Record] = []
            waiting = [p for p, lag in self.lag().items() if lag]
            self._turn += 1  # who is served first, should there be more partitions than room
            for i in range(len(waiting)):
                partition = waiting[(self._turn + i) % len(waiting)]
                log = bus.log(partition)
                position = max(self.positions[partition], log.base)
                # An equal share of what is left: a camera with a backlog starves no other.
                room = -(-(max_records - len(records)) // (len(waiting) - i))
                taken = list(islice(log.records, position - log.base, position - log.base + room))
                self.positions[partition] = position + len(taken)
                records += taken
            if records:
                bus.changed.notify_all()
            return records

    def keep_alive(self) -> None:
        pass

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        with self._bus.changed:
            if self._bus.failing("commit"):
                raise Transient("made to fail")
            if not offsets.keys() <= self.positions.keys():
                return False
            self._group.committed.update(offsets)
            return True

    def rewind(self, partitions: Collection[Partition], *, to_beginning: bool = False) -> None:
        with self._bus.changed:
            for partition in self.positions.keys() & set(partitions):
                base = self._bus.log(partition).base
                committed = self._group.committed.get(partition, 0)
                self.positions[partition] = base if to_beginning else max(committed, base)

    def assigned(self) -> frozenset[Partition]:
        with self._bus.changed:
            return frozenset(self.positions)

    def take_lost(self) -> frozenset[Partition]:
        with self._bus.changed:
            lost, self._lost = frozenset(self._lost), set()
            return lost

    def lag(self) -> dict[Partition, int]:
        with self._bus.changed:
            return {p: self._bus.log(p).end - at for p, at in self.positions.items()}

    def generation(self) -> int:
        return self._group.generation

    def close(self) -> None:
        with self._bus.changed:
            self._bus.leave(self._group, self)
            self.positions.clear()


def _size(record: Record) -> int:
    return len(record.value or b"") + 100
