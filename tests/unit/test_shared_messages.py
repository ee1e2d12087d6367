"""Slots, sessions, ids."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages import NANOSECONDS, FrameReference, Prediction, Session, slot

START = 1_700_000_000 * NANOSECONDS
rates = st.sampled_from([1.0, 5.0, 7.5, 10.0, 12.5, 15.0, 24.0, 25.0, 29.97, 30.0, 60.0, 120.0])


@given(st.integers(0, 1_000_000), rates, st.sampled_from([0, START]))
def test_each_frame_of_a_regular_source_has_a_slot_of_its_own(
    index: int, fps: float, start: int
) -> None:
    """Whatever a container does to the time stamps: micro- or milliseconds, cut or rounded."""
    exact = Fraction(index) * NANOSECONDS / Fraction(fps)
    for unit in (1, 1000, 1_000_000):
        for stored in (int(exact / unit) * unit, round(exact / unit) * unit):
            assert slot(start + stored, start, fps) == index


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50), rates)
def test_slots_never_go_back(one: int, other: int, fps: float) -> None:
    early, late = sorted((one, other))
    assert slot(START + early, START, fps) <= slot(START + late, START, fps)


def test_a_gap_in_time_is_a_gap_in_the_index() -> None:
    assert [slot(START + s * NANOSECONDS, START, 15) for s in (0, 1, 61)] == [0, 15, 915]


@given(
    st.integers(0, 9_999_999_999), st.integers(0, 9_999_999_999_999_999_999), st.booleans()
)  # fmt: skip
def test_a_session_is_read_as_written(generation: int, started_at: int, live: bool) -> None:
    session = Session(generation, started_at, live)
    read = Session.parse(str(session))
    assert (read, read.live) == (session, live)


@pytest.mark.parametrize(
    "text", ["", "live", "live-1", "live-1-", "LIVE-1-2", "live-1-2-3", "file--1-2", "live-1-2\n",
             "live-1-" + "9" * 20, "live-\u0661-2"],
)  # fmt: skip
def test_what_is_no_session(text: str) -> None:
    with pytest.raises(ValueError, match="not a session"):
        Session.parse(text)


def test_sessions_are_ordered_by_generation_then_start() -> None:
    older = Session(1, 50, live=True)
    assert older < Session(2, 10, live=True)
    assert older < Session(1, 51, live=True)
    assert older == Session(1, 50, live=False)


def test_an_id_names_lane_camera_session_and_end() -> None:
    prediction = Prediction(
        "street", "gate", "file-0-0", 5, 34, 0, 1, {"normal": 0.2, "fighting": 0.8}, 0.8, (), 0,
        "f", (FrameReference(0, 1), FrameReference(0, 2)),
    )  # fmt: skip
    assert prediction.id == "street:gate:file-0-0:34"
    assert prediction.label == "fighting"
