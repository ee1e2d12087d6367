"""The link to Redis: cut in the middle of a step, stalled, and a Redis that forgot its last second.

Whatever happens, the events and the incidents in the store are those of a run without faults.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alerting.incidents import Rules
from alerting.settings import AlertingSettings
from alerting.stage import build_worker
from alerting.store_redis import RedisStore
from shared.bus import Consumer, Output, Partition, Record
from shared.bus_memory import MemoryBus
from shared.codec import encode
from shared.settings import Configuration
from shared.topics import Topics
from shared.worker import Worker
from tests.faults.verdict import without_faults
from tests.support.broker import CannotStart, Redis
from tests.support.predictions import bundle_folder, description, end, prediction
from tests.support.proxy import Proxy
from tests.support.service_fixtures import kafka, redis_url, service_variables  # noqa: F401

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("redis_url")]
CAMERAS = ("north", "south", "gate")
RULES = Rules.of(description(), AlertingSettings())
TOPICS = Topics()
SECONDS = 30.0


class World:
    """Predictions in a memory bus, an alerting worker, and what came of it."""

    def __init__(self, folder: Path, address: str, window: float) -> None:
        self.bus = MemoryBus(partitions=2, capacity=1 << 16)
        self.topic = TOPICS.predictions("street")
        self.bus.ensure_topics(TOPICS.specs("street"))
        self.configuration = Configuration(
            overrides=[
                f"alerting.bundle={bundle_folder(folder / 'bundle')}",
                f"alerting.redis_url=redis://{address}",
                f"alerting.durability_window_seconds={window}",
                "worker.commit_interval_seconds=0", "worker.max_records=4",
            ],
            environment={},
        )  # fmt: skip
        self.stop = threading.Event()
        self.reader: Consumer = self.bus.consumer(None, [TOPICS.anomalies], "beginning")
        self.events: dict[str, bytes] = {}

    def feed(self, first: int, last: int) -> None:
        """Half a second of each camera for each number: three seconds high, eight low."""
        producer = self.bus.producer()
        for n in range(first, last):
            for shift, camera in enumerate(CAMERAS):
                score = 0.9 if (n + 5 * shift) % 22 < 6 else 0.1
                message = prediction(2 + n / 2, score, camera_id=camera)
                producer.send(Output(self.topic, camera, encode(message)))

    def finish(self, last: int) -> None:
        """All cameras end."""
        producer = self.bus.producer()
        for camera in CAMERAS:
            producer.send(Output(self.topic, camera, encode(end(2 + last / 2, camera_id=camera))))

    def collect(self) -> None:
        """Take what has been announced since; the first content of an id counts."""
        for record in self.reader.poll(100, 0.05):
            value = record.value or b""
            assert self.events.setdefault(json.loads(value)["id"], value) == value

    def until(self, condition: Callable[[], bool]) -> None:
        """Collect until the condition holds."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, sorted(self.events)
            self.collect()

    @property
    def log(self) -> list[Record]:
        """All predictions."""
        return [
            record
            for number in range(2)
            for record in self.bus.read(Partition(self.topic, number), 0, 1 << 30)
        ]

    @property
    def committed(self) -> bool:
        """Whether alerting has committed everything."""
        done = self.bus._groups[TOPICS.group("alerting", "street")].committed
        places = [Partition(self.topic, number) for number in range(2)]
        return all(done.get(place, 0) == self.bus.log(place).end for place in places)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """Alerting, in a thread."""
        worker = build_worker(self.bus, self.configuration, self.stop)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        try:
            yield worker
        finally:
            self.stop.set()
            thread.join(SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path / "redis")
    try:
        server.start()
    except CannotStart as error:
        pytest.fail(str(error))
    yield server
    server.kill()


def in_store(server: Redis) -> set[tuple[str, str]]:
    store = RedisStore(server.url, "street")
    found = {(incident.id, incident.state) for incident in store.incidents()}
    store.close()
    return found


def test_a_link_that_is_cut_in_the_middle_of_steps(tmp_path: Path, server: Redis) -> None:
    with Proxy(server.port) as link:
        world = World(tmp_path, link.address, window=0.1)
        with world.worker():
            for n in range(24):
                world.feed(5 * n, 5 * n + 5)
                link.cut_after(700 + 137 * n)  # in a request, in an answer, between two
                world.until(link.is_cut.is_set)
                link.restore()
            world.finish(120)
            due = without_faults(world.log, RULES)
            world.until(lambda: len(world.events) >= len(due))
            world.until(lambda: len(in_store(server)) == len(due) // 2)
    assert len(due) > 20
    assert world.events == due
    assert in_store(server) == {(name.rpartition(":")[0], "closed") for name in due}


def test_a_link_that_hangs_is_given_up_and_tried_again(tmp_path: Path, server: Redis) -> None:
    with Proxy(server.port) as link:
        world = World(tmp_path, link.address, window=0.1)
        with world.worker() as worker:
            world.feed(0, 20)
            world.until(lambda: len(world.events) > 0)
            link.stall()
            world.feed(20, 40)
            world.until(lambda: not worker.healthy.is_set())
            link.restore()
            world.finish(40)
            due = without_faults(world.log, RULES)
            world.until(lambda: len(world.events) >= len(due))
    assert world.events == due


@pytest.mark.parametrize("over", [False, True], ids=["cameras go on", "cameras have ended"])
@pytest.mark.parametrize(("window", "kept"), [(1.5, True), (0.0, False)])
def test_a_redis_that_forgot_its_last_second(
    tmp_path: Path, server: Redis, window: float, kept: bool, over: bool
) -> None:
    """Commits that stay behind the store make it whole again; without that, incidents are lost.

    Where cameras have ended no later step meets the older state: the store itself is asked.
    """
    world = World(tmp_path, server.address, window)
    live, before = server.folder / "appendonlydir", tmp_path / "before"
    with world.worker():
        world.feed(0, 1)
        world.until(lambda: _sessions(server) == len(CAMERAS))
        shutil.copytree(live, before)
        world.feed(1, 14)
        if over:
            world.finish(14)
        seen = len(without_faults(world.log, RULES))
        assert seen
        world.until(lambda: len(world.events) == seen and (kept or world.committed))
        world.until(lambda: not over or _sessions(server) == 0)
        server.kill()
        shutil.rmtree(live)
        shutil.copytree(before, live)
        server.start()
        if not over:
            world.feed(14, 30)
            world.finish(30)
        world.until(lambda: world.committed)
        world.collect()
        due = without_faults(world.log, RULES)
    closed = {(name.rpartition(":")[0], "closed") for name in due}
    assert (in_store(server) == closed) is kept
    assert world.events == due or not kept


def _sessions(server: Redis) -> int:
    """How many sessions Redis knows."""
    store = RedisStore(server.url, "street")
    count = sum(len(store.load(number).sessions) for number in range(2))
    store.close()
    return count
