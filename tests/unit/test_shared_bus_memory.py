"""What only the memory bus has: bounds, evidence, failures on demand. The rest: tests/contract."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from shared.bus import Output, Partition
from shared.bus_memory import MemoryBus
from shared.errors import BusClosed, BusFull, OperatorError, Transient

PLACE = Partition("t", 0)


def fill(bus: MemoryBus, count: int, size: int = 900, key: str = "k", topic: str = "t") -> None:
    producer = bus.producer()
    for _ in range(count):
        producer.send(Output(topic, key, bytes(size)), 0)


def kept(bus: MemoryBus, partition: Partition = PLACE) -> list[int]:
    return [record.offset for record in bus.read(partition, 0, 1 << 60)]


def test_a_topic_that_nobody_reads_is_a_ring() -> None:
    bus = MemoryBus(keep_bytes=5_000, capacity=2)
    fill(bus, 100)
    assert kept(bus) == [95, 96, 97, 98, 99]


def test_what_is_read_but_not_committed_is_kept() -> None:
    bus = MemoryBus(keep_bytes=2_000, capacity=4)
    reader = bus.consumer("g", ["t"])
    for _ in range(5):
        fill(bus, 4)
        assert len(reader.poll(10, 0)) == 4
    assert kept(bus) == list(range(20))
    assert reader.commit({PLACE: 10})
    fill(bus, 1)
    assert kept(bus) == list(range(10, 21))


def test_a_topic_keeps_the_bytes_stated_for_it() -> None:
    bus = MemoryBus(keep_bytes=5_000, keep={"frames": 10_000})
    fill(bus, 50)
    fill(bus, 50, topic="frames")
    assert len(kept(bus)) == 5
    assert len(kept(bus, Partition("frames", 0))) == 10


def test_the_oldest_goes_first_whatever_its_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1_000_000, 10**12, 1_000_000))
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    bus = MemoryBus(partitions=2, keep_bytes=6_000)
    for _ in range(20):
        fill(bus, 1, key="a")
        fill(bus, 1, key="b")
    assert kept(bus, Partition("t", 0)) == kept(bus, Partition("t", 1)) == [17, 18, 19]


def test_a_lone_reader_holds_what_it_has_not_read_and_no_more() -> None:
    bus = MemoryBus(keep_bytes=2_000, capacity=10)
    reader = bus.consumer(None, ["t"], "beginning")
    fill(bus, 10)
    with pytest.raises(BusFull):
        fill(bus, 1)
    assert [record.offset for record in reader.poll(100, 0)] == list(range(10))
    fill(bus, 1)
    assert kept(bus) == [9, 10]
    reader.close()
    fill(bus, 50)
    assert len(kept(bus)) == 2


def test_a_sender_goes_on_when_the_slow_reader_leaves() -> None:
    bus = MemoryBus(capacity=1)
    reader = bus.consumer("g", ["t"])
    fill(bus, 1)
    sending = threading.Thread(target=lambda: bus.producer().send(Output("t", "k", b"2"), 10))
    sending.start()
    reader.close()
    sending.join(5)
    assert not sending.is_alive()
    assert kept(bus) == [0, 1]


def test_a_record_wakes_the_readers_of_its_topic_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bus, woken = MemoryBus(), list[str]()
    bus.consumer("g", ["t"])
    bus.consumer("h", ["other"])
    for group in ("g", "h"):
        arrived = bus._groups[group].arrived
        monkeypatch.setattr(arrived, "notify_all", lambda group=group: woken.append(group))
    fill(bus, 1)
    assert woken == ["g"]


def test_a_reader_wakes_the_senders_to_what_it_has_read_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bus, woken = MemoryBus(partitions=2, capacity=1), list[int]()
    reader = bus.consumer("g", ["t"])
    fill(bus, 1)
    for number in range(2):
        room = bus.log(Partition("t", number)).room
        monkeypatch.setattr(room, "notify_all", lambda number=number: woken.append(number))
    assert len(reader.poll(10, 1)) == 1
    assert woken == [0]


def test_capacity_counts_each_partition_by_itself() -> None:
    bus = MemoryBus(partitions=2, capacity=3)
    bus.consumer("g", ["t"])
    fill(bus, 3, key="a")
    with pytest.raises(BusFull, match="3 unread"):
        fill(bus, 1, key="a")
    fill(bus, 3, key="b")
    assert bus.unread("g") == 6


def test_a_backlog_of_one_camera_starves_no_other() -> None:
    bus = MemoryBus(partitions=3, capacity=1000)
    reader = bus.consumer("g", ["t"])
    fill(bus, 900, size=1, key="a")
    fill(bus, 2, size=1, key="b")
    fill(bus, 2, size=1, key="c")
    keys = [record.key for record in reader.poll(9, 0)]
    assert {"a", "b", "c"} == set(keys)
    assert len(keys) >= 7
    fill(bus, 9, size=1, key="b")
    assert {reader.poll(1, 0)[0].key for _ in range(2)} == {"a", "b"}


@pytest.mark.parametrize("operation", ["send", "commit", "poll"])
def test_a_call_made_to_fail(operation: str) -> None:
    bus = MemoryBus()
    reader = bus.consumer("g", ["t"])
    calls: dict[str, Callable[[], object]] = {
        "send": lambda: bus.producer().send(Output("t", "k", b"1")),
        "commit": lambda: reader.commit({PLACE: 0}),
        "poll": lambda: reader.poll(1, 0),
    }
    bus.fail_next(operation, 2)
    for _ in range(2):
        with pytest.raises(Transient):
            calls[operation]()
    calls[operation]()


def test_a_delivery_made_to_fail() -> None:
    bus = MemoryBus()
    producer = bus.producer()
    output = Output("t", "k", b"1")
    bus.fail_next("flush")
    lost = producer.send(output)
    assert isinstance(lost.error, Transient)
    assert lost.done
    assert kept(bus) == []
    bus.fail_next("acknowledge")
    assert isinstance(producer.send(output).error, Transient)
    assert kept(bus) == [0]
    assert [failed for failed, _ in producer.flush(1)] == [output, output]
    assert producer.flush(1) == []


def test_after_close_nothing_spins_and_nothing_is_sent() -> None:
    bus = MemoryBus()
    reader = bus.consumer("g", ["t"])
    bus.close()
    started = time.monotonic()
    assert reader.poll(1, 0.1) == []
    assert time.monotonic() - started >= 0.1
    with pytest.raises(BusClosed):
        bus.producer().send(Output("t", "k", b"1"))


def test_close_ends_a_poll_that_waits() -> None:
    bus = MemoryBus()
    reader = bus.consumer("g", ["t"])
    closing = threading.Timer(0.05, bus.close)
    closing.start()
    started = time.monotonic()
    assert reader.poll(1, 1) == []
    assert time.monotonic() - started < 0.9


def test_a_group_reads_the_same_topics_everywhere() -> None:
    bus = MemoryBus()
    bus.consumer("g", ["t"])
    with pytest.raises(OperatorError, match="already reads"):
        bus.consumer("g", ["other"])


def test_a_commit_after_a_loss_is_refused_even_if_the_partition_came_back() -> None:
    bus = MemoryBus(partitions=2)
    first = bus.consumer("g", ["t"])
    second = bus.consumer("g", ["t"])
    lost = Partition("t", 1)
    assert first.assigned() == {PLACE}
    second.close()
    assert first.assigned() == {PLACE, lost}
    assert not first.commit({PLACE: 0, lost: 0})
    assert first.take_lost() == {lost}
    assert first.commit({PLACE: 0, lost: 0})
