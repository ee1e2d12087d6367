"""The two buses, each with fresh topics and groups for every test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from shared.bus import Bus
from shared.bus_kafka import KafkaBus
from shared.bus_memory import MemoryBus
from shared.settings import KafkaSettings
from shared.topics import TopicSpec
from tests.support.bus_world import PARTITIONS, Make, World
from tests.support.service_fixtures import kafka, redis_url, service_variables  # noqa: F401


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a World; `small=True` bounds the bus so that four sends of 300 KiB fill it."""
    worlds: list[World] = []

    def build(small: bool = False) -> World:
        name = f"contract-{uuid.uuid4().hex[:12]}"
        bus: Bus
        if request.param == "memory":
            bus = MemoryBus(partitions=PARTITIONS, capacity=3 if small else 256)
        else:
            settings = KafkaSettings(
                bootstrap_servers=request.getfixturevalue("kafka"),
                partitions=PARTITIONS,
                # A second of linger holds the first batch back until the bound is reached.
                linger_ms=1000 if small else 5,
                batch_bytes=(8 if small else 0.5) * (1 << 20),
                buffer_bytes=1 << 20,
                session_timeout_seconds=6,
            )
            bus = KafkaBus(settings)
        world = World(bus, name)
        worlds.append(world)
        bus.ensure_topics([TopicSpec(world.topic, retention_seconds=3600)])
        return world

    yield build
    for world in worlds:
        for consumer in world.opened:
            consumer.close()
        world.bus.close()


@pytest.fixture
def world(make: Make) -> World:
    return make()
