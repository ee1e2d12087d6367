"""Time stamps of files and of live streams."""

from __future__ import annotations

import math

import pytest

from ingest.clocks import FileClock, StreamClock
from shared.messages import NANOSECONDS, slot

MILLISECOND = NANOSECONDS // 1000


def test_file_positions_in_whole_milliseconds_fall_into_the_right_slots() -> None:
    clock = FileClock(15.0)
    times = [clock.time(float(round(number / 15 * 1000))) for number in range(300)]
    assert [slot(at, 0, 15.0) for at in times] == list(range(300))


@pytest.mark.parametrize("position", [0.0, -1.0, math.nan])
def test_a_file_without_positions_is_timed_by_its_rate(position: float) -> None:
    clock = FileClock(10.0)
    assert [clock.time(position) for _ in range(4)] == [n * 100 * MILLISECOND for n in range(4)]


def test_a_file_with_varying_rate_keeps_its_own_times() -> None:
    clock = FileClock(25.0)
    assert [clock.time(p) for p in (0.0, 100.0, 110.0, 500.0)] == [
        0, 100 * MILLISECOND, 110 * MILLISECOND, 500 * MILLISECOND,
    ]  # fmt: skip


def test_file_times_begin_at_the_first_picture_and_never_fall() -> None:
    clock = FileClock(10.0)
    times = [clock.time(p) for p in (80.0, 480.0, 330.0, 680.0)]
    assert times == [0, 400 * MILLISECOND, 400 * MILLISECOND, 600 * MILLISECOND]


class Arrivals:
    """A stream at 15 pictures a second, each `delay` late by our clock."""

    def __init__(self) -> None:
        self.now = 1_000 * NANOSECONDS
        self.clock = StreamClock(lambda: self.now)
        self.number = 0

    def picture(self, delay: float, skew: float = 0.0) -> float:
        """Seconds by which the picture's time differs from when it was taken."""
        taken = self.number / 15
        self.number += 1
        self.now = round((1_000 + taken + delay) * NANOSECONDS)
        at = self.clock.time((taken * (1 + skew)) * 1000 + 40)
        return at / NANOSECONDS - 1_000 - taken


def test_jitter_of_the_network_does_not_move_stream_times() -> None:
    stream = Arrivals()
    errors = [stream.picture(0.02 + 0.1 * (number % 5) / 4) for number in range(300)]
    assert max(errors) - min(errors) < 0.015


def test_a_drifting_camera_is_followed() -> None:
    stream = Arrivals()
    errors = [stream.picture(0.02, skew=-1e-3) for _ in range(15 * 600)]
    assert abs(errors[-1] - 0.02) < 0.02  # 0.6 s of drift by then


def test_a_backlog_keeps_its_times_and_a_standstill_does_not_lag() -> None:
    stream = Arrivals()
    for _ in range(30):
        stream.picture(0.02)
    backlog = [stream.picture(max(3 - number * 0.06, 0.02)) for number in range(60)]
    assert max(map(abs, backlog)) < 0.08
    stream = Arrivals()
    for _ in range(30):
        stream.picture(0.02)
    after = [stream.picture(10.0) for _ in range(30)]
    assert abs(after[-1] - 10.0) < 0.1


def test_positions_that_begin_again_or_are_absent_fall_back_on_our_clock() -> None:
    now = [0]
    clock = StreamClock(lambda: now[0])
    for second, position in enumerate((0.0, 1000.0, 0.0, 1000.0, 0.0, 0.0, math.nan), start=5):
        now[0] = second * NANOSECONDS
        assert clock.time(position) == now[0]
