"""The same three services on a real Kafka: one is killed, another takes over, nothing is lost."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from shared.bus_kafka import KafkaBus
from shared.settings import KafkaSettings, WorkerSettings
from shared.topics import Topics
from tests.faults.checker import Logs, broken_promises, read_logs
from tests.faults.crashing import Crash, CrashingBus, Fuse
from tests.faults.pipeline import CAMERAS, LANE, RULES, STAGES, film, worker
from tests.support.service_fixtures import kafka, redis_url, service_variables  # noqa: F401

pytestmark = pytest.mark.kafka
SETTINGS = WorkerSettings(max_records=7, max_wait_seconds=0.01, commit_interval_seconds=0)
SECONDS = 90.0
EVENTS = len(CAMERAS) * 4


@contextmanager
def serving(settings: KafkaSettings, topics: Topics, service: str, fuse: Fuse) -> Iterator[None]:
    """A service in a thread, on a bus of its own, until the end or until the fuse blows."""
    bus = KafkaBus(settings)
    stop = threading.Event()
    living = worker(CrashingBus(bus, fuse), topics, service, fuse, SETTINGS, stop)
    errors: list[BaseException] = []

    def body() -> None:
        try:
            living.run()
        except Crash:
            pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
        bus.close()
    assert not thread.is_alive()
    assert errors == []


def complete(logs: Logs) -> bool:
    """Whether every transition has come out: the last thing that happens."""
    return len({json.loads(record.value or b"")["id"] for record in logs.anomalies}) >= EVENTS


@pytest.mark.timeout(240)
@pytest.mark.parametrize("point", ["after process", "before commit"])
@pytest.mark.parametrize("victim", STAGES)
def test_a_killed_worker_is_taken_over(kafka: str, victim: str, point: str) -> None:  # noqa: F811
    settings = KafkaSettings(
        bootstrap_servers=kafka, prefix=f"faults-{uuid.uuid4().hex[:8]}", partitions=4,
        session_timeout_seconds=6,
    )  # fmt: skip
    topics = Topics(settings.prefix)
    bus = KafkaBus(settings)
    try:
        bus.ensure_topics(topics.specs(LANE))
        film(bus, topics)
        fuse = Fuse(point, 2)
        with ExitStack() as services:
            for service in STAGES:
                fated = fuse if service == victim else Fuse("never", 1)
                services.enter_context(serving(settings, topics, service, fated))
            deadline = time.monotonic() + SECONDS
            while not fuse.blown:
                assert time.monotonic() < deadline, "it did not crash"
                read_logs(bus, topics, LANE)  # takes a while, as a watch would
            services.enter_context(serving(settings, topics, victim, Fuse("never", 1)))
            while not complete(logs := read_logs(bus, topics, LANE)):
                assert time.monotonic() < deadline, broken_promises(logs, RULES)[:5]
        assert broken_promises(read_logs(bus, topics, LANE), RULES) == []
    finally:
        bus.close()
