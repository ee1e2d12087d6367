"""The Kafka bus where no memory bus can follow: topics, retention, eviction, credentials."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, MemberToRemove

from shared import metrics
from shared.bus import Output, Partition
from shared.bus_kafka import KafkaBus, offsets
from shared.bus_kafka.consumer import KafkaConsumer
from shared.errors import Fatal, InvalidSettings, OperatorError, Transient
from shared.settings import KafkaSettings
from shared.topics import DAY, HOUR, Topics, TopicSpec
from tests.support.broker import free_port
from tests.support.bus_world import PARTITIONS, World, joined, poll_until, take

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka, partitions=PARTITIONS, session_timeout_seconds=6)


@pytest.fixture
def admin(kafka: str) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=kafka)
    yield client
    client.close()


@pytest.fixture
def world(settings: KafkaSettings) -> Iterator[World]:
    world = World(KafkaBus(settings), f"integration-{uuid.uuid4().hex[:12]}")
    world.bus.ensure_topics([TopicSpec(world.topic, HOUR)])
    yield world
    world.bus.close()


def test_topics_are_made_as_the_design_says(
    settings: KafkaSettings, admin: KafkaAdminClient
) -> None:
    topics = Topics(f"t-{uuid.uuid4().hex[:8]}")
    bus = KafkaBus(settings)
    bus.ensure_topics(topics.specs("street"))
    names = (topics.cameras, topics.frames, topics.dead_letters)
    described = admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in names], config_filter="all"
    )
    found = {name: described["topic"][name] for name in names}
    cameras, frames, dead = (
        {key: entry["value"] for key, entry in found[name].items()} for name in names
    )
    assert cameras["cleanup.policy"] == "compact"
    assert frames["cleanup.policy"] == "delete"
    assert frames["message.timestamp.type"] == "LogAppendTime"
    assert int(frames["retention.ms"]) == HOUR * 1000
    assert int(frames["segment.ms"]) * 4 <= int(frames["retention.ms"])
    assert int(cameras["segment.ms"]) <= 7 * DAY * 1000
    assert int(dead["max.message.bytes"]) > int(frames["max.message.bytes"])
    bus.close()


def test_a_wrong_partition_count_is_told_with_the_topic(settings: KafkaSettings) -> None:
    spec = TopicSpec(f"t-{uuid.uuid4().hex[:8]}", HOUR)
    bus = KafkaBus(settings)
    bus.ensure_topics([spec])
    bus.close()
    other = KafkaBus(settings.model_copy(update={"partitions": 7}))
    with pytest.raises(OperatorError, match=f"is 7, but {spec.name} has 4"):
        other.ensure_topics([spec])
    other.close()


def test_too_few_brokers_for_the_replicas_is_told(settings: KafkaSettings) -> None:
    bus = KafkaBus(settings.model_copy(update={"replication_factor": 3}))
    with pytest.raises(OperatorError, match="cannot make topic"):
        bus.ensure_topics([TopicSpec(f"t-{uuid.uuid4().hex[:8]}", HOUR)])
    bus.close()


def test_nobody_there_is_told_with_the_address() -> None:
    port = free_port()
    bus = KafkaBus(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"))
    with pytest.raises(Transient, match=f"127.0.0.1:{port}.*CITYWATCH_KAFKA_BOOTSTRAP_SERVERS"):
        bus.ensure_topics([])
    bus.close()


def test_the_password_is_needed_and_never_logged(
    kafka: str, caplog: pytest.LogCaptureFixture
) -> None:
    half = {"bootstrap_servers": kafka, "security_protocol": "SASL_PLAINTEXT", "username": "eve"}
    with pytest.raises(InvalidSettings, match="CITYWATCH_KAFKA_PASSWORD"):
        KafkaBus(KafkaSettings(**half))
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="kafka"):
        bus = KafkaBus(KafkaSettings(**half, password="open-sesame"))
        with pytest.raises((OperatorError, Transient)):
            bus.ensure_topics([])
        bus.close()
    assert "KafkaAdminClient with configuration" in caplog.text  # what would have told it
    assert "open-sesame" not in caplog.text


def test_a_record_that_no_broker_would_take_stops_the_process(world: World) -> None:
    producer = world.bus.producer()
    with pytest.raises(Fatal, match=world.topic):
        producer.send(Output(world.topic, "camera", bytes(2 << 20)))
    assert producer.send(Output(world.topic, "camera", bytes(1_000_000))).wait(10)
    assert producer.flush(10) == []


def test_records_deleted_unread_are_counted(world: World, admin: KafkaAdminClient) -> None:
    world.fill(*(("camera", str(i).encode()) for i in range(10)))
    member = world.join()
    place = take(member, 10)[0].partition
    assert member.commit({place: 2})
    member.close()
    admin.delete_records({TopicPartition(*place): 7})
    counter = metrics.lost_to_retention.labels("reader")
    before = counter._value.get()
    second = world.join()
    assert [r.offset for r in take(second, 3)] == [7, 8, 9]
    assert counter._value.get() - before == 5
    assert second.take_lost() == {place}  # what was built before the gap ends there
    assert [r.offset for r in world.bus.read(place, 0, 8)] == [7, 8]


def test_a_member_thrown_out_loses_everything_and_joins_again(
    world: World, admin: KafkaAdminClient
) -> None:
    world.fill(*((f"c{i}", b"x") for i in range(20)))
    member = world.join()
    assert isinstance(member, KafkaConsumer)
    records = take(member, 20)
    everything = member.assigned()
    place = records[0].partition
    assert member.commit({place: 1})
    client = member._membership.client
    assert client is not None
    removed = admin.remove_group_members(
        world.group, [MemberToRemove(member_id=client.group_metadata().member_id)]
    )
    assert [error.__name__ for error in removed.values()] == ["NoError"]
    again = take(member, 19)  # everything but the one that was committed
    assert member._membership.client is not client
    assert member.take_lost() == everything
    assert {(r.partition, r.offset) for r in again} == {
        (r.partition, r.offset) for r in records if (r.partition, r.offset) != (place, 0)
    }


def test_a_commit_after_being_thrown_out_is_refused(world: World, admin: KafkaAdminClient) -> None:
    member = world.join()
    joined(member)
    assert isinstance(member, KafkaConsumer) and member._membership.client is not None
    metadata = member._membership.client.group_metadata()
    admin.remove_group_members(world.group, [MemberToRemove(member_id=metadata.member_id)])
    assert not member.commit({Partition(world.topic, 0): 0})
    poll_until([member], lambda: member.generation() > metadata.generation_id)
    assert len(member.take_lost()) == PARTITIONS
    assert member.commit({Partition(world.topic, 0): 0})


def test_lag_counts_what_came_since_the_last_fetch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that still holds records does not ask for more, nor where the log ends by now."""
    monkeypatch.setattr(offsets, "ENDS_EVERY", 0.0)
    member = world.join()
    joined(member)
    keys = [(f"camera-{n}", b"frame") for n in range(400)]
    world.fill(*keys)
    taken = take(member, 1, batch=1)  # what else it fetched it keeps
    world.fill(*keys)
    taken += member.poll(1, 1.0)
    assert sum(member.lag().values()) == 800 - len(taken)
