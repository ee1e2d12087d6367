"""Which live frames are shed: a queue with a clock, no worker."""

from __future__ import annotations

import itertools
from collections import deque

import pytest

from featurizer.shedding import Shedding
from shared.bus import Partition

PLACE = Partition("frames", 0)
RATE = 10.0  # frames a second that the reader can take


class Queue:
    """Frames that arrive and a reader that takes `RATE` of them a second; shedding costs nothing.

    `seen` has (when, age) of the frames that were not shed; `shed` the times of the others.
    """

    def __init__(self, limit: float) -> None:
        self.shedding = Shedding(limit)
        self.now = 0.0
        self.seen: list[tuple[float, float]] = []
        self.shed: list[float] = []

    def run(self, arrivals: list[float]) -> None:
        for at in arrivals:
            self.now = max(self.now, at)
            if self.shedding(PLACE, at, self.now):
                self.shed.append(at)
            else:
                self.seen.append((self.now, self.now - at))
                self.now += 1 / RATE


def arrivals(load: float, start: float, end: float) -> list[float]:
    """Evenly spaced, `load` times what the reader can take."""
    number = round((end - start) * RATE * load)
    return [start + n / (RATE * load) for n in range(number)]


def test_a_load_that_can_be_carried_is_never_shed() -> None:
    queue = Queue(10)
    queue.run(arrivals(0.99, 0, 1000))
    assert not queue.shed


@pytest.mark.parametrize("load", [1.1, 2.0, 10.0])
def test_under_overload_what_is_seen_stays_new_and_only_the_surplus_is_shed(load: float) -> None:
    queue = Queue(10)
    queue.run(arrivals(load, 0, 1000))
    assert max(age for _, age in queue.seen) <= 10
    assert len(queue.seen) == pytest.approx(1000 * RATE, rel=0.02)
    runs = sum(later - shed > 1 for shed, later in itertools.pairwise(queue.shed))
    assert runs < 1000 / 10  # few long gaps, not many short ones


@pytest.mark.parametrize("overload", range(3, 40, 3))
def test_it_recovers_within_the_limit_whenever_the_load_falls(overload: int) -> None:
    queue = Queue(10)
    queue.run([*arrivals(2, 0, overload), *arrivals(0.95, overload, 200)])
    late = [when for when, age in queue.seen if age > 1]
    assert max(late, default=0) <= overload + 10 + 1


@pytest.mark.parametrize("overload", [20, 50, 111])
def test_partitions_that_are_read_in_turn_recover_as_one(overload: int) -> None:
    """A reader drains what it fetched of one partition before it looks at the next."""
    shedding, places, limit = Shedding(10), [Partition("frames", n) for n in range(8)], 10
    times = [*arrivals(2, 0, overload), *arrivals(0.8, overload, 200)]
    waiting = {place: deque(times[n::8]) for n, place in enumerate(places)}
    now, late = 0.0, 0.0
    while any(waiting.values()):
        for place, line in waiting.items():
            fetched = [at for at in line if at <= now][:200]
            for at in fetched:
                line.popleft()
                if not shedding(place, at, now):
                    assert now - at <= limit
                    late = now if now - at > 1 else late
                    now += 1 / RATE
        now += 0.01
    assert late <= overload + limit + 1


def test_a_failover_shorter_than_the_limit_costs_nothing() -> None:
    queue = Queue(30)
    queue.now = 12.0  # nobody read for twelve seconds
    queue.run(arrivals(0.5, 0, 100))
    assert not queue.shed


def test_a_partition_that_comes_back_is_judged_anew() -> None:
    shedding = Shedding(10)
    assert not shedding(PLACE, 0, 5)  # late
    assert not shedding(PLACE, 100, 105)  # it was another's meanwhile
    assert shedding(PLACE, 100, 111)  # too old


def test_without_a_limit_nothing_is_shed() -> None:
    assert not Shedding(float("inf"))(PLACE, 0, 1e9)


def test_partitions_are_judged_apart() -> None:
    shedding = Shedding(10)
    assert shedding(PLACE, 0, 20)
    assert shedding(PLACE, 19, 21)  # before the jump
    assert not shedding(PLACE, 20, 21)
    assert not shedding(Partition("frames", 1), 19, 21)


def test_what_is_late_jumps_together_and_what_is_not_stays() -> None:
    shedding = Shedding(10)
    late, fresh = Partition("frames", 1), Partition("frames", 2)
    assert not shedding(late, 15, 20)
    assert not shedding(fresh, 20, 20)
    assert shedding(PLACE, 0, 20)  # too old: whatever is late jumps
    assert shedding(late, 19.5, 20)
    assert not shedding(fresh, 19.5, 20)
