"""Who sends to the memory bus and who reads from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from shared.bus import Output, Partition, Record, Start
from shared.bus_memory.topics import Group
from shared.errors import Transient

if TYPE_CHECKING:
    from shared.bus_memory import MemoryBus


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A send whose fate is known at once."""

    error: Exception | None = None
    done: bool = True

    def wait(self, timeout: float) -> bool:
        return True


class MemoryProducer:
    """Sends into a MemoryBus; every send is acknowledged at once."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._failed: list[tuple[Output, Exception]] = []

    def send(self, output: Output, timeout: float | None = None) -> Acknowledged:
        with self._bus.changed:
            if self._bus.failing("send"):
                raise Transient("made to fail")
            lost = self._bus.failing("flush")
            if not lost:
                self._bus.append(output, timeout)
            if not lost and not self._bus.failing("acknowledge"):
                return Acknowledged()
            error = Transient("made to fail")
            self._failed.append((output, error))
            return Acknowledged(error)

    def flush(self, timeout: float) -> list[tuple[Output, Exception]]:
        failed, self._failed = self._failed, []
        return failed

    def close(self) -> None:
        self._failed.clear()


class MemoryConsumer:
    """One member of a group on a MemoryBus."""

    def __init__(self, bus: MemoryBus, group: Group, start: Start) -> None:
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
        for partition in sorted(share - self.positions.keys()):
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
            woken = bus.woken  # ends this wait, but not those after it: none may spin
            self._group.arrived.wait_for(
                lambda: bus.woken != woken or self._behind(), min(timeout, 1)
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
                log.room.notify_all()
            if records:
                bus.changed.notify_all()
            return records

    def _behind(self) -> bool:
        log = self._bus.log
        return any(log(partition).end > at for partition, at in self.positions.items())

    def keep_alive(self) -> None:
        pass

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        with self._bus.changed:
            if self._bus.failing("commit"):
                raise Transient("made to fail")
            if not offsets.keys() <= self.positions.keys() - self._lost:
                return False
            self._group.committed.update(offsets)
            for partition in offsets:
                self._group.notes.pop(partition, None)
            self._bus.changed.notify_all()
            return True

    def note(self, notes: Mapping[Partition, str]) -> None:
        with self._bus.changed:
            if notes.keys() <= self.positions.keys() - self._lost:
                for partition, note in notes.items():
                    self._group.committed.setdefault(partition, self._bus.log(partition).base)
                    self._group.notes[partition] = note

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, str]]:
        with self._bus.changed:
            group = self._group
            there = group.committed.keys() & set(partitions)
            return {p: (group.committed[p], group.notes.get(p, "")) for p in there}

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
