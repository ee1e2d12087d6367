"""The worker when partitions come and go, positions jump, and deliveries are late."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import pytest

from shared.bus import Partition, Received
from shared.bus_memory import MemoryBus
from shared.errors import Transient
from shared.metrics import registry
from tests.support.scripted_bus import ScriptedBus, record
from tests.support.window_stage import WindowStage, windows
from tests.support.workers import IN, OUT, feed, first_of_each, running, texts, wait_for

A, B = Partition(IN, 0), Partition(IN, 1)


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.worker._IDLE_SECONDS", 0.02)


def taken(stage: WindowStage) -> list[str]:
    return [text for batch in stage.batches for text in batch]


def test_records_of_a_lost_partition_are_not_processed() -> None:
    # The second poll loses A while the first one's records wait for the stage.
    bus = ScriptedBus(
        ([record(0), record(1)], ()),
        ([record(7, place=B)], {A}),
    )
    stage = WindowStage(OUT, width=1)
    with running(bus, stage, max_records=2):
        bus.wait_for_commit({B: 8})
    assert taken(stage) == ["7"]
    assert stage.forgotten == [frozenset({A})]
    assert all(A not in offsets for offsets in bus.scripted.commits)
    assert bus.scripted.rewound == []


def test_what_came_with_a_loss_is_read_again() -> None:
    # A was lost and came back within one poll: whose records these are cannot be told.
    bus = ScriptedBus(
        ([record(0)], ()),
        ([], ()),
        ([record(1), record(2)], {A}),
        ([record(1), record(2), record(3)], ()),
    )
    stage = WindowStage(OUT, width=1)
    with running(bus, stage):
        bus.wait_for_commit({A: 4})
    assert taken(stage) == ["0", "1", "2", "3"]
    assert bus.scripted.rewound == [frozenset({A})]


def test_a_loss_while_deliveries_are_out_takes_their_commit_back() -> None:
    bus = ScriptedBus(
        ([record(0), record(0, place=B)], ()),
        ([], ()),
        ([], {A}),
        at_once=False,
    )
    with running(bus, WindowStage(OUT, width=1)):
        first = bus.wait_for_sends(2)
        assert bus.scripted.read_out.wait(5)
        for delivery in first:
            delivery.settle()
        bus.wait_for_commit({B: 1})
    assert all(A not in offsets for offsets in bus.scripted.commits)


def test_a_loss_during_the_computation_is_forgotten_after_it() -> None:
    computing, go_on = threading.Event(), threading.Event()

    def script(batch: Sequence[Received]) -> None:
        if batch:
            computing.set()
            assert go_on.wait(5)

    bus = ScriptedBus(([record(0)], ()))
    stage = WindowStage(OUT, width=1, script=script)
    with running(bus, stage):
        assert computing.wait(5)
        bus.scripted._lost.add(A)
        assert stage.forgotten == []
        go_on.set()
        bus.wait_for_sends(1)
    assert stage.forgotten == [frozenset({A})]
    assert bus.scripted.commits == []


def test_what_is_on_its_way_is_looked_after_while_nothing_else_succeeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No coordinator, so notes cannot be taken away; a delivery fails meanwhile."""
    monkeypatch.setattr("shared.patience._FIRST", 0.001)
    bus = ScriptedBus(([record(0)], ()), at_once=False)
    away = threading.Event()

    def note(notes: Mapping[Partition, str]) -> None:
        if "" in notes.values():
            away.set()
            raise Transient("no coordinator")

    monkeypatch.setattr(bus.scripted, "note", note)
    with running(bus, WindowStage(OUT, width=1)):
        (first,) = bus.wait_for_sends(1)
        assert away.wait(10)
        first.settle(Transient("not acknowledged"))
        _, second = bus.wait_for_sends(2)
        assert second.output == first.output
        second.settle()
        bus.wait_for_commit({A: 1})


def test_a_jump_forgets_first_and_is_counted() -> None:
    def skipped() -> float:
        return registry.get_sample_value(
            "citywatch_lost_to_retention_total", {"service": "tested"}
        ) or 0.0  # fmt: skip

    before = skipped()
    bus = ScriptedBus(([record(0), record(1), record(5)], ()), ([record(6)], ()))
    stage = WindowStage(OUT)
    with running(bus, stage):
        bus.wait_for_commit({A: 5})
    outputs = [(d.output.value or b"").decode() for d in bus.sent]
    assert outputs == ["0", "0-1", "5", "5-6"]
    assert stage.forgotten == [frozenset({A})]
    assert skipped() == before + 3


