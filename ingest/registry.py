"""The cameras topic as a table: which cameras there are, by partition.

The topic is compacted: whoever reads it from the beginning to its end knows every camera. Until a
partition has been read to its end its cameras are not known, and nothing is concluded from what is
absent; after that each record counts at once. Absence is removal: null values get compacted away.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field

from shared import metrics
from shared.bus import Partition, Record
from shared.cameras import Camera
from shared.errors import InvalidMessage

log = logging.getLogger(__name__)


@dataclass
class _Table:
    """One partition: what is known, and what is being read while it is read anew."""

    cameras: dict[str, Camera] = field(default_factory=dict)
    reading: dict[str, Camera] | None = field(default_factory=dict)


class Registry:
    """Pure: records in, cameras out."""

    def __init__(self) -> None:
        self._tables: dict[Partition, _Table] = {}

    def assigned(self, partitions: Collection[Partition]) -> None:
        """These partitions are ours; they are read from their beginning."""
        for partition in partitions:
            self._tables.setdefault(partition, _Table())

    def lost(self, partitions: Collection[Partition]) -> frozenset[str]:
        """These are not ours any more; returns the cameras that went with them."""
        gone = [self._tables.pop(partition, _Table()) for partition in partitions]
        return frozenset(name for table in gone for name in table.cameras)

    def read_anew(self) -> None:
        """All partitions are about to be read from the beginning; until then nothing changes."""
        for table in self._tables.values():
            table.reading = {}

    def take(self, record: Record) -> None:
        """Take one record. One that is no camera is reported, and what stood before stands."""
        table = self._tables.get(record.partition)
        if table is None or record.key is None:
            return
        target = table.cameras if table.reading is None else table.reading
        if record.value is None:
            target.pop(record.key, None)
            return
        try:
            camera = Camera.from_json(record.value)
            if camera.id != record.key:
                raise InvalidMessage(f"the camera's id is {camera.id!r}, the key another")
        except InvalidMessage as error:
            # Not dead-lettered: the topic is read again and again, and holds it anyway.
            metrics.dead_letters_total.labels("ingest").inc()
            log.warning("camera %r ignored: %s", record.key[:80], error)
            if (before := table.cameras.get(record.key)) is not None:
                target.setdefault(record.key, before)
            return
        target[record.key] = camera

    def caught_up(self, partitions: Collection[Partition]) -> None:
        """These have been read to their end: what was read is what there is."""
        for partition in partitions:
            table = self._tables.get(partition)
            if table is not None and table.reading is not None:
                table.cameras, table.reading = table.reading, None

    @property
    def complete(self) -> bool:
        """Whether every partition has been read to its end."""
        return all(table.reading is None for table in self._tables.values())

    @property
    def partitions(self) -> frozenset[Partition]:
        """The partitions that are ours."""
        return frozenset(self._tables)

    def cameras(self) -> dict[str, Camera]:
        """Every camera known, by id."""
        return {n: camera for table in self._tables.values() for n, camera in table.cameras.items()}
