"""The link to Kafka: cut in the middle of a send, stalled for longer than a membership lasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ingest.outbox import Outbox
from ingest.pipe import Kind, Parcel
from ingest.publisher import Publisher
from shared.bus_kafka.producer import KafkaProducer
from shared.cameras import Camera
from shared.codec import decode, encode
from shared.messages import EndOfStream, Frame, Session
from tests.support.broker import CannotStart, Kafka, free_port
from tests.support.proxy import Proxy
from tests.support.service_fixtures import kafka, redis_url, service_variables  # noqa: F401
from tests.support.window_service import KEYS, PARTITIONS, SECONDS, WindowService, until
from tests.support.window_stage import windows

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("kafka")]


class Linked(WindowService):
    """A service with a second bus, over the link."""

    def __init__(self, broker: Kafka, link: Proxy) -> None:
        super().__init__(broker.address)
        self.link = link
        self.linked = self.connect(link.address)
        self.linked.ensure_topics(self.specs)


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kafka, Proxy]]:
    """A broker that is also reached over a link."""
    inside = free_port()
    with Proxy(inside) as link:
        broker = Kafka(tmp_path_factory.mktemp("kafka"), relay=(inside, link.port))
        try:
            broker.start()
        except CannotStart as error:
            pytest.skip(str(error))
        yield broker, link
        broker.kill()


@pytest.fixture
def world(relayed: tuple[Kafka, Proxy]) -> Iterator[Linked]:
    relayed[1].restore()
    world = Linked(*relayed)
    yield world
    relayed[1].restore()
    world.close()


def test_a_link_that_is_cut_in_the_middle_again_and_again(world: Linked) -> None:
    world.feed(range(40))
    with world.worker(world.linked, delivery_timeout_seconds=1):
        for passed in (3_000, 9_000, 14_000):
            world.link.cut_after(passed)
            assert world.link.is_cut.wait(SECONDS)
            world.link.restore()
        world.feed(range(40, 60))
        found = world.outputs(60)
    wanted = windows([f"{n:03}" for n in range(60)])
    assert found == dict.fromkeys(KEYS, wanted)


def test_what_was_not_acknowledged_over_a_stalled_link_is_sent_again(world: Linked) -> None:
    """The old producer's bytes may arrive after the new one's: the first of each counts."""
    world.feed(range(20))
    with world.worker(world.linked, delivery_timeout_seconds=1) as life:
        world.outputs(20)
        world.link.throttle(2_000)  # bytes a second, so that it stalls in the middle
        world.feed(range(20, 60))
        until(lambda: len(life.worker._outbound) > 0)
        world.link.stall()
        first = life.worker._outbound._producer
        until(lambda: life.worker._outbound._producer is not first)
        world.link.restore()
        found = world.outputs(60)
    assert found == dict.fromkeys(KEYS, windows([f"{n:03}" for n in range(60)]))


def test_partitions_go_to_another_and_come_back_while_a_link_is_stalled(world: Linked) -> None:
    """A member that hears nothing for longer than its membership lasts starts from nothing."""
    world.feed(range(30))
    with world.worker(world.linked) as away, world.worker() as other:
        until(
            lambda: (
                len(away.worker._consumer.assigned()) == len(other.worker._consumer.assigned()) == 2
            )
        )
        world.outputs(30)
        world.link.stall()
        until(lambda: len(other.worker._consumer.assigned()) == PARTITIONS)
        world.feed(range(30, 60))
        world.outputs(60)
        world.link.restore()
        until(
            lambda: (
                len(away.worker._consumer.assigned()) == len(other.worker._consumer.assigned()) == 2
            )
        )
        world.feed(range(60, 90))
        found = world.outputs(90)
    assert found == dict.fromkeys(KEYS, windows([f"{n:03}" for n in range(90)]))


@pytest.mark.parametrize("trouble", ["cut", "stall"])
def test_while_kafka_is_away_a_live_camera_loses_frames_and_memory_stays_bounded(
    world: Linked, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Longer than a delivery lasts: what had been accepted is sent again, the rest is counted."""
    options = KafkaProducer._options
    quick = {"delivery_timeout_ms": 2_500, "request_timeout_ms": 1_000}
    monkeypatch.setattr(KafkaProducer, "_options", lambda self: options(self) | quick)
    outbox, session = Outbox(world.linked), Session(1, 0, live=True)
    camera = Camera(id="gate", source="rtsp://host/1")
    topic, stop = world.topic("in"), threading.Event()
    publisher = Publisher(camera, topic, outbox, stop, lambda: None)
    publisher.may_drop = True
    longest = most = 0.0

    def shoot(index: int) -> None:
        nonlocal longest, most
        frame = Frame(
            "gate", str(session), index, index, True, (), "raw", 80, 80, bytes(80 * 80 * 3)
        )
        began = time.monotonic()
        publisher.frame(Parcel(Kind.FULL, index, index, encode(frame)))
        longest = max(longest, time.monotonic() - began)
        most = max(most, outbox._producer._bytes)  # type: ignore[attr-defined]

    for index in range(20):
        shoot(index)
    assert outbox.flush(SECONDS) == 0
    first = outbox._producer
    getattr(world.link, trouble)()
    index = 20
    deadline = time.monotonic() + SECONDS
    more = 300
    while more:
        assert time.monotonic() < deadline
        shoot(index)
        index += 1
        more -= outbox._producer is not first
        time.sleep(0.01)  # a hundred frames a second
    assert publisher.dropped > 100
    world.link.restore()
    published = publisher.published
    while publisher.published < published + 5:
        assert time.monotonic() < deadline
        shoot(index)
        index += 1
        time.sleep(0.01)
    publisher.end("stopped", None, 5)
    assert outbox.flush(SECONDS) == 0
    outbox.close()
    assert most <= 1 << 20
    assert longest < 0.5, "a camera was made to wait"
    reader, due = world.bus.consumer(None, [topic], "beginning"), 0
    while True:
        for record in reader.poll(1000, 1.0):
            message = decode(record.value, Frame, EndOfStream)
            if message.index >= due:
                assert message.index - due == sum(message.dropped_before.values())
                due = message.index + 1
        if isinstance(message, EndOfStream):
            break
    assert due == index + 1
    reader.close()
