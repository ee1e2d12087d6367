"""The worker on a memory bus: every record once, whatever fails."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from shared.bus import Output, Partition, Received, Record
from shared.bus_memory import MemoryBus
from shared.errors import Fatal, InvalidBundle, TooManyDeadLetters, Transient
from shared.metrics import registry
from tests.support.window_stage import Script, WindowStage, read_text, windows
from tests.support.workers import (
    DEAD,
    GROUP,
    IN,
    OUT,
    feed,
    first_of_each,
    last_of_each,
    log,
    running,
    texts,
    wait_for,
)

PLACE = Partition(IN, 0)
NUMBERS = [str(i) for i in range(10)]


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a worker sees soon that it is told to stop."""
    monkeypatch.setattr("shared.worker._IDLE_SECONDS", 0.02)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


def committed(bus: MemoryBus, place: Partition = PLACE) -> int:
    return bus._groups[GROUP].committed.get(place, 0)


def once(error: Exception, text: str) -> tuple[list[int], Script]:
    """A script that raises when it first sees a text."""
    calls: list[int] = []

    def script(batch: Sequence[Received]) -> None:
        if not calls and any(received.message == text for received in batch):
            calls.append(1)
            raise error

    return calls, script


def test_every_record_goes_through_once_in_order(bus: MemoryBus) -> None:
    stage = WindowStage(OUT)
    with running(bus, stage, max_records=4):
        feed(bus, *NUMBERS)
        wait_for(bus, lambda: len(texts(bus)) == 10 and committed(bus) == 8)
    assert texts(bus) == windows(NUMBERS) == stage.acknowledged
    assert [text for batch in stage.batches for text in batch] == NUMBERS
    assert max(map(len, stage.batches)) <= 4
    assert stage.closed.is_set()


def test_a_new_worker_goes_on_from_the_pins(bus: MemoryBus) -> None:
    with running(bus, WindowStage(OUT)):
        feed(bus, *NUMBERS[:5])
        wait_for(bus, lambda: committed(bus) == 3)
    stage = WindowStage(OUT)
    with running(bus, stage):
        feed(bus, *NUMBERS[5:])
        wait_for(bus, lambda: committed(bus) == 8)
    assert [text for batch in stage.batches for text in batch] == NUMBERS[3:]
    # Records 3 and 4 were read again to rebuild the window, with less behind them.
    assert texts(bus)[5:] == ["3", "3-4", *windows(NUMBERS)[5:]]


def test_without_records_the_stage_is_called_with_none(bus: MemoryBus) -> None:
    called = threading.Event()

    def script(batch: Sequence[Received]) -> None:
        if not batch:
            called.set()

    with running(bus, WindowStage(OUT, script=script)):
        assert called.wait(5)


def test_a_watermark_that_moves_while_idle_is_committed(bus: MemoryBus) -> None:
    stage = WindowStage(OUT)

    def evict(batch: Sequence[Received]) -> None:
        if not batch:
            stage._windows.clear()

    stage._script = evict
    with running(bus, stage):
        feed(bus, *NUMBERS)
        wait_for(bus, lambda: committed(bus) == 10)


@pytest.mark.parametrize("threads", [0, 2])
def test_what_cannot_be_decoded_is_put_aside_alone(bus: MemoryBus, threads: int) -> None:
    with running(bus, WindowStage(OUT), decode_threads=threads):
        feed(bus, "0", "!1", "2", "3")
        wait_for(bus, lambda: len(texts(bus)) == 3 and len(log(bus, DEAD)) == 1)
    assert texts(bus) == ["0", "0-2", "0-2-3"]
    (letter,) = log(bus, DEAD)
    assert (letter.key, letter.value) == ("camera", b"!1")
    headers = dict(letter.headers)
    assert headers["reason"] == b"it begins with !"
    assert headers["source-topic"] == b"in"
    assert (headers["source-partition"], headers["source-offset"]) == (b"0", b"1")


def test_a_decoder_that_breaks_refuses_the_record_too(bus: MemoryBus) -> None:
    def decode(record: Record) -> str:
        if record.value == b"1":
            raise MemoryError("too large")
        return read_text(record)

    with running(bus, WindowStage(OUT), decode=decode, decode_threads=1):
        feed(bus, "0", "1", "2")
        wait_for(bus, lambda: texts(bus) == ["0", "0-2"])
    assert dict(log(bus, DEAD)[0].headers)["reason"] == b"MemoryError: too large"


