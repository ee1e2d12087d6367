"""A client and its place in a group: how it joins, what it loses, when it starts anew.

Lost is sticky: a partition revoked in a rebalance, or lost with the membership, stays in `lost`
until somebody takes note, even if it came back meanwhile. A lost membership closes the client; the
next use opens a new one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition, errors
from kafka import KafkaConsumer as Client
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from shared.bus import Partition, Start
from shared.bus_kafka.connection import client_options
from shared.bus_kafka.offsets import CALL_MS, Offsets
from shared.errors import OperatorError, Transient
from shared.settings import KafkaSettings

log = logging.getLogger(__name__)

SLICE = 1.0
"""Seconds; a client cannot be woken, so it never polls longer than this."""


def consumer_options(settings: KafkaSettings) -> dict[str, Any]:
    """What group members and the reader by offset have in common."""
    return client_options(settings) | {
        "enable_auto_commit": False,
        # 'latest' would skip and 'earliest' would hide what retention took: both are handled here.
        "auto_offset_reset": "none",
        "max_partition_fetch_bytes": settings.fetch_bytes,
        "bootstrap_timeout_ms": CALL_MS,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }


class Membership:
    """One member of a group; with `group=None`, a reader of all partitions."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str | None,
        topics: Sequence[str],
        start: Start,
        offsets: Offsets,
    ) -> None:
        self.client: Client | None = None
        self.lost: set[Partition] = set()
        self.resting = False  # what is assigned meanwhile is paused
        self.generation = 0
        self._settings = settings
        self._group = group
        self._topics = tuple(topics)
        self._start = start
        self._offsets = offsets
        self._evicted = False
        self._member: str | None = None
        self._contact = time.monotonic()

    @property
    def service(self) -> str:
        """Whose member this is, for logs and metrics."""
        return (self._group or "reader").rpartition(".")[2]

    def assigned(self) -> frozenset[Partition]:
        """The partitions that the client reads."""
        client = self.client
        return frozenset(Partition(*p) for p in client.assignment()) if client else frozenset()

    def current(self) -> Client:
        """The client, opened anew if the membership was lost: raises Transient while it cannot."""
        if self.client is not None:
            self.look()
        if self.client is None:
            self.open()
        assert self.client is not None
        return self.client

    def open(self) -> None:
        """Make the client and join; the join itself completes in later polls."""
        options = consumer_options(self._settings)
        if self._group is None:
            client = Client(**options)
            try:
                self._assign_all(client)
            except BaseException:
                client.close()
                raise
            self.client = client
            return
        session = round(self._settings.session_timeout_seconds * 1000)
        self.client = Client(
            group_id=self._group,
            group_instance_id=self._settings.instance,
            partition_assignment_strategy=(CooperativeStickyAssignor,),
            session_timeout_ms=session,
            heartbeat_interval_ms=min(1_000, session // 3),
            max_poll_interval_ms=60_000,
            **options,
        )
        self._contact = time.monotonic()
        self.client.subscribe(self._topics, listener=_Listener(self))
        for topic in self._topics:  # a leader that joins without metadata assigns nothing to all
            self.client.partitions_for_topic(topic)

    def _assign_all(self, client: Client) -> None:
        places = []
        for topic in self._topics:
            numbers = client.partitions_for_topic(topic)
            if not numbers:
                raise OperatorError(f"topic {topic} does not exist")
            places += [TopicPartition(topic, n) for n in sorted(numbers)]
        client.assign(places)
        ends = (
            client.end_offsets(places, timeout_ms=CALL_MS)
            if self._start == "end"
            else client.beginning_offsets(places, timeout_ms=CALL_MS)
        )
        for place in places:
            client.seek(place, ends[place])

    def patience(self, timeout: float) -> float:
        """How long to poll, in seconds: for a whole slice while a join is under way.

        Nothing is delivered meanwhile, and kafka-python throws a join away that ends between two
        polls: with short polls a group would be joining for ever. It also forgets a join that a
        leader began for new metadata if the poll ends in the middle of it; asking again finds it.
        """
        if self._group is None or self.client is None:
            return timeout
        coordinator = self.client._coordinator
        if not coordinator.stable():
            coordinator.request_rejoin()
        return SLICE if coordinator.need_rejoin() else timeout

    def settled(self) -> bool:
        """Whether no join is under way: one that ends outside of `poll` is thrown away."""
        coordinator = self.client._coordinator if self.client is not None else None
        if self._group is None or coordinator is None:
            return coordinator is not None
        return bool(coordinator.stable() and not coordinator.need_rejoin())

    def look(self) -> bool:
        """Whether the group gave this member's partitions away: then the client is closed.

        Raises FencedInstanceIdError if another process has taken this one's static place.
        """
        client = self.client
        if self._group is None or client is None:
            return False
        self._require_place(client)
        now = client.group_metadata()
        if now.generation_id < 0:  # not joined yet, or thrown out
            gone = self._evicted or self._member is not None
        else:
            known, self._member = self._member, now.member_id
            self.generation = max(self.generation, now.generation_id)
            gone = self._evicted or known not in (None, now.member_id)
        if gone:
            log.warning("%s: membership lost, joining again", self.service)
            self.lose(client.assignment())
            self.shut()
        return gone

    def _require_place(self, client: Client) -> None:
        """kafka-python only logs the heartbeat that tells a member that it is fenced.

        It sends none any more and reads on; a join under way is the only other time without.
        """
        coordinator = client._coordinator
        if self._settings.instance is None:
            return
        with coordinator._lock:
            joined = coordinator.stable() and not coordinator.need_rejoin()
            fenced = joined and not coordinator._heartbeat_enabled
        if fenced:
            raise errors.FencedInstanceIdError(self._settings.instance)

    def check_contact(self) -> None:
        """Raise Transient once the group may have given our partitions to others.

        After a session time-out without a heartbeat it may; ingest then has to stop its captures.
        """
        if self._group is None or self.client is None:
            return
        coordinator = self.client._coordinator
        silent = coordinator.stable() and coordinator.heartbeat.session_timeout_expired()
        if not silent and not coordinator.coordinator_unknown():
            self._contact = time.monotonic()
        elif silent or time.monotonic() - self._contact > self._settings.session_timeout_seconds:
            raise Transient(f"no heartbeat for {self._settings.session_timeout_seconds:g} s")

    def shut(self) -> None:
        """Close the client; the next use begins as a new member."""
        client, self.client = self.client, None
        if client is not None:
            with suppress(errors.KafkaError):
                client.close(autocommit=False, timeout_ms=1_000)
        self._member, self._evicted = None, False  # closing tells the listener a last time
        self._offsets.clear()

    # --- called by the listener too, on the client's own thread while `poll` waits for it ---------

    def lose(self, places: Iterable[TopicPartition]) -> None:
        """What these partitions held is another's, or is read anew."""
        partitions = [Partition(*place) for place in places]
        self.lost.update(partitions)
        self._offsets.drop(partitions)

    def _take(self, places: Iterable[TopicPartition]) -> None:
        client = self.client
        if client is None:
            return
        if self.resting:
            client.pause(*places)
        if self._start == "beginning":
            client.seek_to_beginning(*places)
        elif self._start == "end":
            client.seek_to_end(*places)

    def _evict(self, places: Iterable[TopicPartition]) -> None:
        self.lose(places)
        self._evicted = True


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Under the cooperative protocol `revoked` is what the same rebalance did not give back."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._membership._take(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._membership.lose(revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._membership._evict(lost)
