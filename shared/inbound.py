"""Batches on their way from the bus to the stage, and partitions that come and go meanwhile."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Collection, Iterable
from contextlib import suppress

from shared import metrics
from shared.bus import Consumer, Partition, Record, Stage
from shared.caution import Caution
from shared.computing import Computing, Item
from shared.errors import Transient
from shared.progress import Progress

log = logging.getLogger(__name__)

_POLL_AT_LEAST_EVERY = 0.5  # seconds; a member that does not poll holds up its whole group


class Inbound:
    """Polls batches ahead of the stage and hands them out in order.

    What comes from a partition that is lost or read again is taken out of every batch at once, so
    whatever `take` returns is to be processed.
    """

    def __init__(
        self,
        name: str,
        consumer: Consumer,
        stage: Stage,
        computing: Computing,
        progress: Progress,
        caution: Caution,
    ) -> None:
        self._name = name
        self._caution = caution
        self._consumer = consumer
        self._stage = stage
        self._computing = computing
        self._progress = progress
        self._batches: deque[list[Item]] = deque()
        self._to_forget: set[Partition] = set()
        self._to_rewind: set[Partition] = set()
        self._last_poll = time.monotonic()

    def __len__(self) -> int:
        """Batches in hand."""
        return len(self._batches)

    def fill(self, limit: int, timeout: float, company: float) -> bool:
        """Poll one batch; whether any record came.

        Waits `timeout` seconds for the first record, and from then on `company` for the others.
        """
        batch: list[Item] = []
        self._batches.append(batch)  # at once, so that what is lost meanwhile is taken out of it
        batch += self._poll(limit, timeout)
        deadline = time.monotonic() + company
        while batch and len(batch) < limit and (left := deadline - time.monotonic()) > 0:
            batch += self._poll(limit - len(batch), left)
        if not batch:
            self._batches.pop()
        return bool(batch)

    def take(self) -> list[Item]:
        """The oldest batch, cut before a record at which its partition jumps; [] if there is none.

        A jump means that the position moved: the stage forgets that partition first.
        """
        self._go_back()
        if not self._batches:
            return []
        batch = self._batches[0]
        end = len(batch)
        due: dict[Partition, int | None] = {}
        for i, record in enumerate(item.record for item in batch):
            place = record.partition
            expected = due.get(place, self._progress.expected(place))
            jump = 0 if expected is None else record.offset - expected
            if jump and i > 0:
                end = i
                break
            if jump:
                log.warning("%s: %s/%d jumped by %+d", self._name, *place, jump)
                metrics.lost_to_retention.labels(self._name).inc(max(jump, 0))
                self._stage.forget({place})
            due[place] = record.offset + 1
        if end < len(batch):
            self._batches[0] = batch[end:]
        else:
            self._batches.popleft()
        return batch[:end]

    def read_again(
        self, records: Iterable[Record], besides: Iterable[tuple[str, int]] = ()
    ) -> None:
        """Forget these partitions, and go back to their committed offsets."""
        partitions = {record.partition for record in records} | {Partition(*p) for p in besides}
        self._drop(partitions)
        self._to_rewind |= partitions

    def keep_alive(self) -> None:
        """Stay a member while the stage computes."""
        if time.monotonic() - self._last_poll > _POLL_AT_LEAST_EVERY:
            self._last_poll = time.monotonic()
            with suppress(Transient):  # the next poll meets it again, and backs off
                self._consumer.keep_alive()

    def let_go(self) -> frozenset[Partition]:
        """Drop what belongs to partitions lost since; only while the stage is idle."""
        lost = self._consumer.take_lost()
        if lost:
            log.info("%s: lost %s", self._name, ", ".join(f"{t}/{n}" for t, n in sorted(lost)))
            self._drop(lost)
            self._progress.lose(lost)
            self._caution.leave(lost)
        return lost

    def _poll(self, limit: int, timeout: float) -> list[Item]:
        self._go_back()
        records = self._consumer.poll(limit, timeout)
        self._last_poll = time.monotonic()
        lost = self.let_go()
        # A lost partition may be ours again, and these records from before or from after: they are
        # dropped and read again. Where there are none it is left alone: its position may have been
        # set for a reason, such as a committed offset that retention has overtaken.
        self._to_rewind |= {record.partition for record in records} & lost
        kept = [record for record in records if record.partition not in lost]
        try:
            suspected = self._caution.enter(kept)
        except Transient:
            self._to_rewind |= {record.partition for record in kept}
            raise
        if suspected:  # polled in bulk: from now on one record is polled at a time
            self._to_rewind |= suspected
            kept = [record for record in kept if record.partition not in suspected]
        self._progress.poll(kept)
        ahead = not self._caution.active
        return [self._computing.item(record, ahead=ahead) for record in kept]

    def _drop(self, partitions: Collection[Partition]) -> None:
        for batch in self._batches:
            batch[:] = [item for item in batch if item.record.partition not in partitions]
        self._progress.again(partitions)
        self._to_forget |= set(partitions)

    def _go_back(self) -> None:
        """Forget and rewind what has to be, before anything else is polled or processed.

        If the stage or the bus cannot just now, this is done again after the back-off.
        """
        if self._to_forget:
            self._stage.forget(self._to_forget)
            self._to_forget = set()
        if self._to_rewind:
            self._consumer.rewind(self._to_rewind)
            self._to_rewind = set()
