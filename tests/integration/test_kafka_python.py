"""Behaviour of kafka-python that the Kafka bus is built around: if one of these fails, look there.

`shared/bus_kafka/` names each of them where it matters.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, NoOffsetForPartitionError
from kafka.record import util

from tests.support.bus_world import SECONDS

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic(kafka: str) -> Iterator[str]:
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    name = f"kafka-python-{uuid.uuid4().hex[:8]}"
    admin.create_topics(
        {name: {"num_partitions": 2, "replication_factor": 1}}, wait_for_metadata=True
    )
    yield name
    admin.close()


def test_checksums_are_computed_in_c() -> None:
    assert util.crc32c_c is not None  # in Python they would cost more than all the rest


def test_closing_a_producer_at_once_raises_and_leaves_its_thread(kafka: str, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka, linger_ms=20_000)
    future = producer.send(topic, b"x", b"key")
    with pytest.raises(KafkaTimeoutError):
        producer.close(timeout=0)
    assert producer._sender.is_alive()
    producer._sender.force_close()  # what the bus does first
    producer._sender.join(SECONDS)
    assert not producer._sender.is_alive()
    assert future.is_done  # sent by the flush in close(), or failed
    producer.close(timeout=0)


def test_an_oversized_value_raises_in_send(kafka: str, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka)
    with pytest.raises(MessageSizeTooLargeError):
        producer.send(topic, bytes(2 << 20))
    producer.close(timeout=1)


def test_without_a_reset_policy_a_new_group_raises_until_it_is_told(kafka: str, topic: str) -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=kafka, group_id=topic, auto_offset_reset="none", enable_auto_commit=False
    )
    places = {TopicPartition(topic, 0), TopicPartition(topic, 1)}
    consumer.assign(places)
    with pytest.raises(NoOffsetForPartitionError) as raised:
        consumer.poll(5_000)
    assert raised.value.args[0] == places
    consumer.seek_to_beginning(*places)
    assert consumer.poll(200) == {}
    consumer.close()


def test_a_poll_drains_one_partition_before_the_next(kafka: str, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka)
    for number in (0, 1):
        for _ in range(50):
            producer.send(topic, b"x", partition=number)
    producer.flush(SECONDS)
    producer.close(timeout=1)
    consumer = KafkaConsumer(bootstrap_servers=kafka)
    places = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    consumer.assign(places)
    consumer.seek_to_beginning()
    polled: dict[TopicPartition, list[object]] = {}
    while not polled:
        polled = consumer.poll(500, max_records=30)
    assert len(polled) == 1
    assert [len(records) for records in polled.values()] == [30]
    consumer.close()


def test_a_join_that_ends_between_two_polls_is_thrown_away(
    kafka: str, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=kafka,
        group_id=topic,
        partition_assignment_strategy=(CooperativeStickyAssignor,),
    )
    consumer.subscribe([topic])
    coordinator = consumer._coordinator
    with caplog.at_level(logging.INFO, "kafka.coordinator"):
        while coordinator._join_task is None:
            consumer.poll(0)
        first = coordinator._join_task
        while not first.is_done:
            pass
        consumer.poll(0)
    assert coordinator._join_task is not first  # joined, but a new join was begun
    assert consumer.assignment() == set()
    consumer.poll(2_000)
    consumer.close()
