"""Static membership: a member with a fixed name keeps its partitions while it restarts."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator

import pytest

from ingest.settings import IngestSettings
from ingest.stage import IngestWorker
from shared.bus import Consumer, Output, Partition
from shared.bus_kafka import KafkaBus
from shared.cameras import Camera
from shared.codec import decode
from shared.errors import Fatal
from shared.messages import EndOfStream, Frame
from shared.settings import KafkaSettings
from shared.topics import HOUR, Topics, TopicSpec
from tests.support.bus_world import PARTITIONS, joined, poll_until
from tests.support.window_service import WindowService, until

pytestmark = pytest.mark.kafka
Join = Callable[[str | None], Consumer]


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka, partitions=PARTITIONS, session_timeout_seconds=6)


@pytest.fixture
def name() -> str:
    return f"static-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def join(settings: KafkaSettings, name: str) -> Iterator[Join]:
    """Another process's member of one group, under this name; None: a dynamic one."""
    buses: list[KafkaBus] = []

    def build(instance: str | None) -> Consumer:
        bus = KafkaBus(settings.model_copy(update={"instance": instance}))
        buses.append(bus)
        bus.ensure_topics([TopicSpec(f"{name}.frames", HOUR)])
        return bus.consumer(f"{name}.reader", [f"{name}.frames"])

    yield build
    for bus in buses:
        bus.close()


@pytest.mark.parametrize("instance", ["pod-0", None], ids=["static", "dynamic"])
def test_who_restarts_in_time_finds_its_partitions_and_the_others_notice_nothing(
    join: Join, instance: str | None
) -> None:
    """The dynamic case is there to show that the difference can be seen at all."""
    first, other = join(instance), join("pod-1")
    joined(first, other)
    poll_until([first, other], lambda: first.generation() == other.generation() > 0)
    before, generation = first.assigned(), other.generation()
    first.take_lost(), other.take_lost()
    first.close()
    if instance is None:
        poll_until([other], lambda: len(other.assigned()) == PARTITIONS)
    again = join(instance)
    joined(again, other)
    if instance is None:
        assert other.generation() > generation
        return
    poll_until([again, other], lambda: again.generation() > 0)
    assert again.assigned() == before
    assert other.generation() == again.generation() == generation
    assert other.take_lost() == frozenset()
    assert again.commit(dict.fromkeys(before, 0))
    assert other.commit(dict.fromkeys(other.assigned(), 0))


def test_who_does_not_come_back_is_missed_for_one_session_or_until_removed(
    join: Join, settings: KafkaSettings, name: str
) -> None:
    """On scale-down nobody need wait: docs/operations.md names the call."""
    first, other = join("pod-0"), join("pod-1")
    joined(first, other)
    first.close()
    tool = [sys.executable, "-m", "kafka.admin", "-b", settings.bootstrap_servers]
    remove = ["groups", "remove-members", "-g", f"{name}.reader", "-i", "pod-0"]
    subprocess.run([*tool, *remove], check=True, capture_output=True)
    poll_until([other], lambda: len(other.assigned()) == PARTITIONS)


def test_two_processes_with_one_name_the_elder_ends_at_its_next_poll(join: Join) -> None:
    elder = join("pod-0")
    joined(elder)
    younger = join("pod-0")
    joined(younger)
    with pytest.raises(Fatal, match=r"the same kafka\.instance"):
        poll_until([elder], lambda: False)
    joined(younger)


def test_two_processes_with_one_name_the_elder_cannot_commit(join: Join) -> None:
    elder = join("pod-0")
    joined(elder)
    place = min(elder.assigned())
    younger = join("pod-0")
    joined(younger)
    with pytest.raises(Fatal, match=r"the same kafka\.instance"):
        elder.commit({place: 0})
    assert younger.commit({place: 0})


def test_a_worker_whose_place_is_taken_ends_and_the_other_loses_nothing(
    settings: KafkaSettings, join: Join
) -> None:
    service = WindowService(settings.bootstrap_servers)
    static = settings.model_copy(update={"instance": "pod-0"})
    buses = [KafkaBus(static), KafkaBus(static)]
    for bus in buses:
        bus.ensure_topics(service.specs)
    service.feed(range(20))
    with service.worker(buses[0]) as elder:
        service.outputs(20)
        with service.worker(buses[1]) as younger:
            until(lambda: not elder.thread.is_alive())
            service.feed(range(20, 40))
            service.outputs(40)
    assert isinstance(elder.died_of, Fatal)
    assert younger.died_of is None
    for bus in buses:
        bus.close()
    service.close()


def test_an_ingest_worker_whose_place_is_taken_says_no_end_of_its_cameras(
    settings: KafkaSettings, name: str
) -> None:
    topics, stop = Topics(name), threading.Event()
    buses = [KafkaBus(settings.model_copy(update={"instance": "pod-0"})) for _ in range(2)]
    buses[0].ensure_topics(topics.specs("street"))
    camera = Camera(id="gate", source="synthetic://street?fps=5&detail=tiny&seed=1", fps=5)
    producer = buses[0].producer()
    producer.send(Output(topics.cameras, camera.id, camera.to_json()))
    assert producer.flush(20) == []
    elder = IngestWorker(buses[0], topics, IngestSettings(), stop)
    until(lambda: elder.turn() or any(s.state == "up" for s in elder.statuses()))
    younger = IngestWorker(buses[1], topics, IngestSettings(), stop)
    ended: list[BaseException] = []

    def run() -> None:
        try:
            elder.run()
        except Fatal as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: younger.turn() or any(s.state == "up" for s in younger.statuses()))
    thread.join(30)
    assert len(ended) == 1
    places = [Partition(topics.frames, number) for number in range(PARTITIONS)]
    records = [record for place in places for record in buses[1].read(place, 0, 1 << 40)]
    messages = [decode(record.value, Frame, EndOfStream) for record in records]
    assert len({message.session for message in messages}) == 2
    assert not any(isinstance(message, EndOfStream) for message in messages)
    stop.set()
    younger.run()
    for bus in buses:
        bus.close()
