"""Alerting on a real Redis: expiry, keys, a server that dies, forgets, or never was there."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from alerting.incidents import Rules
from alerting.open_store import open_store
from alerting.settings import AlertingSettings
from alerting.stage import AlertingStage, build_worker
from alerting.store import Step, Store
from alerting.store_redis import RedisStore
from shared.bus import Output, Partition
from shared.bus_memory import MemoryBus
from shared.codec import encode
from shared.errors import InvalidSettings, Transient, Unavailable
from shared.settings import Configuration
from shared.topics import Topics
from tests.integration.test_alerting_store import KEY, incident, state
from tests.support.broker import CannotStart, Redis, free_port
from tests.support.predictions import LIVE, Log, bundle_folder, description, prediction

pytestmark = pytest.mark.redis
RULES = Rules.of(description(), AlertingSettings())
NOW = 2_000_000_000


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as found:
        yield found


@pytest.fixture
def own_redis(tmp_path: Path, redis_url: str) -> Iterator[Redis]:
    """A server that a test may kill."""
    server = Redis(tmp_path / "redis")
    try:
        server.start()
    except CannotStart as error:
        pytest.fail(str(error))
    yield server
    server.kill()


def stage_on(store: Store) -> AlertingStage:
    return AlertingStage(RULES, store, "citywatch.anomalies")


def test_all_keys_of_a_step_share_a_slot_and_sessions_expire(
    redis_url: str, prefix: str, client: redis.Redis
) -> None:
    store = RedisStore(redis_url, "street", prefix=prefix, session_seconds=3600)
    store.load(7)
    store.apply([Step(7, 1, 0, {KEY: state(5)}, (incident(),), ("{}",))])
    keys = set(client.scan_iter(f"{prefix}:*"))
    tagged = {key for key in keys if "{street.7}" in key}
    assert keys - tagged == {f"{prefix}:street:partitions"}
    assert len({key_slot(key.encode()) for key in tagged}) == 1
    (session,) = (key for key in tagged if ":session:" in key)
    assert 3590 < int(client.ttl(session)) <= 3600
    client.delete(session)
    assert store.load(7).sessions == {}, "an expired session is let go"
    assert client.smembers(f"{prefix}:{{street.7}}:unfinished") == set()
    store.close()


def test_old_incidents_are_forgotten(redis_url: str, prefix: str) -> None:
    store = RedisStore(redis_url, "street", prefix=prefix, incident_seconds=0.01)
    store.load(0)
    store.apply([Step(0, 1, 0, {KEY: state(1)}, (incident(at=1),))])
    written = time.time()
    while time.time() <= written + 0.01:
        threading.Event().wait(0.005)
    store.apply([Step(0, 2, 0, {KEY: state(2)}, (incident(at=2),))])
    assert [i.first_index for i in store.incidents()] == [2]
    store.close()


def test_a_password_is_never_shown() -> None:
    store = RedisStore(f"redis://user:hunter2@127.0.0.1:{free_port()}/0", "street")
    with pytest.raises(Transient) as caught:
        store.load(0)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(
        AlertingSettings.model_validate({"redis_url": "redis://:hunter2@x"})
    )
    store.close()


def test_no_redis_at_start_is_said_with_its_address() -> None:
    address = f"127.0.0.1:{free_port()}"
    configuration = Configuration(
        overrides=[f"alerting.redis_url=redis://{address}", "service.start_timeout_seconds=0.2"],
        environment={},
    )
    with pytest.raises(Unavailable, match=rf"Redis at {address} did not answer within 0.2 s"):
        open_store(configuration, "street", threading.Event())


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", "redis://127.0.0.1:port"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InvalidSettings, match=r"alerting\.redis_url"):
        RedisStore(url, "street")


def test_a_paused_worker_cannot_write_over_its_successor(redis_url: str, prefix: str) -> None:
    paused = stage_on(RedisStore(redis_url, "street", prefix=prefix))
    successor = stage_on(RedisStore(redis_url, "street", prefix=prefix))
    log = Log()
    for second in range(6):
        log.add(prediction(NOW + second, 0.9, session=LIVE))
    paused.process(log.take()[:1])
    told = successor.process(log.take())
    assert len(told) == 1
    with pytest.raises(Transient, match="Redis has 2 steps of partition 0, not 1"):
        paused.process(log.take(1))
    paused.close()
    successor.close()


def test_a_redis_that_lost_its_last_second_is_fed_again(own_redis: Redis) -> None:
    """State and last index go back together; the replay comes to the same event."""
    store = RedisStore(own_redis.url, "street")
    stage, log = stage_on(store), Log()
    log.add(*(prediction(NOW + second, 0.9, session=LIVE) for second in (0.0, 0.5)))
    stage.process(log.take())
    own_redis.stop()
    before = (own_redis.folder / "appendonlydir").parent / "kept"
    _copy(own_redis.folder / "appendonlydir", before)
    own_redis.start()
    log.add(prediction(NOW + 1, 0.9, session=LIVE))
    told = stage.process(log.take(2))
    assert len(told) == 1
    stage.durable(told)
    own_redis.kill()
    _copy(before, own_redis.folder / "appendonlydir")
    own_redis.start()
    log.add(prediction(NOW + 1.5, 0.9, session=LIVE))
    with pytest.raises(Transient, match="Redis has 1 steps of partition 0, not 2"):
        stage.process(log.take(3))
    stage.forget({log.partition})
    assert stage.process(log.take()) == told
    assert len(store.incidents()) == 1
    stage.close()


def _copy(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for old in target.iterdir():
        old.unlink()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


def test_the_worker_outlives_a_redis_that_dies_and_comes_back(
    own_redis: Redis, tmp_path: Path
) -> None:
    configuration = Configuration(
        overrides=[
            f"alerting.bundle={bundle_folder(tmp_path / 'bundle')}",
            f"alerting.redis_url={own_redis.url}",
            "alerting.durability_window_seconds=0.2", "worker.commit_interval_seconds=0",
        ],
        environment={},
    )  # fmt: skip
    bus, stop, topics = MemoryBus(partitions=1), threading.Event(), Topics()
    reader = bus.consumer(None, [topics.anomalies])
    worker = build_worker(bus, configuration, stop)
    thread = threading.Thread(target=worker.run)
    thread.start()
    producer = bus.producer()

    def send(*scores: tuple[float, float]) -> None:
        for at, score in scores:
            value = encode(prediction(at, score))
            producer.send(Output(topics.predictions("street"), "gate-3", value))

    def events(count: int) -> list[bytes | None]:
        found: dict[bytes | None, None] = {}
        until = time.monotonic() + 30
        while len(found) < count and time.monotonic() < until:
            found |= dict.fromkeys(record.value for record in reader.poll(10, 1.0))
        return list(found)

    try:
        send((1, 0.9), (2, 0.9))
        assert len(events(1)) == 1
        own_redis.kill()
        send((3, 0.1), (4, 0.1), (5, 0.1))
        assert _becomes(lambda: not worker.healthy.is_set()), "not ready without Redis"
        own_redis.start()
        (closed,) = (e for e in events(1) if b"closed" in (e or b""))
        assert b'"ended_at":2.0' in (closed or b"")
        assert _becomes(worker.healthy.is_set)
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert bus.read(Partition(topics.dead_letters, 0), 0, 9) == []


def _becomes(condition: object) -> bool:
    assert callable(condition)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if condition():
            return True
        threading.Event().wait(0.01)
    return False