@pytest.mark.parametrize("poison", [{"4"}, {"0"}, {"9"}, {"4", "5"}, {"2", "7"}])
def test_poison_is_found_and_its_neighbours_survive(bus: MemoryBus, poison: set[str]) -> None:
    def script(batch: Sequence[Received]) -> None:
        if found := poison & {str(received.message) for received in batch}:
            raise ValueError(f"cannot bear {min(found)}")

    stage = WindowStage(OUT, script=script)
    healthy = [text for text in NUMBERS if text not in poison]
    feed(bus, *NUMBERS)
    with running(bus, stage):
        wait_for(bus, lambda: texts(bus)[-1:] == windows(healthy)[-1:])
        wait_for(bus, lambda: len(log(bus, DEAD)) == len(poison))
    assert sorted(texts(bus, DEAD)) == sorted(poison)
    assert dict(log(bus, DEAD)[0].headers)["reason"].startswith(b"ValueError: cannot bear")
    # A window read again begins shorter, but each whole one is right and none is left out.
    whole = [text for text in first_of_each(texts(bus)) if text.count("-") == 2]
    assert [text for text in windows(healthy) if text.count("-") == 2] == whole


def test_poison_on_one_partition_leaves_the_other_alone() -> None:
    bus = MemoryBus(partitions=2)

    def script(batch: Sequence[Received]) -> None:
        if any(received.message == "a1" for received in batch):
            raise ValueError("no")

    feed(bus, "a0", "a1", "a2", key="a")
    feed(bus, "b0", "b1", "b2", key="b")
    with running(bus, WindowStage(OUT, width=1, script=script)):
        wait_for(bus, lambda: {"a2", "b2"} <= {*texts(bus, key="a"), *texts(bus, key="b")})
    assert first_of_each(texts(bus, key="a")) == ["a0", "a2"]
    assert first_of_each(texts(bus, key="b")) == ["b0", "b1", "b2"]
    assert texts(bus, DEAD, "a") == ["a1"]


def test_a_failure_that_passes_buries_nothing(bus: MemoryBus) -> None:
    calls, script = once(ValueError("just once"), "3")
    feed(bus, *NUMBERS)
    with running(bus, WindowStage(OUT, script=script)):
        wait_for(bus, lambda: len(first_of_each(texts(bus))) == 10)
    assert calls
    assert texts(bus) == windows(NUMBERS)
    assert log(bus, DEAD) == []


def test_a_stage_that_always_fails_stops_the_worker(bus: MemoryBus) -> None:
    def script(batch: Sequence[Received]) -> None:
        if batch:
            raise ValueError("broken")

    feed(bus, *(str(i) for i in range(100)))
    with running(bus, WindowStage(OUT, script=script)) as run:
        error = run.join()
        assert isinstance(error, Fatal)
        assert "everything fails" in str(error)
    assert len(log(bus, DEAD)) == 10
    assert committed(bus) <= 10


def test_a_stage_that_fails_without_input_stops_the_worker(bus: MemoryBus) -> None:
    def script(batch: Sequence[Received]) -> None:
        raise ValueError("broken")

    with running(bus, WindowStage(OUT, script=script)) as run:
        assert isinstance(run.join(), Fatal)


def test_what_an_operator_must_mend_stops_the_worker(bus: MemoryBus) -> None:
    _, script = once(InvalidBundle("other weights"), "1")
    feed(bus, *NUMBERS)
    with running(bus, WindowStage(OUT, script=script)) as run:
        assert isinstance(run.join(), InvalidBundle)
    assert log(bus, DEAD) == []


def test_too_many_dead_letters_stop_the_worker(bus: MemoryBus) -> None:
    feed(bus, "0", *(f"!{i}" for i in range(20)))
    with running(bus, WindowStage(OUT), max_records=1, max_dead_letters_per_minute=5) as run:
        assert isinstance(run.join(), TooManyDeadLetters)
    assert len(log(bus, DEAD)) == 5
    assert committed(bus) <= 6  # the rest is still there for whoever mends it


def test_a_store_that_is_away_costs_nothing_but_time(bus: MemoryBus) -> None:
    health = []
    failures = [Transient("away"), Transient("away")]

    def script(batch: Sequence[Received]) -> None:
        if batch:
            health.append(run.worker.healthy.is_set())
            if failures:
                raise failures.pop()

    stage = WindowStage(OUT, script=script)
    with running(bus, stage) as run:
        feed(bus, *NUMBERS)
        wait_for(bus, lambda: len(texts(bus)) == 10)
        wait_for(bus, run.worker.healthy.is_set)
    assert texts(bus) == windows(NUMBERS)
    assert False in health
    assert frozenset({PLACE}) in stage.forgotten


