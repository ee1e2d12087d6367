"""Where a group stands: what this member has committed, and where it reads again from."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping

from kafka import KafkaConsumer as Client
from kafka import OffsetAndMetadata, TopicPartition, errors
from kafka.consumer.subscription_state import TopicPartitionState

from shared.bus import Partition

log = logging.getLogger(__name__)

CALL_MS = 3_000
"""How long one question to a broker may take."""
ENDS_EVERY = 5.0
"""Seconds between two questions where the logs end.

A client knows the end of a partition as of its last fetch, and fetches again only when it has
handed out what it holds: of small records that is thousands, a minute's work under load.
"""
_ENDS_MS = 1_000  # whoever waits longer does not poll often enough
_REFUSED = (
    errors.CommitFailedError,
    errors.RebalanceInProgressError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
)


class Offsets:
    """The offsets of one member; without a group they are kept here alone.

    Whoever calls holds the member's lock, and has seen that the partitions are its own.
    """

    def __init__(self, group: str | None) -> None:
        self._group = group
        self._stored: dict[Partition, int] = {}  # what this member has committed
        self._rewound: dict[Partition, bool] = {}  # to seek before the next read; True: beginning
        self._ends: dict[TopicPartition, int] = {}
        self._asked = time.monotonic()

    def commit(self, client: Client, offsets: Mapping[Partition, int]) -> bool:
        """Store them; False if the group refuses, for the partitions are another's now."""
        wanted = {TopicPartition(*p): OffsetAndMetadata(at, "", -1) for p, at in offsets.items()}
        if self._group is not None and not self._write(client, wanted):
            return False
        self._stored.update(offsets)
        return True

    def note(self, client: Client, notes: Mapping[Partition, str]) -> None:
        """Leave a word beside each committed offset, if the group does not refuse."""
        wanted = {}
        for partition, note in notes.items():
            place = TopicPartition(*partition)
            at = self._committed(client, place)
            if at is None:  # a new group begins at the beginning
                at = client.beginning_offsets([place], timeout_ms=CALL_MS)[place]
            wanted[place] = OffsetAndMetadata(at, note, -1)
        if self._write(client, wanted):
            self._stored.update({Partition(*p): kept.offset for p, kept in wanted.items()})

    def committed(
        self, client: Client, partitions: Collection[Partition]
    ) -> dict[Partition, tuple[int, str]]:
        """What the group has stored, and the note beside it."""
        found = {}
        for partition in partitions:
            kept = client.committed(TopicPartition(*partition), metadata=True, timeout_ms=CALL_MS)
            if kept is not None:
                found[partition] = (kept.offset, kept.metadata or "")
        return found

    def rewind(self, partitions: Collection[Partition], *, to_beginning: bool) -> None:
        """Read these again. It takes effect in `go_back`, so that it cannot fail."""
        self._rewound |= dict.fromkeys(partitions, to_beginning)

    def to_go_back(self) -> frozenset[Partition]:
        """What `go_back` will seek."""
        return frozenset(self._rewound)

    def go_back(self, client: Client) -> None:
        """Seek what is to be read again; if Kafka does not answer, the rest is done next time."""
        for partition, to_beginning in list(self._rewound.items()):
            place = TopicPartition(*partition)
            committed = None if to_beginning else self._committed(client, place)
            if committed is None:
                client.seek_to_beginning(place)
            else:
                client.seek(place, committed)
            del self._rewound[partition]

    def ask_for_ends(self, client: Client) -> None:
        """Ask the brokers where the logs end, if it is time to; no answer is no trouble."""
        if time.monotonic() - self._asked < ENDS_EVERY or not client.assignment():
            return
        self._asked = time.monotonic()
        try:
            self._ends = client.end_offsets(client.assignment(), timeout_ms=_ENDS_MS)
        except errors.KafkaError as error:
            log.debug("%s: the ends of the logs are not known: %s", self._group, error)

    def left(self, place: TopicPartition, state: TopicPartitionState) -> int:
        """How many records are still to be read; 1 where nobody has said yet."""
        known = [end for end in (state.highwater, self._ends.get(place)) if end is not None]
        if state.position is None or not known:
            return 1
        position: int = state.position.offset
        return max(*known, position) - position

    def drop(self, partitions: Iterable[Partition]) -> None:
        """These belong to another member now."""
        for partition in partitions:
            self._stored.pop(partition, None)
            self._rewound.pop(partition, None)

    def clear(self) -> None:
        """The membership is over."""
        self._stored.clear()
        self._rewound.clear()

    def _write(self, client: Client, wanted: Mapping[TopicPartition, OffsetAndMetadata]) -> bool:
        try:
            client.commit(wanted, timeout_ms=CALL_MS)
        except _REFUSED as error:
            log.info("%s: a commit was refused: %s", self._group, error)
            return False
        return True

    def _committed(self, client: Client, place: TopicPartition) -> int | None:
        if self._group is None or Partition(*place) in self._stored:
            return self._stored.get(Partition(*place))
        stored: int | None = client.committed(place, timeout_ms=CALL_MS)
        return stored
