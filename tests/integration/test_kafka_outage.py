"""A broker that dies, hangs and comes back: nothing crashes, nothing is lost, work resumes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.bus import Output, Record
from shared.bus_kafka import KafkaBus
from shared.errors import Transient
from shared.settings import KafkaSettings
from shared.topics import HOUR, TopicSpec
from tests.support.broker import CannotStart, Kafka
from tests.support.bus_world import PARTITIONS, World, joined, poll_until, take

pytestmark = pytest.mark.kafka


@pytest.fixture
def broker(kafka: str, tmp_path: Path) -> Iterator[Kafka]:
    """A broker of the test's own (where the shared one is found, one can be started)."""
    broker = Kafka(tmp_path / "kafka")
    try:
        broker.start()
    except CannotStart as error:
        pytest.skip(str(error))
    yield broker
    broker.thaw()
    broker.kill()


@pytest.fixture
def world(broker: Kafka) -> Iterator[World]:
    settings = KafkaSettings(
        bootstrap_servers=broker.address, partitions=PARTITIONS, session_timeout_seconds=6
    )
    world = World(KafkaBus(settings), f"outage-{uuid.uuid4().hex[:12]}")
    world.bus.ensure_topics([TopicSpec(world.topic, HOUR)])
    yield world
    world.bus.close()


def test_a_killed_broker_comes_back_and_nothing_is_lost(broker: Kafka, world: World) -> None:
    member, producer = world.join(), world.bus.producer()
    producer.send(Output(world.topic, "camera", b"0"))
    assert producer.flush(10) == []
    (first,) = take(member, 1)
    assert member.commit({first.partition: 1})

    broker.kill()
    during = [producer.send(Output(world.topic, "camera", str(i).encode())) for i in range(1, 6)]
    assert not during[-1].wait(0.2)
    assert member.poll(10, 1.0) == []
    member.keep_alive()
    with pytest.raises(Transient, match="committing"):
        member.commit({first.partition: 1})
    member.rewind({first.partition})  # cannot fail; waits for the broker

    broker.start()
    assert producer.flush(30) == []
    assert all(d.error is None for d in during)
    # The group may have forgotten its member: then it joins again and reads from its commit.
    values: set[bytes | None] = set()
    deadline = time.monotonic() + 20
    while not (len(values) == 5 and member.commit({first.partition: 6})):
        assert time.monotonic() < deadline
        try:
            values |= {record.value for record in member.poll(10, 0.5)}
        except Transient as error:  # where the broker's start took longer than a session
            assert "no heartbeat for 6 s" in str(error)
        member.take_lost()  # a worker does so after every poll; until then a commit is refused
    assert values == {b"1", b"2", b"3", b"4", b"5"}
    assert [r.value for r in world.bus.read(first.partition, 0, 99)] == [
        b"0", b"1", b"2", b"3", b"4", b"5",
    ]  # each once: the producer is idempotent  # fmt: skip


def test_a_hanging_broker_is_noticed_within_a_session_time_out(broker: Kafka, world: World) -> None:
    member = world.join()
    joined(member)
    broker.freeze()
    started = time.monotonic()
    with pytest.raises(Transient, match="no heartbeat for 6 s"):
        poll_until([member], lambda: False)
    assert 5 < time.monotonic() - started < 9  # ingest must stop its captures by then
    broker.thaw()
    world.fill(("camera", b"x"))
    records: list[Record] = []

    def back() -> bool:
        try:
            records.extend(member.poll(10, 0.5))
        except Transient:
            return False
        return bool(records)

    deadline = time.monotonic() + 20
    while not back():
        assert time.monotonic() < deadline
    assert records[0].value == b"x"
