"""The cameras topic as a table, and the loop that keeps a fleet as it says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ingest.registry import Registry
from ingest.settings import IngestSettings
from ingest.stage import IngestWorker
from shared import metrics
from shared.bus import Output, Partition, Record
from shared.bus_memory import MemoryBus
from shared.cameras import Camera
from shared.codec import decode
from shared.errors import Transient
from shared.messages import EndOfStream, Frame
from shared.topics import Topics

TOPICS = Topics("test")
A, B = Partition(TOPICS.cameras, 0), Partition(TOPICS.cameras, 1)
DRAWN = "synthetic://street?seed=1&fps=5&detail=tiny"


def record(partition: Partition, name: str, camera: Camera | bytes | None) -> Record:
    value = camera.to_json() if isinstance(camera, Camera) else camera
    return Record(partition, 0, name, value)


def camera(name: str, fps: float = 15) -> Camera:
    return Camera(id=name, source=DRAWN, fps=fps)


def test_nothing_is_known_before_the_end_was_read() -> None:
    registry = Registry()
    registry.assigned([A, B])
    registry.take(record(A, "gate", camera("gate")))
    assert not registry.complete
    assert registry.cameras() == {}
    registry.caught_up([A])
    assert not registry.complete
    registry.caught_up([B])
    assert registry.complete
    assert registry.cameras() == {"gate": camera("gate")}


def test_records_count_at_once_after_that() -> None:
    registry = Registry()
    registry.assigned([A])
    registry.caught_up([A])
    registry.take(record(A, "gate", camera("gate")))
    registry.take(record(A, "gate", camera("gate", fps=5)))
    registry.take(record(A, "yard", camera("yard")))
    registry.take(record(A, "yard", None))
    registry.take(record(A, "never", None))
    assert registry.cameras() == {"gate": camera("gate", fps=5)}


def test_what_is_absent_when_read_anew_was_removed() -> None:
    registry = Registry()
    registry.assigned([A])
    for name in ("gate", "yard"):
        registry.take(record(A, name, camera(name)))
    registry.caught_up([A])
    registry.read_anew()
    registry.take(record(A, "yard", camera("yard")))
    assert registry.cameras().keys() == {"gate", "yard"}
    registry.caught_up([A])
    assert registry.cameras().keys() == {"yard"}


def test_lost_partitions_take_their_cameras_along() -> None:
    registry = Registry()
    registry.assigned([A, B])
    registry.take(record(A, "gate", camera("gate")))
    registry.take(record(B, "yard", camera("yard")))
    registry.caught_up([A, B])
    assert registry.lost([A]) == {"gate"}
    assert registry.cameras().keys() == {"yard"}
    registry.take(record(A, "late", camera("late")))
    assert registry.cameras().keys() == {"yard"}


@pytest.mark.parametrize(
    "value", [b"{", b"\xff\xfe", b'{"id": "gate"}', camera("other").to_json(), b"[]"]
)
def test_what_is_no_camera_changes_nothing(value: bytes) -> None:
    registry = Registry()
    registry.assigned([A])
    registry.take(record(A, "gate", camera("gate")))
    registry.caught_up([A])
    registry.take(record(A, "gate", value))
    registry.take(record(A, "odd", value))
    assert registry.cameras() == {"gate": camera("gate")}
    registry.read_anew()
    registry.take(record(A, "gate", value))  # compaction left only this
    registry.caught_up([A])
    assert registry.cameras() == {"gate": camera("gate")}


class Site:
    """An ingest worker on a memory bus, turned by hand."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.time = 0.0
        self.worker = IngestWorker(
            bus, TOPICS, IngestSettings(pace=False), threading.Event(), clock=lambda: self.time
        )
        self.view = bus.consumer("view", [TOPICS.frames])
        self.seen: list[Frame | EndOfStream] = []

    def say(self, name: str, what: Camera | None) -> None:
        value = None if what is None else what.to_json()
        self.bus.producer().send(Output(TOPICS.cameras, name, value))

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(400):
            self.worker.turn()
            self.seen += [decode(r.value, Frame, EndOfStream) for r in self.view.poll(1000, 0)]
            if condition():
                return
        raise AssertionError([str(status) for status in self.worker.statuses()])

    def states(self) -> dict[str, str]:
        return {status.id: status.state for status in self.worker.statuses()}

    def ends(self) -> list[EndOfStream]:
        return [message for message in self.seen if isinstance(message, EndOfStream)]


