"""Reading from Kafka as a member of a group, by the rules of docs/delivery.md.

`membership` knows the client and what it lost, `offsets` what it has committed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaConsumer as Client
from kafka import TopicPartition, errors

from shared import metrics
from shared.bus import Partition, Record, Start
from shared.bus_kafka.connection import translated
from shared.bus_kafka.membership import SLICE, Membership
from shared.bus_kafka.offsets import CALL_MS, Offsets
from shared.errors import Transient
from shared.settings import KafkaSettings

log = logging.getLogger(__name__)


class KafkaConsumer:
    """One member of a group; with `group=None`, a reader of all partitions."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str | None,
        topics: Sequence[str],
        start: Start,
        closed: threading.Event,
    ) -> None:
        self._group = group
        self._bus_closed = closed
        self._lock = threading.RLock()  # a client is not thread-safe, and `Bus.close` may come
        self.closed = False
        self._offsets = Offsets(group)
        self._membership = Membership(settings, group, topics, start, self._offsets)
        with translated("joining"):
            self._membership.open()

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        with self._lock, translated("reading"):
            if self._ended():
                return []
            client = self._membership.current()
            self._offsets.go_back(client)
            return self._poll(client, max_records, min(timeout, SLICE))

    def keep_alive(self) -> None:
        """Polls with everything paused. Trouble is left for the next `poll` to report."""
        membership = self._membership
        with self._lock, suppress(Transient), translated("staying a member"):
            if self._ended():
                return
            client = membership.current()
            membership.resting = True  # partitions that are assigned meanwhile are paused as well
            try:
                client.pause(*client.assignment())
                self._poll(client, 1, 0)
            finally:
                membership.resting = False
                if membership.client is not None:
                    membership.client.resume(*membership.client.assignment())

    def _poll(self, client: Client, max_records: int, timeout: float) -> list[Record]:
        timeout = self._membership.patience(timeout)
        try:
            polled = client.poll(timeout_ms=round(timeout * 1000), max_records=max_records)
        except errors.NoOffsetForPartitionError as error:  # a new group begins at the beginning
            client.seek_to_beginning(*(p for p in error.args[0] if p in client.assignment()))
            return []
        except errors.OffsetOutOfRangeError as error:
            self._skip_deleted(client, error.args[0])
            return []
        except errors.LogTruncationError as error:
            self._follow_truncation(client, error.divergent_offsets)
            return []
        if self._membership.look():
            return []
        records = [to_record(r) for part in polled.values() for r in part]
        if not records:
            self._membership.check_contact()
        if self._membership.settled():
            self._offsets.ask_for_ends(client)
        return records

    def _skip_deleted(self, client: Client, positions: Mapping[TopicPartition, int]) -> None:
        """Retention took what was to be read next: count it and go on at the beginning."""
        beginnings = client.beginning_offsets(list(positions), timeout_ms=CALL_MS)
        for partition, position in positions.items():
            gone = max(beginnings[partition] - position, 0)
            log.warning("%s/%d: %d records were deleted unread", *partition, gone)
            metrics.lost_to_retention.labels(self._membership.service).inc(gone)
            self._membership.lose([partition])  # what was built from them ends here
            client.seek(partition, beginnings[partition])

    def _follow_truncation(self, client: Client, ends: Mapping[TopicPartition, Any]) -> None:
        """A new leader lacks the newest records that were read: go on where it ends."""
        for partition, end in ends.items():
            log.warning("%s/%d: the log was cut back to %s", *partition, end)
            self._membership.lose([partition])
            if end is None:
                client.seek_to_beginning(partition)
            else:
                client.seek(partition, end.offset)

    # --- offsets ----------------------------------------------------------------------------------

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        with self._lock, translated("committing"):
            client = self._owner_of(offsets)
            return client is not None and self._offsets.commit(client, offsets)

    def note(self, notes: Mapping[Partition, str]) -> None:
        with self._lock, translated("leaving a note"):
            client = self._owner_of(notes)
            if client is not None and self._group is not None and notes:
                self._offsets.note(client, notes)

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, str]]:
        with self._lock, translated("reading what was committed"):
            client = self._membership.client
            if client is None or self._group is None:
                return {}
            return self._offsets.committed(client, partitions)

    def rewind(self, partitions: Collection[Partition], *, to_beginning: bool = False) -> None:
        """Takes effect at the next `poll`, so that it cannot fail while Kafka is away."""
        with self._lock:
            self._offsets.rewind(self.assigned() & set(partitions), to_beginning=to_beginning)

    def _owner_of(self, partitions: Collection[Partition]) -> Client | None:
        """The client, if all of these are ours and none was lost since the last `take_lost`."""
        ours = self.assigned() - self._membership.lost
        return self._membership.client if set(partitions) <= ours else None

    # --- membership -------------------------------------------------------------------------------

    def assigned(self) -> frozenset[Partition]:
        return self._membership.assigned()

    def take_lost(self) -> frozenset[Partition]:
        with self._lock:
            lost = frozenset(self._membership.lost)
            self._membership.lost.clear()
            return lost

    def lag(self) -> dict[Partition, int]:
        """A partition that has not answered yet, or is to be read again, is never at its end."""
        client = self._membership.client
        if client is None:
            return {}
        states = client._subscription.assignment  # KafkaConsumer.position might ask the broker
        left = self._offsets.left
        lag = {Partition(*place): left(place, state) for place, state in list(states.items())}
        return lag | dict.fromkeys(self._offsets.to_go_back() & lag.keys(), 1)

    def generation(self) -> int:
        return self._membership.generation

    def close(self) -> None:
        with self._lock:
            self.closed = True
            self._membership.shut()

    def _ended(self) -> bool:
        return self.closed or self._bus_closed.is_set()


def to_record(record: Any) -> Record:
    """Our record from kafka-python's; its bytes may be anybody's, so nothing here can fail."""
    return Record(
        Partition(record.topic, record.partition),
        record.offset,
        None if record.key is None else record.key.decode(errors="surrogateescape"),
        record.value,
        tuple((name, value or b"") for name, value in record.headers),
        record.timestamp,
    )
