"""Thresholds that follow a camera's own scores: by example, and for any scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.habits import BINS, CAP, Habits
from alerting.incidents import Rules, SessionState, Transition, advance
from alerting.settings import AlertingSettings
from shared.messages import NANOSECONDS
from tests.support.predictions import description, prediction, seconds

HOUR = 3600 * NANOSECONDS
PLAIN = Rules.of(description(), AlertingSettings())
ADAPTIVE = Rules.of(description(), AlertingSettings(adaptive_quantile=0.9))
OPENS = 0.75  # of the bundle

scores = st.lists(st.floats(0, 1), min_size=1, max_size=120)


def habits(values: list[float], half_life: int = HOUR) -> Habits:
    found = Habits(0)
    for at, value in enumerate(values):
        found = found.after({"fighting": value}, at, half_life)
    return found


def run(values: list[float], rules: Rules, *, stored: bool = False) -> list[Transition]:
    """Three windows a second; `stored`: the state goes through a store after each of them."""
    state, moved = SessionState(), list[Transition]()
    for number, value in enumerate(values, 1):
        message = prediction(number / 3, value, index=5 * number)
        state, more = advance(state, message, message.ended_at, rules)
        moved += more
        if stored:
            state = SessionState.from_json(state.to_json())
            assert advance(state, message, message.ended_at, rules) == (state, [])
    return moved


@given(scores, st.sampled_from([0.5, 0.9, 0.95]))
def test_the_usual_score_is_the_edge_above_numpys_quantile(
    values: list[float], quantile: float
) -> None:
    usual = habits(values).usual("fighting", quantile)
    if len(values) * (1 - quantile) < 2:
        assert usual is None
        return
    exact = float(np.quantile(values, quantile, method="inverted_cdf"))
    assert usual == pytest.approx(min((min(int(exact * BINS), BINS - 1) + 1) / BINS, CAP))


def test_old_scores_fade_by_halves_in_event_time() -> None:
    found = habits([0.5] * 8, half_life=HOUR)
    one = found.after({"fighting": 0.1}, HOUR - 1, HOUR)
    assert one.counts["fighting"][25] == 8
    two = one.after({"fighting": 0.1}, 2 * HOUR + 5, HOUR)
    assert (two.counts["fighting"][25], two.counts["fighting"][5]) == (2, 1)
    assert two.halved_at == 2 * HOUR
    gone = two.after({"fighting": 0.1}, 10**30, HOUR)  # a clock that jumps: nothing is usual
    assert sum(gone.counts["fighting"]) == 1
    assert gone.after({"fighting": 0.1}, 0, HOUR).halved_at == gone.halved_at  # nor goes back


def test_a_camera_that_is_always_half_sure_opens_no_more_and_a_sure_one_still_does() -> None:
    noisy = [0.8, 0.3, 0.78, 0.2] * 50
    curve = [0.1] * 60 + noisy + [0.8] * 12 + [0.1] * 40 + [0.99] * 12
    assert [t.incident.peak_score for t in run(curve, PLAIN)] == [0.8, 0.8, 0.99]
    assert [t.incident.peak_score for t in run(curve, ADAPTIVE)] == [0.99]


def test_closing_follows_opening() -> None:
    """On a camera that stands at 0.6, above close_score, an incident must still end."""
    usual = [0.6, 0.9] * 60
    fight, after = [0.99] * 9, [0.6] * 30
    moved = run([*usual, *fight, *after], ADAPTIVE)
    assert [t.incident.state for t in moved] == ["open", "closed"]
    assert [t.incident.state for t in run([*fight, *after], PLAIN)] == ["open"]


def test_labels_and_cameras_have_their_own() -> None:
    found = Habits(0)
    for at in range(100):
        found = found.after({"fighting": 0.9, "explosion": 0.1}, at, HOUR)
    rules = {rule.label: ADAPTIVE.on(rule, found) for rule in ADAPTIVE.labels}
    assert rules["fighting"].open_score == pytest.approx(0.92)
    assert rules["fighting"].close_score == pytest.approx(0.5 + 0.92 - OPENS)
    assert rules["explosion"].open_score == OPENS
    assert PLAIN.on(PLAIN.labels[0], found) is PLAIN.labels[0]


@given(scores)
def test_a_replay_through_the_store_opens_the_same(values: list[float]) -> None:
    assert run(values, ADAPTIVE, stored=True) == run(values, ADAPTIVE)


@given(st.lists(st.sampled_from([0.1, 0.6, 0.74, 0.75, 0.8, 0.9, 0.99]), max_size=150))
def test_it_never_opens_below_the_bundles_score(values: list[float]) -> None:
    for transition in run(values, ADAPTIVE):
        begun = round(transition.incident.started_at / NANOSECONDS * 3)
        rising = [
            v for n, v in enumerate(values, 1) if begun <= n <= transition.at * 3 / NANOSECONDS
        ]
        if transition.incident.state == "open":
            assert min(rising) >= OPENS


@given(st.lists(st.sampled_from([0.1, 0.6, 0.8, 0.95]), max_size=60), st.integers(3, 12))
def test_the_last_bin_counts_on_every_camera(values: list[float], sure: int) -> None:
    """Whatever was usual, a second of scores at the top is an incident, unless one is open."""
    state = SessionState()
    for number, value in enumerate([*values, *[0.1] * 40, *[CAP] * (sure + 1)], 1):
        message = prediction(number / 3, value, index=number)
        state, _ = advance(state, message, message.ended_at, ADAPTIVE)
    assert [incident.label for incident in state.open] == ["fighting"]


def test_off_by_default_and_small_in_the_store() -> None:
    message = prediction(1, 0.6)
    state, _ = advance(SessionState(), message, message.ended_at, PLAIN)
    assert state.habits is None
    crowded = Habits(seconds(1), {f"label_{n}": (10_800,) * BINS for n in range(4)})
    size = len(SessionState(habits=crowded).to_json())
    assert size - len(SessionState().to_json()) < 1500
