"""A bus and a stage that crash at a point, as a killed process would."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.bus import Bus, Consumer, Delivery, Output, Partition, Producer, Received, Stage, Start

POINTS = ("after process", "after send", "after flush", "before commit", "after commit")
LINGER = 3
"""Outputs that a producer holds back; a crash loses them, as unacknowledged sends may be."""


class Crash(BaseException):
    """The end of the process: nothing in the worker may catch it."""


@dataclass
class Fuse:
    """Crashes when `point` is passed for the `number`-th time."""

    point: str
    number: int
    passed: int = field(default=0, init=False)

    def pass_by(self, point: str) -> None:
        if point == self.point:
            self.passed += 1
            if self.passed == self.number:
                raise Crash(f"{point}, {self.number}")

    @property
    def blown(self) -> bool:
        return self.passed >= self.number


class CrashingStage:
    """The stage, with the point after `process`."""

    def __init__(self, stage: Any, fuse: Fuse) -> None:
        self._stage: Stage = stage
        self._fuse = fuse

    def process(self, batch: Sequence[Received]) -> list[Output]:
        outputs = self._stage.process(batch)
        if outputs:
            self._fuse.pass_by("after process")
        return outputs

    def oldest_needed(self) -> Mapping[Partition, int]:
        return self._stage.oldest_needed()

    def forget(self, partitions: Collection[Partition]) -> None:
        self._stage.forget(partitions)

    def durable(self, outputs: Sequence[Output]) -> None:
        if outputs:
            self._fuse.pass_by("after flush")
        self._stage.durable(outputs)

    def close(self) -> None:
        self._stage.close()


class CrashingBus:
    """A bus whose producers acknowledge late, with the points around send and commit."""

    def __init__(self, bus: Bus, fuse: Fuse) -> None:
        self._bus = bus
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    def producer(self) -> _LateProducer:
        return _LateProducer(self._bus.producer(), self._fuse)

    def consumer(
        self, group: str | None, topics: Sequence[str], start: Start = "committed"
    ) -> _CrashingConsumer:
        return _CrashingConsumer(self._bus.consumer(group, topics, start), self._fuse)


class _CrashingConsumer:
    def __init__(self, consumer: Consumer, fuse: Fuse) -> None:
        self._consumer = consumer
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def commit(self, offsets: Mapping[Partition, int]) -> bool:
        self._fuse.pass_by("before commit")
        done = self._consumer.commit(offsets)
        self._fuse.pass_by("after commit")
        return done


def _fate(delivery: Delivery) -> Exception | None:
    assert delivery.wait(30)
    return delivery.error


class _LateDelivery:
    def __init__(self, producer: _LateProducer) -> None:
        self._producer = producer
        self.done = False
        self.error: Exception | None = None

    def wait(self, timeout: float) -> bool:
        if not self.done:
            self._producer.publish(keep=0)
        return True


class _LateProducer:
    def __init__(self, producer: Producer, fuse: Fuse) -> None:
        self._producer = producer
        self._fuse = fuse
        self._held: list[tuple[Output, _LateDelivery]] = []

    def send(self, output: Output, timeout: float | None = None) -> _LateDelivery:
        self._held.append((output, _LateDelivery(self)))
        self._fuse.pass_by("after send")
        delivery = self._held[-1][1]
        self.publish(keep=LINGER)
        return delivery

    def publish(self, keep: int) -> None:
        while len(self._held) > keep:
            output, delivery = self._held.pop(0)
            delivery.error = _fate(self._producer.send(output, 10))
            delivery.done = True

    def flush(self, timeout: float) -> list[tuple[Output, Exception]]:
        self.publish(keep=0)
        return []

    def close(self) -> None:
        self._held.clear()
