"""The bus inside one process: bounded, partitioned, with consumer groups. For standalone and tests.

A sender waits while a reader has `capacity` records of that partition unread. Unread, not
uncommitted: the classifier leaves its open windows uncommitted, and would deadlock the sender.
What all have committed is kept up to `keep_bytes` a topic (evidence), then dropped, oldest first;
a topic that nobody reads is a ring of that size.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from shared.bus import Output, Partition, Record, Start
from shared.errors import BusClosed, BusFull, OperatorError, Transient
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
    """The members that share topics; a consumer without a group is one of its own."""

    topics: frozenset[str]
    commits: bool = True
    members: list[MemoryConsumer] = field(default_factory=list)
    committed: dict[Partition, int] = field(default_factory=dict)
    generation: int = 0

    def position(self, partition: Partition) -> int:
        """How far the members have read."""
        for member in self.members:
            if partition in member.positions:
                return member.positions[partition]
        return self.committed.get(partition, 0)

    def needs(self, partition: Partition) -> int:
        """The oldest offset to keep: a lone reader commits nothing and reads nothing again."""
        return self.committed.get(partition, 0) if self.commits else self.position(partition)


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    """A send whose fate is known at once."""

    error: Exception | None = None
    done: bool = True

    def wait(self, timeout: float) -> bool:
        return True


class MemoryBus:
    """See the module's text. `keep` states other bytes than `keep_bytes` for single topics."""

    def __init__(
        self,
        partitions: int = 1,
        capacity: int = 256,
        keep_bytes: int = 64 << 20,
        keep: Mapping[str, int] | None = None,
    ) -> None:
        self.partitions = partitions
        self.capacity = capacity
        self.keep_bytes = keep_bytes
        self.keep = dict(keep or {})
        self.closed = False
        self.changed = threading.Condition()  # guards everything here and in the consumers
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
            joining = _Group(frozenset(topics), commits=group is not None)
            name = f"alone-{id(joining)}" if group is None else group
            state = self._groups.setdefault(name, joining)
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
            return sum(
                self.log(partition).end - state.position(partition)
                for topic in state.topics
                for partition in (Partition(topic, n) for n in range(self.partitions))
            )

    def fail_next(self, operation: str, times: int = 1) -> None:
        """Make the next calls of one kind fail, for tests.

        `send`, `commit`, `poll`: the call raises Transient. `flush`: the send is lost and its
        delivery says so. `acknowledge`: it is not lost, but its delivery says so all the same.
        """
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

        def room() -> bool:  # readers may come and go while a sender waits
            return self.closed or all(
                log.end - group.position(partition) < self.capacity
                for group in self._readers(output.topic)
            )

        if not self.changed.wait_for(room, timeout):
            raise BusFull(f"{output.topic} has {self.capacity} unread records")
        if self.closed:
            raise BusClosed("the bus is closed")
        now = time.time_ns() // 1_000_000
        record = Record(partition, log.end, output.key, output.value, output.headers, now)
        log.records.append(record)
        topic.bytes += _size(record)
        self._trim(output.topic, topic)
        self.changed.notify_all()

    def _readers(self, topic: str) -> list[_Group]:
        return [g for g in self._groups.values() if topic in g.topics and g.members]

    def _trim(self, name: str, topic: _Topic) -> None:
        """Drop the oldest records that no reader needs, beyond the bytes that the topic keeps."""
        readers = self._readers(name)
        while topic.bytes > self.keep.get(name, self.keep_bytes):
            free = [
                log
                for number, log in enumerate(topic.partitions)
                if log.records and all(g.needs(Partition(name, number)) > log.base for g in readers)
            ]
            if not free:
                return
            oldest = min(free, key=lambda log: log.records[0].timestamp)
            topic.bytes -= _size(oldest.records.popleft())
            oldest.base += 1

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
            if not group.commits:
                self._groups = {n: g for n, g in self._groups.items() if g is not group}
            self._rebalance(group)


class MemoryProducer:
    """Sends into a MemoryBus; every send is acknowledged at once."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._failed: list[tuple[Output, Exception]] = []

    def send(self, output: Output, timeout: float | None = None) -> _Acknowledged:
        with self._bus.changed:
            if self._bus.failing("send"):
                raise Transient("made to fail")
            lost = self._bus.failing("flush")
            if not lost:
                self._bus.append(output, timeout)
            if not lost and not self._bus.failing("acknowledge"):
                return _Acknowledged()
            error = Transient("made to fail")
            self._failed.append((output, error))
            return _Acknowledged(error)

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
            if bus.failing("poll"):
                raise Transient("made to fail")
            closed = bus.closed  # closing ends this wait, but not those after it: none may spin
            bus.changed.wait_for(
                lambda: bus.closed != closed or any(self.lag().values()), min(timeout, 1)
            )
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
            if not offsets.keys() <= self.positions.keys() - self._lost:
                return False
            self._group.committed.update(offsets)
            self._bus.changed.notify_all()
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
