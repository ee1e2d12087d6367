"""The bus on Kafka. Nothing outside this package imports `kafka`.

`connection` says how a client connects and what Kafka's errors mean, `consumer` and `producer`
keep the protocols of `shared/bus.py`, by the rules of docs/delivery.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaAdminClient, TopicPartition, errors
from kafka import KafkaConsumer as Client
from kafka.admin import OffsetSpec
from kafka.partitioner.default import murmur2

from shared.bus import Partition, Record, Standing, Start
from shared.bus_kafka.connection import client_options, connecting, translated
from shared.bus_kafka.consumer import KafkaConsumer, to_record
from shared.bus_kafka.membership import consumer_options
from shared.bus_kafka.producer import KafkaProducer
from shared.errors import OperatorError, Transient
from shared.settings import KafkaSettings
from shared.topics import DAY, MEBIBYTE, TopicSpec

__all__ = ["KafkaBus"]

_READ_SECONDS = 10.0
_CONNECT_MS = 3_000


class KafkaBus:
    """Connects when first used; `ensure_topics` is meant to be the first use."""

    lasting = True

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._closed = threading.Event()
        self._limits: dict[str, int] = {}  # largest record by topic, where we know it
        self._members: list[KafkaConsumer | KafkaProducer] = []
        self._reader: Client | None = None
        self._reading = threading.Lock()
        self._admin: KafkaAdminClient | None = None
        self._options = client_options(settings)

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Also raises Transient, which says what to do, if no broker answers within seconds."""
        with connecting(self._settings):
            admin = self._administrator()
            names = [spec.name for spec in specs]
            there = _partition_counts(admin, names)
            absent = [spec for spec in specs if spec.name not in there]
            if absent:
                self._create(admin, absent)
                there = _partition_counts(admin, names)
        wanted = self._settings.partitions
        wrong = [f"{name} has {n}" for name, n in sorted(there.items()) if n != wanted]
        if wrong:
            raise OperatorError(
                f"kafka.partitions is {wanted}, but {', '.join(wrong)}: all topics need the same "
                "number of partitions, fixed at creation; set kafka.partitions to theirs, or use "
                "another kafka.prefix"
            )
        self._limits.update({spec.name: spec.max_message_bytes for spec in specs})

    def consumer(
        self, group: str | None, topics: Sequence[str], start: Start = "committed"
    ) -> KafkaConsumer:
        member = KafkaConsumer(self._settings, group, topics, start, self._closed)
        self._keep(member)
        return member

    def producer(self) -> KafkaProducer:
        member = KafkaProducer(
            self._settings, lambda topic: self._limits.get(topic, MEBIBYTE), self._closed
        )
        self._keep(member)
        return member

    def read(self, partition: Partition, first: int, last: int) -> list[Record]:
        place = TopicPartition(*partition)
        with self._reading, translated(f"reading {partition.topic} by offset"):
            if self._reader is None:
                self._reader = Client(**consumer_options(self._settings))
            reader = self._reader
            reader.assign([place])
            timeout = round(_READ_SECONDS * 1000)
            position = max(first, reader.beginning_offsets([place], timeout_ms=timeout)[place])
            end = min(last + 1, reader.end_offsets([place], timeout_ms=timeout)[place])
            reader.seek(place, position)
            records: list[Record] = []
            deadline = time.monotonic() + _READ_SECONDS
            while position < end:
                if self._closed.is_set() or time.monotonic() > deadline:
                    raise Transient(f"offset {position} of {partition} did not come in time")
                polled = reader.poll(timeout_ms=500, max_records=end - position)
                for record in polled.get(place, []):
                    position = record.offset + 1
                    if position <= end:
                        records.append(to_record(record))
            return records

    def standing(self, topic: str, key: str, group: str | None = None) -> Standing:
        with self._reading, translated(f"asking how far {topic} goes"):
            admin = self._administrator()
            count = _partition_counts(admin, [topic]).get(topic)
            if count is None:
                raise OperatorError(f"topic {topic} does not exist")
            place = TopicPartition(topic, (murmur2(key.encode()) & 0x7FFFFFFF) % count)
            end = admin.list_partition_offsets({place: OffsetSpec.LATEST})[place].offset
            committed = -1
            if group is not None:
                stored = admin.list_group_offsets({group: [place]})[group].get(place)
                committed = -1 if stored is None else stored.offset
            return Standing(Partition(*place), end, max(committed, 0))

    def close(self) -> None:
        self._closed.set()
        for member in self._members:
            if isinstance(member, KafkaProducer):
                member.wake()
        for member in self._members:
            member.close()
        with self._reading:
            if self._reader is not None:
                self._reader.close(autocommit=False, timeout_ms=1_000)
                self._reader = None
        if self._admin is not None:
            with suppress(errors.KafkaError):
                self._admin.close()

    def _keep(self, member: KafkaConsumer | KafkaProducer) -> None:
        self._members = [m for m in self._members if not m.closed] + [member]

    def _administrator(self) -> KafkaAdminClient:
        if self._admin is None:
            self._admin = KafkaAdminClient(bootstrap_timeout_ms=_CONNECT_MS, **self._options)
        return self._admin

    def _create(self, admin: KafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
        made = admin.create_topics(
            {spec.name: self._as_kafka_wants(spec) for spec in specs}, raise_errors=False
        )
        for topic in made["topics"]:
            error = errors.for_code(topic["error_code"])
            if error not in (errors.NoError, errors.TopicAlreadyExistsError):
                raise OperatorError(
                    f"Kafka cannot make topic {topic['name']}: {topic['error_message'] or error}"
                )
        admin.wait_for_topics([spec.name for spec in specs])

    def _as_kafka_wants(self, spec: TopicSpec) -> dict[str, Any]:
        replicas = self._settings.replication_factor
        retention = spec.retention_seconds * 1000
        return {
            "num_partitions": self._settings.partitions,
            "replication_factor": replicas,
            "configs": {
                "cleanup.policy": "compact" if spec.compacted else "delete",
                "retention.ms": str(retention),
                # Only whole closed segments are deleted: four of them make retention precise.
                "segment.ms": str(min(retention // 4, 7 * DAY * 1000)),
                # A batch is at most this large, and so is a record.
                "max.message.bytes": str(
                    max(spec.max_message_bytes, self._settings.batch_bytes) + (64 << 10)
                ),
                "min.insync.replicas": str(max(1, replicas - 1)),
                # Age is judged by the broker's clock, not by each camera host's.
                "message.timestamp.type": "LogAppendTime",
            },
        }


def _partition_counts(admin: KafkaAdminClient, topics: Sequence[str]) -> dict[str, int]:
    if not topics:
        return {}  # kafka-python would describe every topic
    found = admin.describe_topics(topics)
    return {t["name"]: len(t["partitions"]) for t in found if t["error_code"] == 0}