@pytest.mark.parametrize("operation", ["send", "flush", "acknowledge", "commit", "poll"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_bus_that_fails_costs_nothing_but_time(
    bus: MemoryBus, operation: str, times: int
) -> None:
    stage = WindowStage(OUT)
    feed(bus, *NUMBERS[:5])
    bus.fail_next(operation, times)
    with running(bus, stage, max_records=2):
        wait_for(bus, lambda: committed(bus) == 3)
        feed(bus, *NUMBERS[5:])
        wait_for(bus, lambda: committed(bus) == 8)
    assert last_of_each(texts(bus)) == windows(NUMBERS)
    assert [text for batch in stage.batches for text in batch] == NUMBERS  # processed once
    if operation in ("send", "commit", "poll"):
        assert texts(bus) == windows(NUMBERS)


def test_an_output_that_can_never_be_sent_stops_the_worker(
    bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(output: Output, timeout: float | None) -> None:
        raise Fatal("too large")

    feed(bus, *NUMBERS)
    monkeypatch.setattr(bus, "append", send)
    with running(bus, WindowStage(OUT)) as run:
        assert isinstance(run.join(), Fatal)
    assert committed(bus) == 0


def test_stop_finishes_the_batch_in_hand(bus: MemoryBus) -> None:
    computing, go_on = threading.Event(), threading.Event()

    def script(batch: Sequence[Received]) -> None:
        if batch:
            computing.set()
            assert go_on.wait(5)

    feed(bus, *NUMBERS)
    with running(bus, WindowStage(OUT, script=script)) as run:
        assert computing.wait(5)
        run.stop.set()
        go_on.set()
        assert run.join() is None
        assert not run.worker.healthy.is_set()
    assert texts(bus) == windows(NUMBERS)
    assert committed(bus) == 8


def test_stop_finishes_a_batch_that_fails_meanwhile(bus: MemoryBus) -> None:
    computing, go_on = threading.Event(), threading.Event()

    def script(batch: Sequence[Received]) -> None:
        if batch:
            computing.set()
            assert go_on.wait(5)
            if any(received.message == "4" for received in batch):
                raise ValueError("poison")

    feed(bus, *NUMBERS)
    with running(bus, WindowStage(OUT, width=1, script=script)) as run:
        assert computing.wait(5)
        run.stop.set()
        go_on.set()
        assert run.join() is None
    assert first_of_each(texts(bus)) == [text for text in NUMBERS if text != "4"]
    assert texts(bus, DEAD) == ["4"]
    assert committed(bus) == 10


def test_a_full_bus_holds_the_worker_until_its_reader_goes_on() -> None:
    bus = MemoryBus(capacity=3)
    reader = bus.consumer("reader", [OUT])
    feed(bus, *NUMBERS)  # nobody reads the input yet, so it is unbounded
    with running(bus, WindowStage(OUT)):
        wait_for(bus, lambda: len(texts(bus)) == 3)
        seen: list[Record] = []
        while len(seen) < 10:
            seen += reader.poll(2, 1)
            assert bus.unread("reader") <= 3
    assert [(r.value or b"").decode() for r in seen] == windows(NUMBERS)


def test_stop_ends_a_send_that_waits_for_a_dead_reader() -> None:
    bus = MemoryBus(capacity=3)
    bus.consumer("reader", [OUT])
    feed(bus, *NUMBERS)
    with running(bus, WindowStage(OUT), delivery_timeout_seconds=0.1) as run:
        wait_for(bus, lambda: len(texts(bus)) == 3)
        assert run.end() is None
    assert committed(bus) == 0  # the batch was not finished: a restart repeats it


def test_closing_the_bus_ends_the_worker_at_once() -> None:
    bus = MemoryBus(capacity=3)
    bus.consumer("reader", [OUT])
    feed(bus, *NUMBERS)
    with running(bus, WindowStage(OUT)) as run:
        wait_for(bus, lambda: len(texts(bus)) == 3)
        bus.close()
        assert run.join() is None


def test_decoding_runs_ahead_of_the_stage(bus: MemoryBus) -> None:
    second_decoded = threading.Event()

    def decode(record: Record) -> str:
        if record.value == b"1":
            second_decoded.set()
        return read_text(record)

    def script(batch: Sequence[Received]) -> None:
        if batch and batch[0].message == "0":
            assert second_decoded.wait(5)

    feed(bus, "0", "1")
    stage = WindowStage(OUT, script=script)
    with running(bus, stage, decode=decode, decode_threads=1, max_records=1):
        wait_for(bus, lambda: len(texts(bus)) == 2)
    assert log(bus, DEAD) == []


def test_lag_is_measured(bus: MemoryBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.worker._MEASURE_EVERY", 0)
    computing, go_on = threading.Event(), threading.Event()

    def script(batch: Sequence[Received]) -> None:
        if any(received.message == "1" for received in batch):
            computing.set()
            assert go_on.wait(5)

    feed(bus, *NUMBERS)
    with running(bus, WindowStage(OUT, script=script), max_records=1):
        assert computing.wait(5)
        lag = registry.get_sample_value("citywatch_lag_records", {"service": "tested"})
        go_on.set()
        wait_for(bus, lambda: len(texts(bus)) == 10)
    assert lag is not None
    assert 6 <= lag <= 9
