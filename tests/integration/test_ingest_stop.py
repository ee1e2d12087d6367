"""An ingest worker that is stopped in the middle of a recording, beside a live camera."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.outbox import Outbox
from ingest.settings import IngestSettings
from ingest.stage import IngestWorker
from shared.bus import Bus, Output
from shared.bus_kafka import KafkaBus
from shared.bus_memory import MemoryBus
from shared.cameras import Camera
from shared.codec import decode
from shared.messages import EndOfStream, Frame
from shared.settings import KafkaSettings
from shared.topics import Topics
from tests.support.videos import write_video
from tests.support.window_service import until

FRAMES = 60


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def bus(request: pytest.FixtureRequest) -> Iterator[Bus]:
    if request.param == "memory":
        bus: Bus = MemoryBus(partitions=4, capacity=10_000)
    else:
        address = request.getfixturevalue("kafka")
        bus = KafkaBus(KafkaSettings(bootstrap_servers=address, partitions=4))
    yield bus
    bus.close()


class Seen:
    """All messages of one camera, as a reader of frames gets them."""

    def __init__(self, bus: Bus, topics: Topics) -> None:
        self._view = bus.consumer(None, [topics.frames], "beginning")
        self.messages: dict[str, list[Frame | EndOfStream]] = {"film": [], "gate": []}

    def look(self) -> None:
        for record in self._view.poll(1000, 0.1):
            message = decode(record.value, Frame, EndOfStream)
            self.messages[message.camera_id].append(message)

    def ends(self, camera: str) -> list[str]:
        return [m.reason for m in self.messages[camera] if isinstance(m, EndOfStream)]

    def indices(self, camera: str) -> set[int]:
        return {m.index for m in self.messages[camera] if isinstance(m, Frame)}


def test_only_what_nobody_goes_on_with_is_said_to_end(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Kafka the next owner plays the recording again; on a memory bus there is none."""
    topics, stop = Topics(f"stop-{uuid.uuid4().hex[:10]}"), threading.Event()
    bus.ensure_topics(topics.specs("street"))
    seen = Seen(bus, topics)
    film = write_video(tmp_path / "film.mp4", FRAMES / 15, 15.0)
    cameras = [
        Camera(id="film", source=str(film)),
        Camera(id="gate", source="synthetic://street?fps=5&detail=tiny&seed=1", fps=5),
    ]
    producer = bus.producer()
    for camera in cameras:
        producer.send(Output(topics.cameras, camera.id, camera.to_json()))
    assert producer.flush(20) == []
    offer = Outbox.offer

    def half_a_film(outbox: Outbox, output: Output) -> bool:
        message = decode(output.value, Frame, EndOfStream)
        late = message.camera_id == "film" and message.index >= FRAMES / 2
        return not (late and isinstance(message, Frame)) and offer(outbox, output)

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "offer", half_a_film)
        worker = IngestWorker(bus, topics, IngestSettings(), stop)
        until(
            lambda: (
                worker.turn()
                or seen.look()
                or (len(seen.indices("film")) == FRAMES / 2 and len(seen.indices("gate")) > 3)
            )
        )
        stop.set()
        worker.run()
    until(lambda: seen.look() or bool(seen.ends("gate")))
    assert seen.ends("gate") == ["stopped"]
    assert seen.ends("film") == ([] if bus.lasting else ["stopped"])
    if not bus.lasting:
        return
    stop.clear()
    after = IngestWorker(bus, topics, IngestSettings(), stop)
    until(lambda: after.turn() or seen.look() or bool(seen.ends("film")))
    assert seen.ends("film") == ["end"]
    assert seen.indices("film") == {*range(FRAMES)}
    assert len({message.session for message in seen.messages["film"]}) == 1
    stop.set()
    after.run()


def test_a_recording_whose_camera_is_removed_ends(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics, stop = Topics(f"stop-{uuid.uuid4().hex[:10]}"), threading.Event()
    bus.ensure_topics(topics.specs("street"))
    seen = Seen(bus, topics)
    film = write_video(tmp_path / "film.mp4", FRAMES / 15, 15.0)
    producer = bus.producer()
    producer.send(Output(topics.cameras, "film", Camera(id="film", source=str(film)).to_json()))
    assert producer.flush(20) == []
    offer = Outbox.offer

    def one_frame(outbox: Outbox, output: Output) -> bool:
        message = decode(output.value, Frame, EndOfStream)
        return (message.index == 0 or isinstance(message, EndOfStream)) and offer(outbox, output)

    monkeypatch.setattr(Outbox, "offer", one_frame)
    worker = IngestWorker(bus, topics, IngestSettings(), stop)
    until(lambda: worker.turn() or seen.look() or bool(seen.indices("film")))
    producer.send(Output(topics.cameras, "film", None))
    assert producer.flush(20) == []
    until(lambda: worker.turn() or seen.look() or bool(seen.ends("film")))
    assert seen.ends("film") == ["stopped"]
    stop.set()
    worker.run()
