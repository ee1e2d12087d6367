"""What a bus is: the protocol that `bus_memory.py` and `bus_kafka.py` both keep.

A bus carries records in partitioned topics. A record's key (the camera id) decides its partition,
so one camera's records stay in order. One contract suite, `tests/contract/`, runs against both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from shared.errors import Transient
from shared.topics import TopicSpec

Headers = tuple[tuple[str, bytes], ...]
Start = Literal["committed", "beginning", "end"]
_POLL_SECONDS, _SILENT_POLLS = 0.2, 100  # then the bus does not answer


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


class Standing(NamedTuple):
    """How far the partition of a key goes, and how far a group has come in it."""

    partition: Partition
    end: int
    """The offset after the last record."""
    committed: int
    """The next offset that the group has to read; 0 if it has committed none."""


@dataclass(frozen=True, slots=True)
class Record:
    """What was read. `timestamp` is the bus's append time in milliseconds since the epoch."""

    partition: Partition
    offset: int
    key: str | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """What is to be sent."""

    topic: str
    key: str | None
    value: bytes | None
    headers: Headers = field(default=())


class Delivery(Protocol):
    """The fate of one send."""

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; true once the fate is known."""

    @property
    def error(self) -> Exception | None:
        """Why the send failed; None while it is unknown or when the record is durable.

        Transient if sending it again may help; after anything else the worker gives up.
        """

    @property
    def done(self) -> bool:
        """Whether the fate is known."""


class Producer(Protocol):
    """Sends records. One per thread that sends."""

    def send(self, output: Output, timeout: float | None = None) -> Delivery:
        """Hand over one record.

        Waits for room at most `timeout` seconds (None: as long as it takes, or until the bus
        closes), then raises BusFull: live ingest drops at 0, a file waits.
        """

    def flush(self, timeout: float) -> list[tuple[Output, Exception]]:
        """Wait for every send so far; returns those not acknowledged in time, each with why."""

    def close(self) -> None:
        """Give up what is not acknowledged and free everything."""


class Consumer(Protocol):
    """Reads records as one member of a group. Used by one thread only."""

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """Records in partition order; waits at most min(timeout, 1) seconds for the first."""

    def keep_alive(self) -> None:
        """Stay a member of the group without taking records; call at least once a second."""

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        """Store the next offsets to read. False if refused: the partitions are not ours any more.

        Raises Transient if the bus does not answer.
        """

    def note(self, notes: Mapping[Partition, str]) -> None:
        """Leave a word beside the committed offset of each; an empty one, or a commit, removes it.

        Nothing happens where the partitions are not ours any more. Raises Transient.
        """

    def committed(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, str]]:
        """The offset that was committed last and the note beside it, where there is one.

        Raises Transient.
        """

    def rewind(self, partitions: Collection[Partition], *, to_beginning: bool = False) -> None:
        """Read again from the committed offsets (or from the beginning), where still assigned."""

    def assigned(self) -> frozenset[Partition]:
        """The partitions that this member reads now."""

    def take_lost(self) -> frozenset[Partition]:
        """Partitions lost since the last call, those that came back meanwhile included."""

    def lag(self) -> dict[Partition, int]:
        """For each assigned partition: end of the log minus this member's position."""

    def generation(self) -> int:
        """The group's generation: a number that grows with every rebalance."""

    def close(self) -> None:
        """Leave the group. Commits nothing."""


class Bus(Protocol):
    """A place where records are kept."""

    @property
    def lasting(self) -> bool:
        """Whether it outlives this process, so that another one goes on with what is left."""

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Make the topics that are absent; raise OperatorError on a wrong partition count."""

    def consumer(
        self, group: str | None, topics: Sequence[str], start: Start = "committed"
    ) -> Consumer:
        """Join a group, or with `group=None` read all partitions alone.

        `committed` begins where the group left off (at the beginning if it is new), the others at
        the ends of the log, whatever was committed.
        """

    def producer(self) -> Producer:
        """A new producer."""

    def read(self, partition: Partition, first: int, last: int) -> list[Record]:
        """The records first..last (both included) that still exist: evidence by offset."""

    def standing(self, topic: str, key: str, group: str | None = None) -> Standing:
        """Where a key's records go now, and what a group has done of them.

        Raises OperatorError if there is no such topic, Transient if the bus does not answer.
        """

    def close(self) -> None:
        """End every blocked call and free everything."""


class Stage(Protocol):
    """The logic of one service: messages in, outputs out, no clock, no connection of its own."""

    def process(self, batch: Sequence[Received]) -> list[Output]:
        """Take a batch, which may be empty, exactly once and return what is to be sent.

        Runs in a thread of the worker's; no other method is called meanwhile.
        """

    def oldest_needed(self) -> Mapping[Partition, int]:
        """Per partition the oldest offset that a restart would have to read again."""

    def forget(self, partitions: Collection[Partition]) -> None:
        """Drop all state that came from these partitions: they moved, or are read again."""

    def durable(self, outputs: Sequence[Output]) -> None:
        """These outputs of `process` are acknowledged; called in order, before the commit."""

    def close(self) -> None:
        """Free everything."""


@dataclass(frozen=True, slots=True)
class Received:
    """A record with the message that was decoded from it."""

    record: Record
    message: object


Decode = Callable[[Record], object]
"""Makes a message of a record, in any thread and without state; raises InvalidMessage."""


def dead_letter(topic: str, record: Record, reason: str) -> Output:
    """The record untouched, with headers that say where it came from and why it was refused."""
    headers = (
        ("reason", reason.encode()[:1000]),
        ("source-topic", record.partition.topic.encode()),
        ("source-partition", str(record.partition.number).encode()),
        ("source-offset", str(record.offset).encode()),
    )
    return Output(topic, record.key, record.value, record.headers + headers)


def read_to_end(bus: Bus, topic: str) -> Iterator[Record]:
    """All that a topic holds, from its beginning to where it ends by the time it is reached.

    In order per partition. Raises Transient if the bus stops answering.
    """
    consumer = bus.consumer(None, [topic], start="beginning")
    try:
        silent = 0
        while not consumer.assigned() or any(consumer.lag().values()):
            if silent == _SILENT_POLLS:
                raise Transient(f"the rest of {topic} does not come")
            records = consumer.poll(1000, _POLL_SECONDS)
            yield from records
            silent = 0 if records else silent + 1
    finally:
        consumer.close()
