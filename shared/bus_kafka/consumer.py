"""Reading from Kafka as a member of a group, by DELIVERY.md's rules.

Lost is sticky: a partition revoked in a rebalance, or lost with the membership, is reported by
`take_lost` even if it came back meanwhile. A lost membership closes the client and opens a new one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition, errors
from kafka import KafkaConsumer as Client
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from shared import metrics
from shared.bus import Partition, Record, Start
from shared.bus_kafka.connection import client_options, translated
from shared.errors import OperatorError, Transient
from shared.settings import KafkaSettings

log = logging.getLogger(__name__)

_SLICE = 1.0  # seconds; a client cannot be woken, so it never polls longer than this
_CALL_MS = 3_000  # how long one question to a broker may take
_REFUSED_COMMIT = (
    errors.CommitFailedError,
    errors.RebalanceInProgressError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
)


def consumer_options(settings: KafkaSettings) -> dict[str, Any]:
    """What group members and the reader by offset have in common."""
    return client_options(settings) | {
        "enable_auto_commit": False,
        # 'latest' would skip and 'earliest' would hide what retention took: both are handled here.
        "auto_offset_reset": "none",
        "max_partition_fetch_bytes": settings.fetch_bytes,
        "bootstrap_timeout_ms": _CALL_MS,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }


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
        self._settings = settings
        self._group = group
        self._topics = tuple(topics)
        self._start = start
        self._bus_closed = closed
        self._lock = threading.RLock()  # a client is not thread-safe, and `Bus.close` may come
        self._client: Client | None = None
        self.closed = False
        self._lost: set[Partition] = set()
        self._evicted = False
        self._resting = False
        self._member: str | None = None
        self._generation = 0
        self._stored: dict[Partition, int] = {}  # offsets that this member has committed
        self._rewound: dict[Partition, bool] = {}  # to seek before the next read; True: beginning
        self._contact = time.monotonic()
        with translated("joining"):
            self._open()

    # --- reading ----------------------------------------------------------------------------------

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        with self._lock, translated("reading"):
            if self._ended():
                return []
            client = self._member_client()
            self._seek_rewound(client)
            return self._poll(client, max_records, min(timeout, _SLICE))

    def keep_alive(self) -> None:
        """Polls with everything paused. Trouble is left for the next `poll` to report."""
        with self._lock, suppress(Transient), translated("staying a member"):
            if self._ended():
                return
            client = self._member_client()
            self._resting = True  # partitions that are assigned meanwhile are paused as well
            try:
                client.pause(*client.assignment())
                self._poll(client, 1, 0)
            finally:
                self._resting = False
                if self._client is not None:
                    self._client.resume(*self._client.assignment())

    def _poll(self, client: Client, max_records: int, timeout: float) -> list[Record]:
        if self._group is not None:
            timeout = _patience(client._coordinator, timeout)
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
        if self._membership_lost(client):
            self._leave_membership()
            return []
        records = [to_record(r) for part in polled.values() for r in part]
        if not records:
            self._check_contact(client)
        return records

    def _skip_deleted(self, client: Client, positions: Mapping[TopicPartition, int]) -> None:
        """Retention took what was to be read next: count it and go on at the beginning."""
        beginnings = client.beginning_offsets(list(positions), timeout_ms=_CALL_MS)
        for partition, position in positions.items():
            gone = max(beginnings[partition] - position, 0)
            log.warning("%s/%d: %d records were deleted unread", *partition, gone)
            metrics.lost_to_retention.labels(self._service).inc(gone)
            self._lose([partition])  # what was built from them ends here
            client.seek(partition, beginnings[partition])

    def _follow_truncation(self, client: Client, ends: Mapping[TopicPartition, Any]) -> None:
        """A new leader lacks the newest records that were read: go on where it ends."""
        for partition, end in ends.items():
            log.warning("%s/%d: the log was cut back to %s", *partition, end)
            self._lose([partition])
            if end is None:
                client.seek_to_beginning(partition)
            else:
                client.seek(partition, end.offset)

    @property
    def _service(self) -> str:
        return (self._group or "reader").rpartition(".")[2]

    # --- offsets ----------------------------------------------------------------------------------

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        with self._lock, translated("committing"):
            client = self._client
            if client is None or not offsets.keys() <= self.assigned() - self._lost:
                return False
            if self._group is not None:
                wanted = {
                    TopicPartition(*p): OffsetAndMetadata(at, "", -1) for p, at in offsets.items()
                }
                try:
                    client.commit(wanted, timeout_ms=_CALL_MS)
                except _REFUSED_COMMIT as error:
                    log.info("%s: a commit was refused: %s", self._service, error)
                    return False
            self._stored.update(offsets)
            return True

    def note(self, notes: Mapping[Partition, str]) -> None:
        with self._lock, translated("leaving a note"):
            client = self._client
            if client is None or self._group is None or not notes:
                return
            if not notes.keys() <= self.assigned() - self._lost:
                return
            wanted = {}
            for partition, note in notes.items():
                place = TopicPartition(*partition)
                at = self._committed(client, place)
                if at is None:  # a new group begins at the beginning
                    at = client.beginning_offsets([place], timeout_ms=_CALL_MS)[place]
                wanted[place] = OffsetAndMetadata(at, note, -1)
            try:
                client.commit(wanted, timeout_ms=_CALL_MS)
            except _REFUSED_COMMIT as error:
                log.info("%s: a note was refused: %s", self._service, error)
                return
            self._stored.update({Partition(*p): kept.offset for p, kept in wanted.items()})

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, str]]:
        with self._lock, translated("reading what was committed"):
            client, found = self._client, {}
            if client is None or self._group is None:
                return {}
            for partition in partitions:
                place = TopicPartition(*partition)
                kept = client.committed(place, metadata=True, timeout_ms=_CALL_MS)
                if kept is not None:
                    found[partition] = (kept.offset, kept.metadata or "")
            return found

    def rewind(self, partitions: Collection[Partition], *, to_beginning: bool = False) -> None:
        """Takes effect at the next `poll`, so that it cannot fail while Kafka is away."""
        with self._lock:
            for partition in self.assigned() & set(partitions):
                self._rewound[partition] = to_beginning

    def _seek_rewound(self, client: Client) -> None:
        for partition, to_beginning in list(self._rewound.items()):
            place = TopicPartition(*partition)
            committed = None if to_beginning else self._committed(client, place)
            if committed is None:
                client.seek_to_beginning(place)
            else:
                client.seek(place, committed)
            del self._rewound[partition]

    def _committed(self, client: Client, place: TopicPartition) -> int | None:
        if self._group is None or Partition(*place) in self._stored:
            return self._stored.get(Partition(*place))
        stored: int | None = client.committed(place, timeout_ms=_CALL_MS)
        return stored

    def lag(self) -> dict[Partition, int]:
        """A partition that has not answered yet counts as one behind: never as read to its end."""
        client = self._client
        if client is None:
            return {}
        states = client._subscription.assignment  # KafkaConsumer.position might ask the broker
        return {
            Partition(*place): max(state.highwater - state.position.offset, 0)
            if state.highwater is not None and state.position is not None
            else 1
            for place, state in list(states.items())
        }

    # --- membership -------------------------------------------------------------------------------

    def assigned(self) -> frozenset[Partition]:
        client = self._client
        return frozenset(Partition(*p) for p in client.assignment()) if client else frozenset()

    def take_lost(self) -> frozenset[Partition]:
        with self._lock:
            lost, self._lost = frozenset(self._lost), set()
            return lost

    def generation(self) -> int:
        return self._generation

    def close(self) -> None:
        with self._lock:
            self.closed = True
            self._shut()

    def _ended(self) -> bool:
        return self.closed or self._bus_closed.is_set()

    def _member_client(self) -> Client:
        """The client, opened anew if the membership was lost: raises Transient while it cannot."""
        if self._client is not None and self._membership_lost(self._client):
            self._leave_membership()
        if self._client is None:
            self._open()
        assert self._client is not None
        return self._client

    def _open(self) -> None:
        options = consumer_options(self._settings)
        if self._group is None:
            client = Client(**options)
            try:
                self._assign_all(client)
            except BaseException:
                client.close()
                raise
            self._client = client
            return
        session = round(self._settings.session_timeout_seconds * 1000)
        self._client = Client(
            group_id=self._group,
            partition_assignment_strategy=(CooperativeStickyAssignor,),
            session_timeout_ms=session,
            heartbeat_interval_ms=min(1_000, session // 3),
            max_poll_interval_ms=60_000,
            **options,
        )
        self._contact = time.monotonic()
        self._client.subscribe(self._topics, listener=_Listener(self))
        for topic in self._topics:  # a leader that joins without metadata assigns nothing to all
            self._client.partitions_for_topic(topic)

    def _assign_all(self, client: Client) -> None:
        places = []
        for topic in self._topics:
            numbers = client.partitions_for_topic(topic)
            if not numbers:
                raise OperatorError(f"topic {topic} does not exist")
            places += [TopicPartition(topic, n) for n in sorted(numbers)]
        client.assign(places)
        ends = (
            client.end_offsets(places, timeout_ms=_CALL_MS)
            if self._start == "end"
            else client.beginning_offsets(places, timeout_ms=_CALL_MS)
        )
        for place in places:
            client.seek(place, ends[place])

    def _membership_lost(self, client: Client) -> bool:
        """Whether the group gave this member's partitions away; also notes the generation."""
        if self._group is None:
            return False
        now = client.group_metadata()
        if now.generation_id < 0:  # not joined yet, or thrown out
            return self._evicted or self._member is not None
        known, self._member = self._member, now.member_id
        self._generation = max(self._generation, now.generation_id)
        return self._evicted or known not in (None, now.member_id)

    def _leave_membership(self) -> None:
        log.warning("%s: membership lost, joining again", self._service)
        if self._client is not None:
            self._lose(self._client.assignment())
        self._shut()

    def _shut(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(errors.KafkaError):
                client.close(autocommit=False, timeout_ms=1_000)
        self._member, self._evicted = None, False  # closing tells the listener a last time
        self._stored.clear()
        self._rewound.clear()

    def _check_contact(self, client: Client) -> None:
        """Raise Transient once the group may have given our partitions to others.

        After a session time-out without a heartbeat it may; ingest then has to stop its captures.
        """
        if self._group is None:
            return
        coordinator = client._coordinator
        silent = coordinator.stable() and coordinator.heartbeat.session_timeout_expired()
        if not silent and not coordinator.coordinator_unknown():
            self._contact = time.monotonic()
        elif silent or time.monotonic() - self._contact > self._settings.session_timeout_seconds:
            raise Transient(f"no heartbeat for {self._settings.session_timeout_seconds:g} s")

    # --- called by the listener, on the client's own thread while `poll` waits for it -------------

    def _take(self, places: Iterable[TopicPartition]) -> None:
        client = self._client
        if client is None:
            return
        if self._resting:
            client.pause(*places)
        if self._start == "beginning":
            client.seek_to_beginning(*places)
        elif self._start == "end":
            client.seek_to_end(*places)

    def _lose(self, places: Iterable[TopicPartition]) -> None:
        for place in places:
            partition = Partition(*place)
            self._lost.add(partition)
            self._stored.pop(partition, None)
            self._rewound.pop(partition, None)

    def _evict(self, places: Iterable[TopicPartition]) -> None:
        self._lose(places)
        self._evicted = True


def _patience(coordinator: Any, timeout: float) -> float:
    """How long to poll, in seconds: for a whole slice while a join is under way.

    Nothing is delivered meanwhile, and kafka-python throws a join away that ends between two polls:
    with short polls a group would be joining for ever. It also forgets a join that a leader began
    for new metadata if the poll ends in the middle of it; asking again finds it.
    """
    if not coordinator.stable():
        coordinator.request_rejoin()
    return _SLICE if coordinator.need_rejoin() else timeout


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Under the cooperative protocol `revoked` is what the same rebalance did not give back."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._consumer._take(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._consumer._lose(revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._consumer._evict(lost)


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
