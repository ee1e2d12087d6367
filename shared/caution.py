"""Records that kill the process: found by what an earlier life left beside the committed offset.

A note `trying:<offset>:<n>` says that the n-th life began there. One is left when a partition is
entered, and the first commit that shows progress takes it away: to find one is mostly an accident.
Whoever finds a second one in the same place steps: one record at a time, decoded no sooner than its
turn, from that offset on with a note for each. So the note names the record if the process dies
again, and what has been begun alone three times is buried. A life that ends in any other way takes
its notes along.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from shared.bus import Consumer, Partition, Record
from shared.progress import Progress

_NOTE = re.compile(r"trying:([0-9]{1,19}):([0-9]{1,9})")
_ACCIDENTS = 2  # lives that ended where they began, before anybody steps
_ALONE = 3  # times that a record is begun alone
_STEPS = 300  # records after the noted one that are begun alone


class _Suspect(NamedTuple):
    offset: int
    begun: int


def _note(offset: int, lives: int) -> str:
    return f"trying:{offset}:{lives}"


class Caution:
    """Reads and leaves the notes of one worker. Only the polling thread uses it."""

    def __init__(self, consumer: Consumer, progress: Progress) -> None:
        self._consumer = consumer
        self._progress = progress
        self._entered: set[Partition] = set()
        self._noted: set[Partition] = set()
        self._suspects: dict[Partition, _Suspect] = {}

    @property
    def active(self) -> bool:
        """Whether to step: nothing may be decoded before its turn."""
        return bool(self._suspects)

    def enter(self, records: Sequence[Record]) -> frozenset[Partition]:
        """To be called before these are decoded. Returns partitions where one must step.

        Raises Transient; then nothing has been entered.
        """
        first = {r.partition: r.offset for r in reversed(records)}
        fresh = {p: offset for p, offset in first.items() if p not in self._entered}
        if not fresh:
            return frozenset()
        kept = self._consumer.committed(fresh.keys())
        found = {
            partition: _Suspect(int(match[1]), int(match[2]))
            for partition, (_, note) in kept.items()
            if (match := _NOTE.fullmatch(note))
        }
        accidents = {p: suspect for p, suspect in found.items() if suspect.begun < _ACCIDENTS}
        begun = {p: _note(offset, 1) for p, offset in fresh.items() if p not in found}
        begun |= {p: _note(offset, lives + 1) for p, (offset, lives) in accidents.items()}
        self._consumer.note(begun)
        # To commit the same again would be no progress, and take the notes away.
        self._progress.commit({partition: offset for partition, (offset, _) in kept.items()})
        self._noted |= fresh.keys()
        self._entered |= fresh.keys()
        suspects = {p: suspect for p, suspect in found.items() if p not in accidents}
        self._suspects |= suspects
        return frozenset(suspects)

    def begin(self, record: Record) -> bool:
        """A record that comes alone is about to be decoded; False: it has killed too often."""
        suspect = self._suspects.get(record.partition)
        if suspect is None or record.offset < suspect.offset:
            return True
        if record.offset > suspect.offset + _STEPS:
            del self._suspects[record.partition]
            return True
        begun = suspect.begun if record.offset == suspect.offset else _ACCIDENTS - 1
        if begun >= _ACCIDENTS + _ALONE - 1:
            return False
        self._consumer.note({record.partition: _note(record.offset, begun + 1)})
        return True

    def survived(self) -> None:
        """Nothing that has been begun has killed the process: take the notes away."""
        if self._noted:
            self._consumer.note(dict.fromkeys(self._noted, ""))
            self._noted.clear()
            self._suspects.clear()

    def leave(self, partitions: Collection[Partition]) -> None:
        """These are another member's now, with whatever note they have."""
        self._entered -= set(partitions)
        self._noted -= set(partitions)
        for partition in partitions:
            self._suspects.pop(partition, None)
