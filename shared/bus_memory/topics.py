"""What the memory bus holds: topics of partition logs, and the groups that read them."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.bus import Partition, Record

if TYPE_CHECKING:
    from shared.bus_memory.clients import MemoryConsumer


@dataclass
class Log:
    """One partition: the records from offset `base` on. `room`: a reader has taken some."""

    room: threading.Condition
    base: int = 0
    records: deque[Record] = field(default_factory=deque)

    @property
    def end(self) -> int:
        return self.base + len(self.records)


@dataclass
class Topic:
    """All partitions of one name, and how large their records are together."""

    partitions: list[Log]
    bytes: int = 0


@dataclass
class Group:
    """The members that share topics; a consumer without a group is one of its own.

    `arrived`: there are new records in its topics.
    """

    topics: frozenset[str]
    arrived: threading.Condition
    commits: bool = True
    members: list[MemoryConsumer] = field(default_factory=list)
    committed: dict[Partition, int] = field(default_factory=dict)
    generation: int = 0
    notes: dict[Partition, str] = field(default_factory=dict)

    def position(self, partition: Partition) -> int:
        """How far the members have read."""
        for member in self.members:
            if partition in member.positions:
                return member.positions[partition]
        return self.committed.get(partition, 0)

    def needs(self, partition: Partition) -> int:
        """The oldest offset to keep: a lone reader commits nothing and reads nothing again."""
        return self.committed.get(partition, 0) if self.commits else self.position(partition)


def size_of(record: Record) -> int:
    """Bytes that a record takes, with about a hundred for the object itself."""
    return len(record.value or b"") + 100