@contextmanager
def site(bus: MemoryBus | None = None) -> Iterator[Site]:
    place = Site(bus or MemoryBus(partitions=2, capacity=8))
    try:
        yield place
    finally:
        place.worker._stop.set()
        place.worker.run()
        place.bus.close()


def test_cameras_come_change_and_go_at_runtime() -> None:
    with site() as place:
        place.say("gate", camera("gate"))
        place.until(lambda: place.states() == {"gate": "up"})
        assert place.worker.healthy.is_set()
        place.say("yard", camera("yard"))
        place.until(lambda: place.states() == {"gate": "up", "yard": "up"})
        first = {m.session for m in place.seen if m.camera_id == "gate"}
        place.say("gate", camera("gate", fps=5))
        place.until(lambda: bool(place.ends()))
        place.until(lambda: len({m.session for m in place.seen if m.camera_id == "gate"}) == 2)
        assert (place.ends()[0].camera_id, place.ends()[0].reason) == ("gate", "stopped")
        assert place.ends()[0].session in first
        place.say("yard", None)
        place.until(lambda: any(end.camera_id == "yard" for end in place.ends()))
        place.until(lambda: place.states() == {"gate": "up"})
    labels = [s.labels for m in metrics.camera_up.collect() for s in m.samples]
    assert {"camera": "yard"} not in labels


def test_an_unchanged_definition_disturbs_nothing() -> None:
    with site() as place:
        place.say("gate", camera("gate"))
        place.until(lambda: place.states() == {"gate": "up"})
        for _ in range(3):
            place.say("gate", camera("gate"))
        place.time += 7200  # and the topic is read anew
        turns: list[int] = []
        place.until(lambda: turns.append(1) or len(turns) > 20)  # type: ignore[func-returns-value]
        assert place.ends() == []
        assert len({m.session for m in place.seen}) == 1


def test_a_camera_that_moves_is_left_without_a_word() -> None:
    with site() as place:
        for name in ("a", "b", "c", "d", "e", "f"):
            place.say(name, camera(name))
        place.until(lambda: len(place.states()) == 6 and set(place.states().values()) == {"up"})
        other = Site(place.bus)
        place.until(lambda: len(place.states()) < 6)
        other.until(lambda: len(other.states()) == 6 - len(place.states()))
        assert place.ends() == []
        assert not other.states().keys() & place.states().keys()
        other.until(lambda: set(other.states().values()) == {"up"})
        moved = next(iter(other.states()))
        sessions = sorted({m.session for m in other.seen + place.seen if m.camera_id == moved})
        generations = {int(session.split("-")[1]) for session in sessions}
        assert len(generations) == 2  # the newer one is of a later generation
        other.worker._stop.set()
        other.worker.run()


def test_captures_stop_when_the_bus_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with site() as place:
        place.say("gate", camera("gate"))
        place.until(lambda: place.states() == {"gate": "up"})
        consumer = place.worker._consumer

        def away(max_records: int, timeout: float) -> list[Record]:
            raise Transient("no heartbeat")

        with monkeypatch.context() as patch:
            patch.setattr(consumer, "poll", away)
            patch.setattr("ingest.stage._POLL_SECONDS", 0.001)
            place.worker.turn()
            assert place.states() == {"gate": "up"}  # a blip is forgiven
            assert not place.worker.healthy.is_set()
            place.time += 2
            place.worker.turn()
            assert place.states() == {}
        place.until(lambda: place.states() == {"gate": "up"})
        assert place.ends() == []


def test_stopping_closes_every_session_and_flushes() -> None:
    with site(MemoryBus(partitions=2, capacity=100_000)) as place:
        place.say("gate", camera("gate", fps=5))
        place.until(lambda: place.states() == {"gate": "up"})
        place.worker._stop.set()
        place.worker.run()
        place.seen += [decode(r.value, Frame, EndOfStream) for r in place.view.poll(100_000, 0)]
        (end,) = place.ends()
        frames = [m for m in place.seen if isinstance(m, Frame)]
        assert (end.reason, end.index) == ("stopped", frames[-1].index + 1)
        assert [f.index for f in frames] == list(range(len(frames)))
