"""The bus inside one process: bounded, partitioned, with consumer groups. For standalone and tests.

A sender waits while a reader has `capacity` records of that partition unread. Unread, not
uncommitted: the classifier leaves its open windows uncommitted, and would deadlock the sender.
What all have committed is kept up to `keep_bytes` a topic (evidence), then dropped, oldest first;
a topic that nobody reads is a ring of that size.

One lock guards everything. Whoever waits is woken only by what it waits for: readers by records for
their group, a sender by room in its partition. With dozens of threads, waking all of them for each
record cost more than the records.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from itertools import islice

from shared.bus import Output, Partition, Record, Standing, Start
from shared.bus_memory.clients import MemoryConsumer, MemoryProducer
from shared.bus_memory.topics import Group, Log, Topic, size_of
from shared.errors import BusClosed, BusFull, OperatorError
from shared.topics import TopicSpec

__all__ = ["MemoryBus", "MemoryConsumer", "MemoryProducer"]


class MemoryBus:
    """See the module's text. `keep` states other bytes than `keep_bytes` for single topics."""

    lasting = False

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
        self.woken = 0
        self._lock = threading.RLock()
        self.changed = threading.Condition(self._lock)  # told of everything; held for anything
        self._topics: dict[str, Topic] = {}
        self._groups: dict[str, Group] = {}
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
            arrived = threading.Condition(self._lock)
            joining = Group(frozenset(topics), arrived, commits=group is not None)
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

    def wake(self) -> None:
        """End every poll that waits now: somebody has set the event that its loop looks at."""
        with self.changed:
            self.woken += 1
            self._tell_all()

    def standing(self, topic: str, key: str, group: str | None = None) -> Standing:
        with self.changed:
            partition = Partition(topic, self._number(key))
            state = self._groups.get(group or "")
            committed = 0 if state is None else state.committed.get(partition, 0)
            return Standing(partition, self.log(partition).end, committed)

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.wake()

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

    def topic(self, name: str) -> Topic:
        if name not in self._topics:
            with self._lock:
                logs = [Log(threading.Condition(self._lock)) for _ in range(self.partitions)]
                self._topics.setdefault(name, Topic(logs))
        return self._topics[name]

    def log(self, partition: Partition) -> Log:
        return self.topic(partition.topic).partitions[partition.number]

    def failing(self, operation: str) -> bool:
        left = self._failures.get(operation, 0)
        self._failures[operation] = max(left - 1, 0)
        return left > 0

    def append(self, output: Output, timeout: float | None) -> None:
        topic = self.topic(output.topic)
        number = self._number(output.key)
        partition = Partition(output.topic, number)
        log = topic.partitions[number]

        def room() -> bool:  # readers may come and go while a sender waits
            return self.closed or all(
                log.end - group.position(partition) < self.capacity
                for group in self._readers(output.topic)
            )

        if not log.room.wait_for(room, timeout):
            raise BusFull(f"{output.topic} has {self.capacity} unread records")
        if self.closed:
            raise BusClosed("the bus is closed")
        now = time.time_ns() // 1_000_000
        record = Record(partition, log.end, output.key, output.value, output.headers, now)
        log.records.append(record)
        topic.bytes += size_of(record)
        self._trim(output.topic, topic)
        for group in self._readers(output.topic):
            group.arrived.notify_all()
        self.changed.notify_all()

    def _number(self, key: str | None) -> int:
        """Dealt out in turn, not hashed: with a partition a camera no two ever meet in one."""
        return self._numbers.setdefault(key, len(self._numbers) % self.partitions)

    def _readers(self, topic: str) -> list[Group]:
        return [g for g in self._groups.values() if topic in g.topics and g.members]

    def _trim(self, name: str, topic: Topic) -> None:
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
            topic.bytes -= size_of(oldest.records.popleft())
            oldest.base += 1

    def _rebalance(self, group: Group) -> None:
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
        self._tell_all()

    def _tell_all(self) -> None:
        for group in self._groups.values():
            group.arrived.notify_all()
        for topic in self._topics.values():
            for log in topic.partitions:
                log.room.notify_all()
        self.changed.notify_all()

    def leave(self, group: Group, member: MemoryConsumer) -> None:
        if member in group.members:
            group.members.remove(member)
            if not group.commits:
                self._groups = {n: g for n, g in self._groups.items() if g is not group}
            self._rebalance(group)
