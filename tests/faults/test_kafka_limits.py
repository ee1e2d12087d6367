"""What Kafka refuses or deletes: records that are too large, records past their retention."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, TopicPartition, errors
from kafka import KafkaProducer as Client
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.future import Future

from shared import metrics
from shared.bus import Partition
from shared.bus_kafka.connection import meaning
from shared.errors import Fatal, OperatorError, Transient
from tests.support.service_fixtures import kafka, redis_url, service_variables  # noqa: F401
from tests.support.window_service import KEYS, PARTITIONS, WindowService, until
from tests.support.window_stage import windows


@pytest.fixture
def service(kafka: str) -> Iterator[WindowService]:  # noqa: F811
    service = WindowService(kafka)
    yield service
    service.close()


@pytest.fixture
def admin(kafka: str) -> Iterator[KafkaAdminClient]:  # noqa: F811
    client = KafkaAdminClient(bootstrap_servers=kafka)
    yield client
    client.close()


@pytest.mark.kafka
def test_an_output_that_the_broker_finds_too_large_stops_the_worker_and_is_not_passed_over(
    service: WindowService, admin: KafkaAdminClient
) -> None:
    """A topic whose limit was lowered behind our back: nothing after the refused output counts."""
    limit(admin, service.topic("out"), 2000)
    key, texts = KEYS[0], ["000", "x" * 3000, "002", "003"]
    service.put(*((key, text) for text in texts))
    with service.worker() as life:
        until(lambda: not life.thread.is_alive())
    assert isinstance(life.died_of, Fatal)
    assert "size" in str(life.died_of)
    limit(admin, service.topic("out"), 1 << 20)
    with service.worker() as life:
        found = service.outputs(4, keys=(key,))
    assert life.died_of is None
    assert found == {key: windows(texts)}


@pytest.mark.kafka
def test_a_full_disk_is_waited_out_with_a_warning_and_nothing_is_lost(
    service: WindowService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker's answer is made up: a full disk takes a small one, and rights to mount it."""
    full, refused, send = threading.Event(), list[str](), Client.send

    def answer(client: Client, topic: str, **record: object) -> object:
        if not full.is_set() or topic != service.topic("out"):
            return send(client, topic, **record)
        refused.append(topic)
        return Future().failure(errors.KafkaStorageError())

    monkeypatch.setattr(Client, "send", answer)
    service.feed(range(10))
    with service.worker() as life:
        service.outputs(10)
        full.set()
        service.feed(range(10, 30))
        until(lambda: len(refused) > 3 and not life.worker.healthy.is_set())
        full.clear()
        found = service.outputs(30)
        until(life.worker.healthy.is_set)
    assert life.died_of is None
    assert found == dict.fromkeys(KEYS, windows([f"{n:03}" for n in range(30)]))
    assert "disk is full or broken" in caplog.text


def limit(admin: KafkaAdminClient, topic: str, size: int) -> None:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})
    admin.alter_configs([resource])


@pytest.mark.kafka
def test_what_retention_took_unread_is_counted_and_no_window_bridges_it(
    service: WindowService, admin: KafkaAdminClient
) -> None:
    service.feed(range(20))
    with service.worker():
        service.outputs(20)
    service.feed(range(20, 40))
    places = [Partition(service.topic("in"), n) for n in range(PARTITIONS)]
    ends = admin.list_partition_offsets({TopicPartition(*place): -1 for place in places})
    before = metrics.lost_to_retention.labels("group")._value.get()
    admin.delete_records({place: found.offset for place, found in ends.items()})
    service.feed(range(40, 60))
    with service.worker() as life:
        found = service.outputs(20 + 18)
    assert life.died_of is None
    texts = [f"{n:03}" for n in range(60)]
    whole = windows(texts[:20]) + [text for text in windows(texts[40:]) if text.count("-") == 2]
    assert found == dict.fromkeys(KEYS, whole)
    assert metrics.lost_to_retention.labels("group")._value.get() - before >= 20 * len(KEYS)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.KafkaStorageError, Transient),  # a disk is full or broken: another may serve
        (errors.NotEnoughReplicasError, Transient),
        (errors.NotLeaderForPartitionError, Transient),
        (errors.KafkaTimeoutError, Transient),
        (errors.MessageSizeTooLargeError, Fatal),
        (errors.RecordListTooLargeError, Fatal),
        (errors.FencedInstanceIdError, Fatal),
        (errors.TopicAuthorizationFailedError, OperatorError),
        (errors.SaslAuthenticationFailedError, OperatorError),
    ],
)
def test_what_a_brokers_answer_means(error: type[Exception], kind: type[Exception]) -> None:
    assert type(meaning("sending", error())) is kind
