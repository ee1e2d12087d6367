"""The only loop in the system: records from a bus through a stage and back to the bus.

1. fill a batch: wait at most a second for the first record, then start the batch clock;
2. drop what belongs to partitions lost since, and tell the stage to forget them;
3. decode and process, once; a record that cannot be decoded is dead-lettered alone;
4. send the outputs; when all are acknowledged they are durable;
5. then commit this batch's commit point: min(next offset, what the stage needed right after it).

Neighbouring batches overlap: while one is computed the next is decoded in a thread pool and the
outputs of the last ones are on their way. Offsets are committed in order, each after its own
outputs are durable. Only the polling thread touches the consumer and the stage.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from shared import metrics
from shared.bus import (
    Bus,
    Decode,
    Delivery,
    Output,
    Partition,
    Received,
    Record,
    Stage,
    dead_letter,
)
from shared.errors import Fatal, InvalidMessage, TooManyDeadLetters, Transient
from shared.settings import WorkerSettings

log = logging.getLogger(__name__)

_POLL_AT_LEAST_EVERY = 0.5  # seconds; a member that does not poll holds up its whole group
_MAX_BACKOFF = 10.0


@dataclass
class _Batch:
    """Records on their way to the stage, each with the decoding that may still be running."""

    records: list[Record]
    epochs: Mapping[Partition, int]
    decoding: list[Future[object]] = field(default_factory=list)


@dataclass
class _Sent:
    """Outputs on their way to the bus, and what may be committed once all have arrived."""

    outputs: list[Output]
    deliveries: list[Delivery]
    commit_point: Mapping[Partition, int]
    epochs: Mapping[Partition, int]
    since: float


class Worker:
    """Runs one stage until `stop` is set; then finishes the batch in hand, commits and closes."""

    def __init__(
        self,
        bus: Bus,
        stage: Stage,
        decode: Decode,
        route: Route,
        settings: WorkerSettings,
        stop: threading.Event,
    ) -> None:
        self._bus = bus
        self._stage = stage
        self._decode = decode
        self._route = route
        self._settings = settings
        self._stop = stop
        self._consumer = bus.consumer(route.group, route.topics)
        self._producer = bus.producer()
        self._pool = (
            ThreadPoolExecutor(settings.decode_threads, f"{route.service}-decode")
            if settings.decode_threads
            else None
        )
        self._next: dict[Partition, int] = {}  # the offset expected next
        self._epoch: dict[Partition, int] = {}  # how often a partition was lost
        self._committed: dict[Partition, int] = {}
        self._sent: deque[_Sent] = deque()
        self._step_until: dict[Partition, int] = {}  # one record at a time up to here
        self._poison: dict[tuple[Partition, int], str] = {}
        self._buried: deque[float] = deque()  # when dead letters were written
        self._last_commit = 0.0
        self._last_poll = 0.0
        self._attempt = 0
        self.healthy = threading.Event()  # set while records flow; /readyz shows it

    def run(self) -> None:
        """Loop until stopped. Raises Fatal when going on would lose or bury records."""
        in_hand: _Batch | None = None
        try:
            self.healthy.set()
            while not self._stop.is_set():
                try:
                    following = self._fill(wait=in_hand is None)
                    if in_hand is not None or not following.records:
                        self._process(in_hand or following, following)
                    in_hand = following if following.records else None
                    self._settle(keep=self._settings.in_flight)
                    self._recovered()
                except Transient as error:
                    in_hand = None
                    self._start_over(error)
            if in_hand is not None:
                self._process(in_hand, in_hand)
            self._settle(keep=0)
            self._commit(self._last_point(), force=True)
        except Transient as error:
            log.warning("%s: stopping with work undone, to be repeated: %s", self._name, error)
        finally:
            self.healthy.clear()
            self._close()

    @property
    def _name(self) -> str:
        return self._route.service

    # --- 1, 2: fill, and let go of what was lost --------------------------------------------------

    def _fill(self, *, wait: bool) -> _Batch:
        limit = 1 if self._stepping() else self._settings.max_records
        records = self._poll(limit, 1.0 if wait else 0.0)
        deadline = time.monotonic() + self._settings.max_wait_seconds
        while records and len(records) < limit and not self._stop.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            records += self._poll(limit - len(records), left)
        records = [r for r in records if r.partition not in self._lost_while_filling]
        self._lost_while_filling = set()
        batch = _Batch(records, dict(self._epoch))
        if self._pool is not None:
            batch.decoding = [self._pool.submit(self._decode, r) for r in records]
        return batch

    _lost_while_filling: set[Partition] = set()

    def _poll(self, limit: int, timeout: float) -> list[Record]:
        records = self._consumer.poll(limit, timeout)
        self._last_poll = time.monotonic()
        self._let_go()
        for record in records:
            expected = self._next.get(record.partition)
            if expected is not None and record.offset != expected:
                skipped = record.offset - expected
                log.warning("%s: %s moved by %+d", self._name, record.partition, skipped)
                metrics.lost_to_retention.labels(self._name).inc(max(skipped, 0))
                self._stage.forget({record.partition})
            self._next[record.partition] = record.offset + 1
        return records

    def _let_go(self) -> None:
        lost = self._consumer.take_lost()
        if not lost:
            return
        log.info("%s: lost %s", self._name, ", ".join(f"{t}/{n}" for t, n in sorted(lost)))
        self._lost_while_filling = self._lost_while_filling | lost
        for partition in lost:
            self._epoch[partition] = self._epoch.get(partition, 0) + 1
        self._drop_state(lost)

    def _drop_state(self, partitions: Collection[Partition]) -> None:
        self._stage.forget(partitions)
        for partition in partitions:
            self._next.pop(partition, None)
            self._committed.pop(partition, None)

    # --- 3, 4: process, send ----------------------------------------------------------------------

    def _process(self, batch: _Batch, following: _Batch) -> None:
        """Take one batch through the stage and send what comes out.

        `following` has already been polled: what the stage has not seen yet must not be committed.
        """
        received, outputs = self._received(batch)
        started = time.monotonic()
        try:
            outputs += self._stage.process(received)
        except (Transient, Fatal):
            raise
        except Exception as error:
            self._step(batch, following, error)
            return
        metrics.stage_seconds.labels(self._name).observe(time.monotonic() - started)
        metrics.records_total.labels(self._name).inc(len(batch.records))
        point = dict(self._next)
        if following is not batch:
            for record in reversed(following.records):
                point[record.partition] = record.offset
        for partition, offset in self._stage.oldest_needed().items():
            point[partition] = min(offset, point.get(partition, offset))
        self._bury(outputs)
        deliveries = [self._producer.send(output) for output in outputs]
        now = time.monotonic()
        self._sent.append(_Sent(outputs, deliveries, point, dict(self._epoch), now))

    def _received(self, batch: _Batch) -> tuple[list[Received], list[Output]]:
        received: list[Received] = []
        refused: list[Output] = []
        for i, record in enumerate(batch.records):
            if self._epoch.get(record.partition, 0) != batch.epochs.get(record.partition, 0):
                continue  # lost since it was polled
            reason = self._poison.pop((record.partition, record.offset), None)
            try:
                if reason is not None:
                    raise InvalidMessage(reason)
                message = batch.decoding[i].result() if batch.decoding else self._decode(record)
            except InvalidMessage as error:
                refused.append(dead_letter(self._route.dead_letters, record, str(error)))
                log.warning("%s: %s offset %d refused: %s",
                            self._name, record.partition, record.offset, error)  # fmt: skip
            else:
                received.append(Received(record, message))
        return received, refused

    def _step(self, batch: _Batch, following: _Batch, error: Exception) -> None:
        """`process` failed: forget, rewind, and go one record at a time past this batch."""
        records = batch.records
        if not records:
            raise Fatal(f"{self._name}: failed without input: {error!r}") from error
        if len(records) == 1:
            reason = f"{type(error).__name__}: {error}"
            log.exception("%s: %s offset %d is poison",
                          self._name, records[0].partition, records[0].offset)  # fmt: skip
            self._poison[records[0].partition, records[0].offset] = reason
        else:
            log.warning("%s: a batch of %d failed, stepping: %r", self._name, len(records), error)
        for record in records:
            self._step_until[record.partition] = record.offset + 1
        self._rewind({r.partition for r in [*records, *following.records]})

    def _stepping(self) -> bool:
        done = [p for p, end in self._step_until.items() if self._next.get(p, 0) >= end]
        for partition in done:
            # Only once the record before the end has gone through the stage may it leave.
            if self._poison and any(p == partition for p, _ in self._poison):
                continue
            del self._step_until[partition]
        return bool(self._step_until)

    def _rewind(self, partitions: Collection[Partition]) -> None:
        self._settle(keep=0)
        self._commit(self._last_point(), force=True)
        self._drop_state(partitions)
        self._consumer.rewind(partitions)

    def _bury(self, outputs: Iterable[Output]) -> None:
        now = time.monotonic()
        for output in outputs:
            if output.topic == self._route.dead_letters:
                metrics.dead_letters_total.labels(self._name).inc()
                self._buried.append(now)
        while self._buried and self._buried[0] < now - 60:
            self._buried.popleft()
        limit = self._settings.max_dead_letters_per_minute
        if len(self._buried) > limit:
            raise TooManyDeadLetters(
                f"{self._name}: more than {limit} dead letters within a minute; look at "
                f"{self._route.dead_letters} before starting again"
            )

    # --- 5: wait for acknowledgements, commit -----------------------------------------------------

    _point: Mapping[Partition, int] | None = None
    _point_epochs: Mapping[Partition, int] = {}

    def _settle(self, keep: int) -> None:
        """Finish the oldest sends until at most `keep` batches are unacknowledged."""
        while self._sent:
            sent = self._sent[0]
            if not all(d.done for d in sent.deliveries):
                if len(self._sent) <= keep:
                    break
                self._await(sent)
            if any(d.error is not None for d in sent.deliveries):
                self._send_again()
                continue
            self._sent.popleft()
            self._stage.durable(sent.outputs)
            self._point, self._point_epochs = sent.commit_point, sent.epochs
        self._commit(self._last_point())

    def _await(self, sent: _Sent) -> None:
        for delivery in sent.deliveries:
            while not delivery.wait(0.2):
                self._stay_member()
                if time.monotonic() - sent.since > self._settings.delivery_timeout_seconds:
                    self._send_again()
                    return

    def _send_again(self) -> None:
        """Close the producer and send again, per key, from the first unacknowledged output on."""
        errors = [d.error for s in self._sent for d in s.deliveries if d.error is not None]
        log.warning("%s: sending again: %s", self._name, errors[0] if errors else "no answer")
        self._back_off()
        self._producer.close()
        self._producer = self._bus.producer()
        broken: set[tuple[str, str | None]] = set()
        for sent in self._sent:
            for i, output in enumerate(sent.outputs):
                delivery = sent.deliveries[i]
                if not delivery.done or delivery.error is not None:
                    broken.add((output.topic, output.key))
                if (output.topic, output.key) in broken:
                    sent.deliveries[i] = self._producer.send(output)
            sent.since = time.monotonic()

    def _last_point(self) -> Mapping[Partition, int]:
        """The newest commit point that is durable, without partitions lost since."""
        point, epochs = self._point or {}, self._point_epochs
        return {p: at for p, at in point.items() if self._epoch.get(p, 0) == epochs.get(p, 0)}

    def _commit(self, point: Mapping[Partition, int], *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._last_commit < self._settings.commit_interval_seconds:
            return
        moved = {p: at for p, at in point.items() if self._committed.get(p) != at}
        self._last_commit = now
        if not moved:
            return
        if self._consumer.commit(moved):
            self._committed.update(moved)
        else:  # not ours any more: whoever owns the partitions now repeats the work
            metrics.refused_commits_total.labels(self._name).inc()

    # --- trouble ----------------------------------------------------------------------------------

    def _start_over(self, error: Transient) -> None:
        """The bus or a store is away: wait, then read again from the committed offsets."""
        log.warning("%s: %s; trying again", self._name, error)
        self.healthy.clear()
        self._back_off()
        try:
            self._rewind(set(self._next))
        except Transient as again:
            log.debug("%s: still away: %s", self._name, again)

    def _back_off(self) -> None:
        """Wait with jitter, longer each time, and keep polling meanwhile."""
        self._attempt += 1
        wait = min(0.1 * 2**self._attempt, _MAX_BACKOFF) * random.uniform(0.5, 1)
        until = time.monotonic() + wait
        while (left := until - time.monotonic()) > 0 and not self._stop.wait(min(left, 0.2)):
            self._stay_member()

    def _recovered(self) -> None:
        if self._attempt and not self._sent:
            self._attempt = 0
        self.healthy.set()

    def _stay_member(self) -> None:
        if time.monotonic() - self._last_poll > _POLL_AT_LEAST_EVERY:
            self._consumer.keep_alive()
            self._last_poll = time.monotonic()
            self._let_go()

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._producer.close()
        self._consumer.close()
        self._stage.close()


@dataclass(frozen=True, slots=True)
class Route:
    """Where a worker reads and where it puts what it cannot use."""

    service: str
    group: str
    topics: tuple[str, ...]
    dead_letters: str
