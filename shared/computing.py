"""The stage in a thread of its own, and the decoding that runs ahead of it in a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from shared import metrics
from shared.bus import Decode, Output, Partition, Received, Record, Stage
from shared.errors import InvalidMessage
from shared.progress import Progress


@dataclass(frozen=True, slots=True)
class Item:
    """A record on its way to the stage, with the decoding that may still be running."""

    record: Record
    decoding: Future[object] | None


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of one batch: how many messages the stage took, its outputs, the oldest offsets
    that it needs, and what could not be decoded.
    """

    taken: int
    outputs: Sequence[Output]
    needed: Mapping[Partition, int]
    refused: Sequence[tuple[Record, str]]


class Computing:
    """Runs a stage on one batch at a time; whoever submits it waits before touching the stage.

    With `threads` = 0 records are decoded in the stage's thread, when their turn has come.
    """

    def __init__(
        self, name: str, stage: Stage, decode: Decode, progress: Progress, threads: int
    ) -> None:
        self._name = name
        self._stage = stage
        self._decode = decode
        self._progress = progress
        self._thread = ThreadPoolExecutor(1, f"{name}-stage")
        self._decoders = ThreadPoolExecutor(threads, f"{name}-decode") if threads else None

    def item(self, record: Record, *, ahead: bool = True) -> Item:
        """The record, its decoding begun if it may run `ahead` of its turn."""
        if self._decoders is None or not ahead:
            return Item(record, None)
        return Item(record, self._decoders.submit(self._decode, record))

    def submit(self, batch: Sequence[Item]) -> Future[Result]:
        """Decode what is not decoded, and take the batch through the stage."""
        return self._thread.submit(self._compute, batch)

    def close(self) -> None:
        """Start nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._decoders is not None:
            self._decoders.shutdown(wait=False, cancel_futures=True)

    def _compute(self, batch: Sequence[Item]) -> Result:
        received: list[Received] = []
        refused: list[tuple[Record, str]] = []
        for item in batch:
            if self._progress.buried(item.record):
                continue
            try:
                message = item.decoding.result() if item.decoding else self._decode(item.record)
            except InvalidMessage as error:
                refused.append((item.record, str(error)))
            except Exception as error:  # a decoder's own kind of error refuses the record as well
                refused.append((item.record, f"{type(error).__name__}: {error}"))
            else:
                received.append(Received(item.record, message))
        with metrics.stage_seconds.labels(self._name).time():
            outputs = self._stage.process(received)
        return Result(len(received), outputs, self._stage.oldest_needed(), refused)
