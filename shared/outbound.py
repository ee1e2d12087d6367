"""Outputs on their way to the bus, batch by batch, each with what may be committed after it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.bus import Bus, Delivery, Output
from shared.errors import BusFull, Fatal, Transient
from shared.patience import SLICE, Patience
from shared.progress import CommitPoint


@dataclass
class Batch:
    """What came out of one batch. A delivery is None until its output is handed over."""

    outputs: Sequence[Output]
    deliveries: list[Delivery | None]
    point: CommitPoint
    since: float

    def durable(self) -> bool:
        """Whether every output is acknowledged."""
        return all(_arrived(delivery) for delivery in self.deliveries)

    def error(self) -> Exception | None:
        """Why one of the outputs failed."""
        return next((d.error for d in self.deliveries if d is not None and d.error), None)


class Outbound:
    """Sends batches in order and says which have arrived; sends again what has not.

    A batch's outputs are kept until all are acknowledged, for the stage cannot make them twice.
    """

    def __init__(self, bus: Bus, patience: Patience, timeout_seconds: float) -> None:
        self._bus = bus
        self._producer = bus.producer()
        self._patience = patience
        self._timeout = timeout_seconds
        self._batches: deque[Batch] = deque()

    def __len__(self) -> int:
        """Batches that have not been taken from `arrived`."""
        return len(self._batches)

    def put(self, outputs: Sequence[Output], point: CommitPoint) -> None:
        """Send one batch's outputs; waits while the bus is full."""
        self._batches.append(Batch(outputs, [None] * len(outputs), point, time.monotonic()))
        try:
            self._hand_over()
        except Transient as error:
            self._send_again(error)

    def arrived(self, keep: int) -> Iterator[Batch]:
        """The batches that have arrived, oldest first; waits while more than `keep` have not.

        A batch counts as taken only when the next one is asked for.
        """
        while self._batches:
            batch = self._batches[0]
            error = batch.error()
            if error is not None:
                self._send_again(error)
            elif batch.durable():
                yield batch
                self._batches.popleft()
            elif len(self._batches) > keep:
                self._wait(batch)
            else:
                return

    def close(self) -> None:
        """Give up what has not arrived."""
        self._producer.close()

    def _wait(self, batch: Batch) -> None:
        for delivery in batch.deliveries:
            if delivery is None:  # handing over was cut short
                self._hand_over()
                return
            if delivery.wait(SLICE):
                continue
            self._patience.tick()
            if time.monotonic() - batch.since > self._timeout:
                self._send_again(f"no acknowledgement within {self._timeout:g} s")
            return

    def _send_again(self, trouble: object) -> None:
        """Begin again with a new producer, for each key from its first output that has not arrived.

        The old producer is closed first, or one of its late sends could overtake the new ones.
        """
        while True:
            if isinstance(trouble, Exception) and not isinstance(trouble, Transient):
                raise Fatal(f"an output can never be sent: {trouble}") from trouble
            self._patience.back_off(trouble)
            try:
                self._producer.close()
                self._take_back()
                self._producer = self._bus.producer()
                self._hand_over()
            except Transient as error:
                trouble = error
            else:
                return

    def _take_back(self) -> None:
        broken: set[tuple[str, str | None]] = set()
        for batch in self._batches:
            batch.since = time.monotonic()
            for i, output in enumerate(batch.outputs):
                key = (output.topic, output.key)
                if not _arrived(batch.deliveries[i]):
                    broken.add(key)
                if key in broken:
                    batch.deliveries[i] = None

    def _hand_over(self) -> None:
        for batch in self._batches:
            for i, output in enumerate(batch.outputs):
                if batch.deliveries[i] is None:
                    batch.deliveries[i] = self._send(output)

    def _send(self, output: Output) -> Delivery:
        while True:
            try:
                return self._producer.send(output, SLICE)
            except BusFull:  # the readers are behind: wait for them, as a file does
                self._patience.tick()


def _arrived(delivery: Delivery | None) -> bool:
    return delivery is not None and delivery.done and delivery.error is None
