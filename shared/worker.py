"""The only loop in the system: records from a bus through a stage and back to the bus.

1. fill a batch: wait at most a second for the first record, then start the batch clock;
2. drop what belongs to partitions lost since, and tell the stage to forget them;
3. decode and process, once; a record that cannot be decoded is dead-lettered alone;
4. send the outputs; when all are acknowledged they are durable;
5. then commit this batch's commit point: min(next offset, what the stage needed right after it).

Neighbouring batches overlap: while one is computed the next is decoded in a thread pool and the
outputs of the last ones are on their way. Offsets are committed in order, each after its own
outputs are durable.

The stage computes in a thread of its own, so that the polling thread can keep polling. It waits
meanwhile: stage and consumer are never used by two threads at once, and what was lost during the
computation is forgotten after it.

    inbound.py    1, 2: batches from the bus     outbound.py  4: outputs until they are durable
    computing.py  3: decoding and the stage      progress.py  the offsets of each partition
    burial.py     dead letters                   patience.py  waiting and backing off
    caution.py    records that kill the process
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from shared import metrics
from shared.burial import Burial
from shared.bus import Bus, Decode, Record, Stage
from shared.caution import Caution
from shared.computing import Computing, Item
from shared.errors import CitywatchError, Fatal, OperatorError, StateLost, Transient
from shared.inbound import Inbound
from shared.outbound import Outbound
from shared.patience import SLICE, Patience, Undone
from shared.progress import Progress
from shared.settings import WorkerSettings

log = logging.getLogger(__name__)

_FAILURES_IN_A_ROW = 10  # of single records: then the stage is at fault, not the records
_IDLE_SECONDS = 1.0  # the stage is called that often when nothing comes
_MEASURE_EVERY = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Route:
    """Where a worker reads and where it puts what it cannot use."""

    service: str
    group: str
    topics: tuple[str, ...]
    dead_letters: str


class Worker:
    """Runs one stage until `stop` is set; then finishes what is in hand, commits and closes.

    `healthy` is set while records flow; `/readyz` shows it.
    """

    def __init__(
        self,
        bus: Bus,
        stage: Stage,
        decode: Decode,
        route: Route,
        settings: WorkerSettings,
        stop: threading.Event,
    ) -> None:
        self.healthy = threading.Event()
        self._name = name = route.service
        self._stage = stage
        self._settings = settings
        self._stop = stop
        self._consumer = bus.consumer(route.group, route.topics)
        self._progress = Progress()
        self._computing = Computing(name, stage, decode, self._progress, settings.decode_threads)
        self._caution = Caution(self._consumer, self._progress)
        self._inbound = Inbound(
            name, self._consumer, stage, self._computing, self._progress, self._caution
        )
        timeout = settings.delivery_timeout_seconds
        self._patience = Patience(name, stop, timeout, self._stay_member, self.healthy)
        self._outbound = Outbound(bus, self._patience, timeout)
        self._burial = Burial(name, route.dead_letters, settings.max_dead_letters_per_minute)
        self._failures = 0  # of single records, since one went through
        self._last_commit = self._last_measure = time.monotonic()

    def run(self) -> None:
        """Loop until stopped. Raises Fatal when going on would lose or bury records."""
        try:
            self.healthy.set()
            while not self._stop.is_set():
                try:
                    self._turn()
                except Transient as error:
                    self._patience.back_off(error)
            self._finish()
        except (Undone, Transient) as error:
            log.warning("%s: stopping with work undone, to be repeated: %s", self._name, error)
            self._survive()
        except Fatal:
            self._patience.ending()
            with suppress(CitywatchError):  # so that a restart begins after what is durable
                self._settle(keep=0)
                self._commit(now=True)
            self._survive()
            raise
        except Exception:
            self._survive()
            raise
        finally:
            self.healthy.clear()
            self._close()

    def _survive(self) -> None:
        """Whatever ends this life, it is no record that killed the process."""
        with suppress(CitywatchError):
            self._caution.survived()

    def _turn(self) -> None:
        # First, so that what is on its way is looked after even while nothing else succeeds.
        self._settle(keep=self._settings.in_flight)
        self._commit()
        hold = 1 if self._caution.active else 2
        came = len(self._inbound) < hold and self._fill(wait=not self._inbound)
        if came and len(self._inbound) < hold:
            return  # the next batch is filled, and its decoding begun, before this one's turn
        self._process(self._inbound.take())
        self._measure()
        if not self._outbound:
            self._patience.recovered()

    def _finish(self) -> None:
        """Finish what was polled, even if it fails now and has to be read again; then commit."""
        in_hand = self._progress.in_hand()
        log.info("%s: stopping; what is in hand is finished first", self._name)
        while self._inbound or not self._progress.reached(in_hand):
            self._patience.tick()
            try:
                if not self._inbound:
                    self._fill(wait=True)
                self._process(self._inbound.take())
            except Transient as error:
                self._patience.back_off(error)
        self._settle(keep=0)
        self._commit(now=True)
        self._caution.survived()
        log.info("%s: everything in hand is sent and committed", self._name)

    def _fill(self, *, wait: bool) -> bool:
        stepping = self._progress.stepping or self._caution.active
        limit = 1 if stepping else self._settings.max_records
        first = _IDLE_SECONDS if wait else 0.0
        return self._inbound.fill(limit, first, self._settings.max_wait_seconds)

    def _process(self, batch: Sequence[Item]) -> None:
        """Take one batch through the stage, once, and send what comes out."""
        records = [item.record for item in batch]
        self._begin(records)
        computing = self._computing.submit(batch)
        while not wait([computing], SLICE).done:
            self._inbound.keep_alive()
        try:
            result = computing.result()
        except Transient as error:
            lost = error.partitions if isinstance(error, StateLost) else ()
            self._inbound.read_again(records, lost)
            raise
        except (Fatal, OperatorError):
            raise
        except Exception as error:
            self._failed(records, error)
            return
        metrics.records_total.labels(self._name).inc(len(records))
        if result.taken:
            self._failures = 0
        self._progress.take(records)
        letters = [self._burial.letter(record, reason) for record, reason in result.refused]
        self._progress.bury(record for record, _ in result.refused)
        self._outbound.put([*letters, *result.outputs], self._progress.point(result.needed))

    def _begin(self, records: Sequence[Record]) -> None:
        """Leave a note of a record that may kill the process, or bury one that did."""
        try:
            if not records and not any(self._consumer.lag().values()):
                self._caution.survived()
            elif records and not self._caution.begin(records):
                reason = "the process died each time this record alone was being processed"
                self._outbound.put([self._burial.letter(records[0], reason)], {})
                self._progress.bury(records)
                self._settle(keep=0)
                self._caution.bury(records[0])
        except Transient:
            self._inbound.read_again(records)
            raise

    def _failed(self, records: Sequence[Record], error: Exception) -> None:
        """`process` failed: forget, rewind, go past this batch singly, bury what fails then.

        What failed once is read again before it is buried, for its state may have been at fault.
        """
        if not records:
            raise Fatal(f"{self._name}: failed without input: {error!r}") from error
        if len(records) == 1 and self._progress.suspected(records[0]):
            self._failures += 1
            if self._failures > _FAILURES_IN_A_ROW:
                raise Fatal(f"{self._name}: everything fails, at last with {error!r}") from error
            reason = f"{type(error).__name__}: {error}"
            self._outbound.put([self._burial.letter(records[0], reason, error)], {})
            self._progress.bury(records)
        else:
            log.warning("%s: %d records failed, stepping: %r", self._name, len(records), error)
            self._progress.suspect(records)
        self._inbound.read_again(records)

    def _settle(self, keep: int) -> None:
        """Wait until at most `keep` batches are on their way."""
        for batch in self._outbound.arrived(keep):
            self._stage.durable(batch.outputs)
            self._progress.acknowledge(batch.point)
            self._patience.recovered()

    def _commit(self, *, now: bool = False) -> None:
        elapsed = time.monotonic() - self._last_commit
        if not now and elapsed < self._settings.commit_interval_seconds:
            return
        self._last_commit = time.monotonic()
        self._inbound.let_go()
        offsets = self._progress.uncommitted()
        if offsets and self._consumer.commit(offsets):
            self._progress.commit(offsets)
        elif offsets:  # not ours any more: whoever owns the partitions now repeats the work
            metrics.refused_commits_total.labels(self._name).inc()

    def _stay_member(self) -> None:
        """What every wait does but the one for the stage."""
        self._inbound.keep_alive()
        self._inbound.let_go()

    def _measure(self) -> None:
        if time.monotonic() - self._last_measure > _MEASURE_EVERY:
            self._last_measure = time.monotonic()
            metrics.lag_records.labels(self._name).set(sum(self._consumer.lag().values()))

    def _close(self) -> None:
        with ExitStack() as closing:  # from the last to the first, each whatever the others raise
            closing.callback(self._stage.close)
            closing.callback(self._consumer.close)
            closing.callback(self._outbound.close)
            closing.callback(self._computing.close)
