"""Clocks that are minutes off, services that were away, recordings beside live cameras.

What they may cost a camera: nothing, or one idle time-out; never its windows.
"""

from __future__ import annotations

import pytest

from shared.bus import Partition, Record
from shared.messages import NANOSECONDS, Session
from shared.sessions import Sessions

PLACE = Partition("features", 0)
IDLE = 60.0
NOW = 1_000_000.0  # seconds since the epoch


class Log:
    """One partition; a state per session counts the records that reached it."""

    def __init__(self) -> None:
        self.sessions: Sessions[list[float]] = Sessions(lambda _: [], IDLE)
        self.offset = 0

    def say(self, camera: str, session: Session, captured: float, appended: float) -> int | None:
        """How many records of this state there have been; None if it was refused."""
        record = Record(PLACE, self.offset, camera, b"", (), round(appended * 1000))
        self.offset += 1
        state = self.sessions.take(record, camera, str(session), round(captured * NANOSECONDS))
        self.sessions.evict()
        if state is None:
            return None
        state.append(captured)
        return len(state)


def live(generation: int, started: float) -> Session:
    return Session(generation, round(started * NANOSECONDS), live=True)


@pytest.mark.parametrize("off", [-600.0, 600.0], ids=["ten minutes slow", "ten minutes fast"])
def test_a_host_whose_clock_is_off_costs_neither_its_cameras_nor_their_neighbours(
    off: float,
) -> None:
    log, right, wrong = Log(), live(1, NOW), live(1, NOW + off)
    for second in range(150):
        at = NOW + second
        assert log.say("right", right, at, at) == second + 1
        assert log.say("wrong", wrong, at + off, at) == second + 1


@pytest.mark.parametrize("off", [-600.0, 0.0, 600.0])
def test_a_camera_that_fell_silent_is_let_go_whatever_its_clock_says(off: float) -> None:
    log = Log()
    log.say("silent", live(1, NOW), NOW + off, NOW)
    for second in range(70):
        log.say("other", live(1, NOW), NOW + second, NOW + second)
    assert len(log.sessions) == 1


def test_a_slow_host_alone_on_a_partition_is_not_silenced_by_a_right_one_that_joins() -> None:
    """Event time jumps by what the host is behind; the broker's clock does not."""
    log, slow = Log(), live(1, NOW - 600)
    for second in range(20):
        at = NOW + second
        if second >= 10:
            log.say("right", live(1, NOW), at, at)
        assert log.say("slow", slow, at - 600, at) == second + 1


def test_a_service_that_was_away_for_longer_than_the_idle_time_out_loses_no_window() -> None:
    """Event time went on without a break; only the broker's clock jumps."""
    log = Log()
    for step in range(100):
        appended = NOW + step / 5 + (150 if step >= 50 else 0)
        for camera in ("a", "b"):
            assert log.say(camera, live(1, NOW), NOW + step / 5, appended) == step + 1


def test_a_recording_at_fifty_times_its_speed_silences_nobody_and_is_not_silenced() -> None:
    log, recording = Log(), Session(0, round(NOW * NANOSECONDS) - 10**15, live=False)
    for second in range(100):
        at = NOW + second
        assert log.say("gate", live(1, NOW), at, at) == second + 1
        for fifth in range(5):
            captured = at - 10**6 + 50 * second + 10 * fifth
            assert log.say("gate", recording, captured, at) == 5 * second + fifth + 1


def test_a_failover_to_a_host_whose_clock_is_slow_takes_effect_at_once() -> None:
    log = Log()
    assert log.say("gate", live(1, NOW), NOW, NOW) == 1
    assert log.say("gate", live(2, NOW - 600), NOW - 599, NOW + 8) == 1
    assert log.say("gate", live(1, NOW), NOW + 9, NOW + 9) is None


def test_a_clock_set_back_costs_the_camera_one_idle_time_out() -> None:
    """The capture began again after its host's clock was put right: its session looks older."""
    log, ahead, right = Log(), live(1, NOW + 600), live(1, NOW)
    assert log.say("gate", ahead, NOW + 600, NOW) == 1
    refused = 0
    for second in range(1, 90):
        log.say("neighbour", live(1, NOW), NOW + second, NOW + second)
        refused += log.say("gate", right, NOW + second, NOW + second) is None
    assert refused == pytest.approx(IDLE, abs=2)
