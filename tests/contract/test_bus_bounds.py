"""A bus is bounded: at the bound a live camera drops and a file waits. Closing ends every wait."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.bus import Output, Producer
from shared.errors import BusFull, Transient
from tests.support.bus_world import SECONDS, Make, World, joined

VALUE = bytes(300 << 10)


def full(world: World) -> Producer:
    """A producer without room for another record of one key, to a topic that is subscribed."""
    joined(world.join())
    producer = world.bus.producer()
    producer.send(Output(world.topic, "camera", b"first"))  # connects
    for _ in range(10):
        try:
            producer.send(Output(world.topic, "camera", VALUE), timeout=0)
        except BusFull:
            return producer
    raise AssertionError("never full")


def test_at_the_bound_a_live_camera_is_refused_at_once(make: Make) -> None:
    world = make(small=True)
    producer = full(world)
    started = time.monotonic()
    with pytest.raises(BusFull):
        producer.send(Output(world.topic, "camera", VALUE), timeout=0)
    assert time.monotonic() - started < 0.5
    producer.close()


def test_at_the_bound_a_file_waits_until_there_is_room(make: Make) -> None:
    world = make(small=True)
    producer = full(world)
    reader = world.opened[0]
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            reader.poll(10, 0.1)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            delivery = producer.send(Output(world.topic, "camera", VALUE))
            assert delivery.wait(SECONDS) and delivery.error is None
        finally:
            stop.set()
        reading.result()
    assert producer.flush(SECONDS) == []


def test_closing_the_bus_ends_blocked_sends_and_polls(make: Make) -> None:
    world = make(small=True)
    producer = full(world)
    waiting = threading.Event()

    def send_for_ever() -> None:
        waiting.set()
        while True:
            producer.send(Output(world.topic, "camera", VALUE))

    idle = world.join(group=f"{world.name}.idle", start="end")
    joined(idle)
    with ThreadPoolExecutor(2) as pool:
        sending = pool.submit(send_for_ever)
        polling = pool.submit(idle.poll, 10, 60.0)
        assert waiting.wait(SECONDS)
        world.bus.close()
        with pytest.raises(Transient, match="closed"):
            sending.result(SECONDS)
        polling.result(2)
    assert idle.poll(10, 60.0) == []


def test_a_closed_producer_gives_up_what_is_not_acknowledged(make: Make) -> None:
    world = make(small=True)
    producer = full(world)
    started = time.monotonic()
    producer.close()
    producer.close()
    assert time.monotonic() - started < 5