def test_a_slow_stage_does_not_stop_the_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.inbound._POLL_AT_LEAST_EVERY", 0)
    monkeypatch.setattr("shared.worker.SLICE", 0.01)
    bus = ScriptedBus(([record(0)], ()))

    def script(batch: Sequence[Received]) -> None:
        if batch:
            bus.alive.clear()
            assert bus.alive.wait(5)  # set by keep_alive, while this is running

    stage = WindowStage(OUT, width=1, script=script)
    with running(bus, stage):
        bus.wait_for_commit({A: 1})
    assert taken(stage) == ["0"]


def test_backing_off_does_not_stop_the_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.inbound._POLL_AT_LEAST_EVERY", 0)
    bus = ScriptedBus(([record(0)], ()))

    def script(batch: Sequence[Received]) -> None:
        if batch:
            bus.alive.clear()
            raise Transient("away")

    with running(bus, WindowStage(OUT, script=script), delivery_timeout_seconds=0.1):
        assert bus.scripted.read_out.wait(5)
        assert bus.alive.wait(5)


def test_commits_follow_deliveries_in_order() -> None:
    bus = ScriptedBus(([record(0)], ()), ([record(1)], ()), at_once=False)
    stage = WindowStage(OUT)
    with running(bus, stage, max_records=1):
        first, second = bus.wait_for_sends(2)
        second.settle()
        assert bus.scripted.read_out.wait(5)
        assert bus.scripted.commits == []  # the first batch is not durable yet
        first.settle()
        bus.wait_for_commit({A: 0})
    assert stage.acknowledged == ["0", "0-1"]


def test_a_commit_point_is_what_its_own_batch_needed() -> None:
    # After its first record the window needs offset 0; with the second record it begins anew.
    stage = WindowStage(OUT)

    def script(batch: Sequence[Received]) -> None:
        if any(received.message == "1" for received in batch):
            stage._windows.clear()

    stage._script = script
    bus = ScriptedBus(([record(0)], ()), ([record(1)], ()), at_once=False)
    with running(bus, stage, max_records=1, in_flight=4):
        first, second = bus.wait_for_sends(2)
        first.settle()
        bus.wait_for_commit({A: 0})
        second.settle()
        bus.wait_for_commit({A: 1})
    assert bus.scripted.commits == [{A: 0}, {A: 1}]


def test_what_is_not_acknowledged_in_time_is_sent_again() -> None:
    bus = ScriptedBus(([record(0), record(1)], ()), at_once=False)
    with running(bus, WindowStage(OUT), in_flight=0, delivery_timeout_seconds=0.3):
        first, _ = bus.wait_for_sends(2)
        first.settle()
        bus.at_once = True
        bus.wait_for_commit({A: 0})
    outputs = [(d.output.value or b"").decode() for d in bus.sent]
    assert outputs == ["0", "0-1", "0-1"]
    assert bus.producers[0].closed


def test_sending_again_begins_at_the_first_failure_of_each_key() -> None:
    bus = ScriptedBus(([record(i) for i in range(3)], ()), at_once=False)
    with running(bus, WindowStage(OUT)):
        one, two, three = bus.wait_for_sends(3)
        bus.at_once = True
        one.settle()
        three.settle()
        two.settle(Transient("lost"))
        bus.wait_for_commit({A: 1})
    outputs = [(d.output.value or b"").decode() for d in bus.sent]
    assert outputs == ["0", "0-1", "0-1-2", "0-1", "0-1-2"]


def test_a_second_worker_takes_over_half_and_nothing_is_missed() -> None:
    bus = MemoryBus(partitions=2)
    numbers = [str(i) for i in range(20)]
    with running(bus, WindowStage(OUT)):
        for key in ("a", "b"):
            feed(bus, *numbers[:10], key=key)
        wait_for(bus, lambda: len(texts(bus, key="a")) == len(texts(bus, key="b")) == 10)
        with running(bus, WindowStage(OUT)):
            for key in ("a", "b"):
                feed(bus, *numbers[10:], key=key)
            wait_for(bus, lambda: all(texts(bus, key=k)[-1:] == ["17-18-19"] for k in "ab"))
    for key in ("a", "b"):
        whole = [text for text in first_of_each(texts(bus, key=key)) if text.count("-") == 2]
        assert whole == windows(numbers)[2:]
