"""How far each partition has come: the offsets that the worker keeps, and nothing else.

polled      the offset after the last record that was polled, read again meanwhile or not
done        the offset after the last record that went through the stage
durable     the newest commit point whose outputs have all been acknowledged
committed   what this member has committed
suspect     a failed batch reached up to here: one record at a time until then
buried      offsets that lie in the dead-letter topic already: passed over when read again
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.bus import Partition, Record

Offsets = dict[Partition, int]


class Mark(NamedTuple):
    """A next offset to read, and how often its partition had been lost when it was computed."""

    offset: int
    losses: int


CommitPoint = Mapping[Partition, Mark]
"""What may be committed once the outputs of its batch are durable: a value, never read later."""


@dataclass(slots=True)
class _Track:
    polled: int = 0
    done: int | None = None
    durable: int = -1
    committed: int = -1
    suspect: int = 0
    buried: set[int] = field(default_factory=set)


class Progress:
    """The tracks of all partitions that this member reads."""

    def __init__(self) -> None:
        self._tracks: defaultdict[Partition, _Track] = defaultdict(_Track)
        self._losses: Counter[Partition] = Counter()

    # --- what went through the stage --------------------------------------------------------------

    def expected(self, partition: Partition) -> int | None:
        """The offset that must come next; None if any may, for there is no state yet."""
        return self._tracks[partition].done

    def poll(self, records: Iterable[Record]) -> None:
        """These records were polled."""
        for record in records:
            track = self._tracks[record.partition]
            track.polled = max(track.polled, record.offset + 1)

    def in_hand(self) -> Offsets:
        """Where each partition has to come until everything polled so far is done."""
        return {p: t.polled for p, t in self._tracks.items() if (t.done or 0) < t.polled}

    def reached(self, offsets: Offsets) -> bool:
        """Whether everything before these offsets is done, but for partitions lost meanwhile."""
        tracks = self._tracks
        return all((tracks[p].done or 0) >= at for p, at in offsets.items() if p in tracks)

    def take(self, records: Iterable[Record]) -> None:
        """These records went through the stage, or into the dead letters."""
        for record in records:
            self._tracks[record.partition].done = record.offset + 1

    def point(self, needed: Mapping[Partition, int]) -> CommitPoint:
        """The commit point just now: min(next offset, what the stage still needs)."""
        return {
            partition: Mark(
                min(track.done, needed.get(partition, track.done)), self._losses[partition]
            )
            for partition, track in self._tracks.items()
            if track.done is not None
        }

    def again(self, partitions: Collection[Partition]) -> None:
        """These partitions are read again from the committed offset."""
        for partition in partitions:
            self._tracks[partition].done = None

    def lose(self, partitions: Collection[Partition]) -> None:
        """These partitions belong to another member now."""
        for partition in partitions:
            self._tracks.pop(partition, None)
            self._losses[partition] += 1

    # --- what is durable, what is committed -------------------------------------------------------

    def acknowledge(self, point: CommitPoint) -> None:
        """Everything before this commit point is durable; partitions lost since do not count.

        It never moves back: while records are read again, a commit point lies behind one that
        was right before and therefore is right still.
        """
        for partition, mark in point.items():
            if mark.losses == self._losses[partition]:
                track = self._tracks[partition]
                track.durable = max(track.durable, mark.offset)

    def uncommitted(self) -> Offsets:
        """What is durable and not committed yet."""
        return {p: t.durable for p, t in self._tracks.items() if t.durable > t.committed}

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """The bus has stored these offsets."""
        for partition, offset in offsets.items():
            track = self._tracks[partition]
            track.committed = offset
            track.buried = {at for at in track.buried if at >= offset}

    # --- records that fail ------------------------------------------------------------------------

    @property
    def stepping(self) -> bool:
        """Whether a partition has not come past its failed batch."""
        return any((track.done or 0) < track.suspect for track in self._tracks.values())

    def suspect(self, records: Iterable[Record]) -> None:
        """One of these records made the stage fail."""
        for record in records:
            track = self._tracks[record.partition]
            track.suspect = max(track.suspect, record.offset + 1)

    def suspected(self, record: Record) -> bool:
        """Whether the record was part of a batch that failed."""
        return record.offset < self._tracks[record.partition].suspect

    def bury(self, records: Iterable[Record]) -> None:
        """The dead letters of these records are on their way."""
        for record in records:
            self.bury_at(record.partition, {record.offset})

    def bury_at(self, partition: Partition, offsets: Collection[int]) -> None:
        """The dead letters of the records there are on their way, perhaps since an earlier life."""
        self._tracks[partition].buried.update(offsets)

    def buried(self, record: Record) -> bool:
        """Whether the record is a dead letter already."""
        return record.offset in self._tracks[record.partition].buried
