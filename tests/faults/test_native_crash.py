"""A record that kills whatever process decodes it: some lives later it is a dead letter."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from shared.bus import Partition, Record
from shared.bus_memory import MemoryBus
from shared.errors import OperatorError
from shared.worker import Worker
from tests.faults.crashing import Crash
from tests.support.window_stage import WindowStage, read_text, windows
from tests.support.workers import DEAD, GROUP, IN, OUT, ROUTE, SECONDS, feed, log, settings, texts

PLACE = Partition(IN, 0)
BOOM = "boom"


class World:
    """A bus, and lives of a worker on it, one after the other."""

    def __init__(
        self, *records: str, threads: int = 0, pinned: bool = False, partitions: int = 1
    ) -> None:
        self.bus = MemoryBus(partitions=partitions)
        self.width = 100 if pinned else 1  # a window that holds everything commits nothing
        self.threads = threads
        feed(self.bus, *records)
        self.notes: list[str] = []  # what lay there whenever the process died

    @property
    def note(self) -> str:
        return self.bus._groups[GROUP].notes.get(PLACE, "")

    def decode(self, record: Record) -> object:
        text = read_text(record)
        if text == BOOM:
            self.notes.append(self.note)
            raise Crash
        return text

    def live(self, stage: WindowStage | None = None) -> BaseException | None:
        """One life; what ended it, None if it has done everything."""
        stop, stage = threading.Event(), stage or WindowStage(OUT, self.width)
        given = settings(max_records=7, decode_threads=self.threads)
        worker = Worker(self.bus, stage, self.decode, ROUTE, given, stop)
        died: list[BaseException] = []
        ends = {
            place: self.bus.log(place).end
            for place in (Partition(IN, n) for n in range(self.bus.partitions))
        }
        tracks = worker._progress._tracks

        def done() -> bool:
            return all(
                not end or (place in tracks and (tracks[place].done or 0) >= end)
                for place, end in ends.items()
            )

        def run() -> None:
            try:
                worker.run()
            except BaseException as error:
                died.append(error)
            with self.bus.changed:
                self.bus.changed.notify_all()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        with self.bus.changed:
            assert self.bus.changed.wait_for(lambda: died or done(), SECONDS)
        stop.set()
        thread.join(SECONDS)
        assert not thread.is_alive()
        return died[0] if died else None

    def lives(self) -> int:
        """How many lives it takes."""
        for number in range(1, 20):
            if self.live() is None:
                return number
        raise AssertionError("it dies for ever")


@pytest.mark.parametrize("pinned", [False, True], ids=["", "pinned"])
@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("at", [0, 5, 30])
def test_it_is_buried_and_its_neighbours_live(at: int, threads: int, pinned: bool) -> None:
    numbers = [f"{n}" for n in range(40)]
    world = World(*numbers[:at], BOOM, *numbers[at:], threads=threads, pinned=pinned)
    lives = world.lives()
    assert 5 <= lives <= 7
    assert texts(world.bus, DEAD) == [BOOM]
    (letter,) = log(world.bus, DEAD)
    assert b"died each time" in dict(letter.headers)["reason"]
    last = [text.rpartition("-")[2] for text in texts(world.bus)]
    assert set(last) == set(numbers)
    if pinned:
        assert windows(numbers, 100)[-1] == texts(world.bus)[-1]
    alone = [note for note in world.notes if note.startswith(f"trying:{at}:")]
    assert len(alone) >= 3, "the note did not name what was being decoded"
    assert world.note == ""


def test_two_of_them() -> None:
    world = World("0", BOOM, "1", BOOM, "2")
    world.lives()
    assert texts(world.bus, DEAD) == [BOOM, BOOM]
    assert set(texts(world.bus)) == {"0", "1", "2"}


def test_who_waits_at_the_end_of_another_partition_is_not_accused() -> None:
    """While stepping one is begun alone in each life, and each time another record kills."""
    world = World(partitions=2, pinned=True)
    feed(world.bus, "a0", BOOM, "a1", BOOM, "a2", BOOM, "a3", key="a")
    feed(world.bus, "b0", "b1", key="b")
    world.lives()
    assert texts(world.bus, DEAD, "a") == [BOOM] * 3
    assert texts(world.bus, DEAD, "b") == []
    assert texts(world.bus, key="b")[-1] == "b0-b1"
    assert texts(world.bus, key="a")[-1] == "a0-a1-a2-a3"


def test_without_notes_it_would_be_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.caution.Caution.enter", lambda self, records: frozenset())
    world = World("0", BOOM, "1")
    assert all(isinstance(world.live(), Crash) for _ in range(8))


def test_lives_that_end_in_another_way_accuse_nobody() -> None:
    """A wrong bundle is not the record's fault, however often the process is started again."""

    def refuse(batch: object) -> None:
        if batch:
            raise OperatorError("the wrong bundle")

    world = World("0", "1")
    for _ in range(8):
        assert isinstance(world.live(WindowStage(OUT, 1, refuse)), OperatorError)
        assert world.note == ""
    assert world.live() is None
    assert texts(world.bus, DEAD) == []


def test_kills_from_outside_accuse_nobody() -> None:
    """They do not come at the same record each time."""
    world = World(*(f"{n}" for n in range(20)))
    for number, calls in enumerate((1, 3, 2, 4, 1, 5, 3, 2, 99), 20):
        feed(world.bus, f"{number}")
        left = iter(range(calls))

        def killed(batch: object, left: Iterator[int] = left) -> None:
            if batch and next(left, None) is None:
                raise Crash

        world.live(WindowStage(OUT, 1, killed))
    assert texts(world.bus, DEAD) == []
    assert set(texts(world.bus)) == {f"{n}" for n in range(29)}
