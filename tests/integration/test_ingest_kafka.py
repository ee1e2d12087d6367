"""Cameras by consumer group, on a real Kafka: they move when a worker comes or dies."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from ingest.settings import IngestSettings
from ingest.stage import IngestWorker
from shared.bus import Output
from shared.bus_kafka import KafkaBus
from shared.cameras import Camera
from shared.codec import decode
from shared.messages import EndOfStream, Frame, Session
from shared.settings import KafkaSettings
from shared.topics import Topics

pytestmark = pytest.mark.kafka

NAMES = [f"camera-{number}" for number in range(6)]


class Workers:
    """Ingest workers with a bus each, and all frames that came."""

    def __init__(self, settings: KafkaSettings, topics: Topics) -> None:
        self.settings = settings
        self.topics = topics
        self.bus = KafkaBus(settings)
        self.bus.ensure_topics(topics.specs("street"))
        self._view = self.bus.consumer(None, [topics.frames], start="beginning")
        self.sessions: dict[str, list[str]] = {name: [] for name in NAMES}
        self.ends: list[EndOfStream] = []
        self._running: dict[IngestWorker, tuple[KafkaBus, threading.Event, threading.Thread]] = {}

    def start(self) -> IngestWorker:
        bus, stop = KafkaBus(self.settings), threading.Event()
        worker = IngestWorker(bus, self.topics, IngestSettings(), stop)
        thread = threading.Thread(target=worker.run)
        self._running[worker] = (bus, stop, thread)
        thread.start()
        return worker

    def stop(self, worker: IngestWorker) -> None:
        bus, stop, thread = self._running.pop(worker)
        stop.set()
        thread.join(40)
        assert not thread.is_alive()
        bus.close()

    def say(self, name: str, camera: Camera | None) -> None:
        producer = self.bus.producer()
        value = None if camera is None else camera.to_json()
        producer.send(Output(self.topics.cameras, name, value))
        assert producer.flush(20) == []
        producer.close()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, [w.statuses() for w in self._running]
            for record in self._view.poll(1000, 0.2):
                message = decode(record.value, Frame, EndOfStream)
                if isinstance(message, EndOfStream):
                    self.ends.append(message)
                elif message.session not in self.sessions[message.camera_id]:
                    self.sessions[message.camera_id].append(message.session)

    def close(self) -> None:
        for worker in list(self._running):
            self.stop(worker)
        self.bus.close()


@pytest.fixture
def workers(kafka: str) -> Iterator[Workers]:
    settings = KafkaSettings(bootstrap_servers=kafka, partitions=8, session_timeout_seconds=6)
    place = Workers(settings, Topics(f"ingest-{uuid.uuid4().hex[:10]}"))
    yield place
    place.close()


def ids(worker: IngestWorker) -> set[str]:
    return {status.id for status in worker.statuses() if status.state == "up"}


@pytest.mark.timeout(240)
def test_cameras_are_shared_out_move_and_go(workers: Workers) -> None:
    for name in NAMES:
        source = "synthetic://street?fps=5&detail=tiny&seed=1"
        workers.say(name, Camera(id=name, source=source, fps=5))
    first = workers.start()
    workers.until(lambda: ids(first) == set(NAMES))
    second = workers.start()
    workers.until(lambda: bool(ids(second)) and ids(first) | ids(second) == set(NAMES))
    assert not ids(first) & ids(second)
    kept, moved = ids(first), ids(second)
    workers.until(lambda: all(len(workers.sessions[name]) == 2 for name in moved))
    assert all(len(workers.sessions[name]) == 1 for name in kept)  # these went on undisturbed
    for name in moved:
        before, after = (Session.parse(text) for text in workers.sessions[name])
        assert before < after
    assert workers.ends == []

    workers.say(NAMES[0], None)
    workers.until(lambda: len(workers.ends) == 1)
    assert (workers.ends[0].camera_id, workers.ends[0].reason) == (NAMES[0], "stopped")

    workers.stop(second)
    workers.until(lambda: ids(first) == set(NAMES[1:]))
    workers.until(lambda: len(workers.ends) == len({NAMES[0], *moved}))
    assert {end.reason for end in workers.ends} == {"stopped"}
