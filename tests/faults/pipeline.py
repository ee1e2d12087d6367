"""Three small services with real messages, real windows and the real worker, for fault tests.

The vector of a frame is its index, the score of a window says whether its last index lies in a
burst, and an incident lasts as long as the burst: what must come out can be said beforehand.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from classifier.window import Window
from shared.bus import Bus, Output, Partition, Received, Record
from shared.codec import decode, encode
from shared.messages import (
    NANOSECONDS,
    EndOfStream,
    Features,
    Frame,
    FrameReference,
    Prediction,
    Session,
    slot,
)
from shared.settings import WorkerSettings
from shared.topics import Topics
from shared.worker import Route, Worker
from tests.faults.checker import Rules
from tests.faults.crashing import CrashingStage, Fuse

LANE = "street"
FPS = 10.0
SESSION = str(Session(0, 0, live=False))
CAMERAS = ("north", "south")


def transitions(messages: Sequence[Prediction | EndOfStream]) -> Iterable[str]:
    """Ids of the transitions that follow from one session's predictions."""
    opened: str | None = None
    for message in messages:
        score = message.score if isinstance(message, Prediction) else 0.0
        if score > 0.5 and opened is None and isinstance(message, Prediction):
            opened = message.id
            yield f"{opened}:open"
        elif score <= 0.5 and opened is not None:
            yield f"{opened}:closed"
            opened = None


RULES = Rules(LANE, FPS, window=6, stride=3, max_gap=2, transitions=transitions)


def film(
    bus: Bus, topics: Topics, frames: int = 60, absent: Collection[int] = range(33, 38)
) -> None:
    """Send both cameras' sessions, with a counted drop of five frames that restarts the windows."""
    producer = bus.producer()
    for camera in CAMERAS:
        dropped = 0
        for index in range(frames):
            if index in absent:
                dropped += 1
                continue
            frame = Frame(
                camera, SESSION, index, round(index / FPS * NANOSECONDS), False, (), "raw", 1, 1,
                b"rgb", dropped_before={"full": dropped} if dropped else {},
            )  # fmt: skip
            dropped = 0
            producer.send(Output(topics.frames, camera, encode(frame)), 30)
        end = EndOfStream(camera, SESSION, frames, round(frames / FPS * NANOSECONDS), "end")
        producer.send(Output(topics.frames, camera, encode(end)), 30)
    assert producer.flush(30) == []
    producer.close()


class Featurizer:
    """Frames in, one-number vectors out; every seventh frame repeats, every eleventh is missing."""

    def __init__(self, topics: Topics) -> None:
        self._topic = topics.features(LANE)

    def oldest_needed(self) -> Mapping[Partition, int]:
        return {}

    def forget(self, partitions: Collection[Partition]) -> None:
        pass

    def durable(self, outputs: Sequence[Output]) -> None:
        pass

    def close(self) -> None:
        pass

    @staticmethod
    def decode(record: Record) -> object:
        return decode(record.value, Frame, EndOfStream)

    def process(self, batch: Sequence[Received]) -> list[Output]:
        return [
            Output(self._topic, received.record.key, encode(self._of(received)))
            for received in batch
        ]

    def _of(self, received: Received) -> Features | EndOfStream:
        frame = received.message
        if isinstance(frame, EndOfStream):
            return frame
        assert isinstance(frame, Frame)
        step = slot(frame.captured_at, Session.parse(frame.session).started_at, FPS)
        place = FrameReference(received.record.partition.number, received.record.offset)
        given: dict[str, Any] = {"vector": np.array([step], np.float16)}
        if step % 7 == 6 and step % 11 != 0:
            given = {"same_as": step - 1}
        elif step % 11 == 10:
            given = {"missing": "corrupt"}
        return Features(
            LANE, frame.camera_id, frame.session, step, step, frame.captured_at, "f", place, **given
        )


