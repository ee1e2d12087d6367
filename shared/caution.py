"""Records that kill the process: found by what an earlier life left beside the committed offset.

A note `trying:<offset>:<n>` says that the n-th life began there. One is left when a partition is
entered, and the first commit that shows progress takes it away: to find one is mostly an accident.
Whoever finds a second one in the same place steps: one record at a time, decoded no sooner than its
turn, from that offset on with a note for each. So the note names the record if the process dies
again, and what has been begun alone three times is buried. What has survived is cleared before
anything else begins, on whatever partition. A life that ends in any other way takes its notes away.

What was buried is named after a second colon, `trying:<offset>:<n>:<offset>+<offset>`: while a
window holds the commit back, the next life reads it again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from shared.bus import Consumer, Partition, Record
from shared.progress import Progress

_NOTE = re.compile(r"trying:([0-9]{1,19}):([0-9]{1,9})(?::([0-9+]+))?")
_NAMED = 100  # buried offsets in a note, which Kafka bounds to 4 KiB
_ACCIDENTS = 2  # lives that ended where they began, before anybody steps
_ALONE = 3  # times that a record is begun alone
_STEPS = 300  # records after the noted one that are begun alone


class _Suspect(NamedTuple):
    offset: int
    begun: int


class Caution:
    """Reads and leaves the notes of one worker. Only the polling thread uses it."""

    def __init__(self, consumer: Consumer, progress: Progress) -> None:
        self._consumer = consumer
        self._progress = progress
        self._entered: set[Partition] = set()
        self._noted: set[Partition] = set()
        self._suspects: dict[Partition, _Suspect] = {}
        self._alone: tuple[Partition, int] | None = None  # begun last, its note still there
        self._buried: defaultdict[Partition, set[int]] = defaultdict(set)

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
        found = {}
        for partition, (committed, note) in kept.items():
            if match := _NOTE.fullmatch(note):
                found[partition] = _Suspect(int(match[1]), int(match[2]))
                named = map(int, filter(None, (match[3] or "").split("+")))
                self._buried[partition] = {offset for offset in named if offset >= committed}
                self._progress.bury_at(partition, self._buried[partition])
        accidents = {p: suspect for p, suspect in found.items() if suspect.begun < _ACCIDENTS}
        begun = {p: self._note(p, offset, 1) for p, offset in fresh.items() if p not in found}
        begun |= {p: self._note(p, at, lives + 1) for p, (at, lives) in accidents.items()}
        self._consumer.note(begun)
        # To commit the same again would be no progress, and take the notes away.
        self._progress.commit({partition: offset for partition, (offset, _) in kept.items()})
        self._noted |= fresh.keys()
        self._entered |= fresh.keys()
        suspects = {p: suspect for p, suspect in found.items() if p not in accidents}
        self._suspects |= suspects
        return frozenset(suspects)

    def begin(self, records: Sequence[Record]) -> bool:
        """These are about to be decoded; False: it is one alone that has killed too often.

        Raises Transient.
        """
        notes = {}
        if self._alone is not None:  # it is done: whatever kills now, it was not that one
            place, offset = self._alone
            notes[place] = self._note(place, offset, _ACCIDENTS)
        place, offset = records[0].partition, records[0].offset
        begun = self._begun_alone(records[0]) if len(records) == 1 else None
        guilty = begun is not None and begun >= _ACCIDENTS + _ALONE - 1
        if begun is not None and not guilty:
            notes[place] = self._note(place, offset, begun + 1)
        if notes:
            self._consumer.note(notes)
        self._alone = None if begun is None or guilty else (place, offset)
        return not guilty

    def bury(self, record: Record) -> None:
        """Its dead letter has arrived: later lives pass it over."""
        self._buried[record.partition].add(record.offset)

    def _begun_alone(self, record: Record) -> int | None:
        """How often so far, by the notes; None if its partition is not suspected, or not there."""
        suspect = self._suspects.get(record.partition)
        if suspect is None or record.offset < suspect.offset or self._progress.buried(record):
            return None
        if record.offset > suspect.offset + _STEPS:
            del self._suspects[record.partition]
            return None
        return suspect.begun if record.offset == suspect.offset else _ACCIDENTS - 1

    def survived(self) -> None:
        """Nothing that has been begun has killed the process: take the notes away."""
        if self._noted:
            self._consumer.note(dict.fromkeys(self._noted, ""))
            self._noted.clear()
            self._suspects.clear()
            self._buried.clear()
            self._alone = None

    def leave(self, partitions: Collection[Partition]) -> None:
        """These are another member's now, with whatever note they have."""
        self._entered -= set(partitions)
        self._noted -= set(partitions)
        for partition in partitions:
            self._suspects.pop(partition, None)
            self._buried.pop(partition, None)
        if self._alone is not None and self._alone[0] in partitions:
            self._alone = None

    def _note(self, partition: Partition, offset: int, lives: int) -> str:
        named = sorted(self._buried[partition])[-_NAMED:]
        return f"trying:{offset}:{lives}" + (":" + "+".join(map(str, named)) if named else "")