class Classifier:
    """Features in, a prediction for every window that ends."""

    def __init__(self, topics: Topics) -> None:
        self._topic = topics.predictions(LANE)
        self._windows: dict[tuple[Partition, str], Window] = {}

    @staticmethod
    def decode(record: Record) -> object:
        return decode(record.value, Features, EndOfStream)

    def process(self, batch: Sequence[Received]) -> list[Output]:
        outputs: list[Prediction | EndOfStream] = []
        for received in batch:
            message, record = received.message, received.record
            assert isinstance(message, Features | EndOfStream)
            place = (record.partition, message.camera_id)
            if isinstance(message, EndOfStream):
                self._windows.pop(place, None)
                outputs.append(message)
                continue
            fresh = Window(RULES.window, RULES.stride, RULES.max_gap)
            window = self._windows.setdefault(place, fresh)
            for done in window.take(message, record.offset):
                score = 0.9 if 15 <= done.last.index < 30 or done.last.index > 50 else 0.1
                outputs.append(Prediction(
                    LANE, message.camera_id, message.session, done.first.index, done.last.index,
                    done.first.captured_at, done.last.captured_at,
                    {"normal": 1 - score, "fighting": score}, score, (), done.gaps, "c",
                    (done.first.frame, done.last.frame),
                ))  # fmt: skip
        return [Output(self._topic, message.camera_id, encode(message)) for message in outputs]

    def oldest_needed(self) -> Mapping[Partition, int]:
        needed: dict[Partition, int] = {}
        for (partition, _), window in self._windows.items():
            offset = window.oldest_needed()
            if offset is not None:
                needed[partition] = min(offset, needed.get(partition, offset))
        return needed

    def forget(self, partitions: Collection[Partition]) -> None:
        self._windows = {p: w for p, w in self._windows.items() if p[0] not in partitions}

    def durable(self, outputs: Sequence[Output]) -> None:
        pass

    def close(self) -> None:
        pass


class Alerting:
    """Predictions in, transitions out; an open incident pins the prediction that opened it."""

    def __init__(self, topics: Topics) -> None:
        self._topic = topics.anomalies
        self._open: dict[tuple[Partition, str], tuple[int, Prediction]] = {}
        self._last: dict[tuple[Partition, str], int] = {}

    @staticmethod
    def decode(record: Record) -> object:
        return decode(record.value, Prediction, EndOfStream)

    def process(self, batch: Sequence[Received]) -> list[Output]:
        outputs: list[Output] = []
        for received in batch:
            message, record = received.message, received.record
            assert isinstance(message, Prediction | EndOfStream)
            place = (record.partition, message.camera_id)
            at = message.last_index if isinstance(message, Prediction) else 1 << 40
            if at <= self._last.get(place, -1):
                continue
            self._last[place] = at
            alarm = isinstance(message, Prediction) and message.score > 0.5
            if alarm and place not in self._open:
                assert isinstance(message, Prediction)
                self._open[place] = (record.offset, message)
                outputs.append(self._event(message, "open"))
            elif not alarm and place in self._open:
                outputs.append(self._event(self._open.pop(place)[1], "closed"))
        return outputs

    def _event(self, opened: Prediction, state: str) -> Output:
        data = {"id": opened.id, "camera_id": opened.camera_id, "session": opened.session}
        event = {"id": f"{opened.id}:{state}", "data": {**data, "state": state}}
        return Output(self._topic, opened.camera_id, json.dumps(event).encode())

    def oldest_needed(self) -> Mapping[Partition, int]:
        needed: dict[Partition, int] = {}
        for (partition, _), (offset, _) in self._open.items():
            needed[partition] = min(offset, needed.get(partition, offset))
        return needed

    def forget(self, partitions: Collection[Partition]) -> None:
        self._open = {p: o for p, o in self._open.items() if p[0] not in partitions}
        self._last = {p: n for p, n in self._last.items() if p[0] not in partitions}

    def durable(self, outputs: Sequence[Output]) -> None:
        pass

    def close(self) -> None:
        pass


STAGES: dict[str, Any] = {
    "featurizer": Featurizer,
    "classifier": Classifier,
    "alerting": Alerting,
}


def source(service: str, topics: Topics) -> str:
    """The topic that a service reads."""
    return {
        "featurizer": topics.frames,
        "classifier": topics.features(LANE),
        "alerting": topics.predictions(LANE),
    }[service]


def worker(
    bus: Any, topics: Topics, service: str, fuse: Fuse, settings: WorkerSettings,
    stop: threading.Event,
) -> Worker:  # fmt: skip
    """A service's worker, which the fuse may end."""
    make = STAGES[service]
    route = Route(
        service, topics.group(service, LANE), (source(service, topics),), topics.dead_letters
    )
    return Worker(bus, CrashingStage(make(topics), fuse), make.decode, route, settings, stop)
