"""The incident state machine, by example and against a model that looks at the whole history."""

from __future__ import annotations

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alerting import incidents
from alerting.incidents import Incident, Rules, SessionState, Transition, advance
from alerting.settings import AlertingSettings
from shared.errors import InvalidSettings
from shared.messages import NANOSECONDS, FrameReference
from tests.support.predictions import description, end, prediction, seconds

RULES = Rules.of(description(), AlertingSettings())
HIGH, MIDDLE, LOW = 0.875, 0.625, 0.25


def run(
    scores: list[tuple[float, float]], rules: Rules = RULES
) -> tuple[SessionState, list[Transition]]:
    state, moved = SessionState(), list[Transition]()
    for at, score in scores:
        message = prediction(at, score)
        state, more = advance(state, message, message.ended_at, rules)
        moved += more
    return state, moved


def test_opens_only_after_the_score_stayed_high_and_closes_after_it_stayed_low() -> None:
    state, moved = run(
        [(1, HIGH), (1.5, 0.9375), (2, HIGH), (3, HIGH), (4, LOW), (5, LOW), (6, LOW)]
    )
    opened, closed = moved
    assert (opened.id, opened.at) == ("street:gate-3:file-0-0:fighting:15:open", seconds(2))
    assert (closed.id, closed.at) == ("street:gate-3:file-0-0:fighting:15:closed", seconds(6))
    assert opened.incident.ended_at is None
    assert closed.incident.started_at == seconds(1)
    assert closed.incident.ended_at == seconds(3)
    assert closed.incident.peak_score == 0.9375
    assert closed.incident.reason == "score"
    assert closed.incident.frames == (FrameReference(0, 0), FrameReference(0, 45))
    assert state.open == []


def test_one_low_window_while_rising_starts_over() -> None:
    _, moved = run([(1, HIGH), (1.9, MIDDLE), (2, HIGH), (2.9, HIGH)])
    assert moved == []


def test_between_the_thresholds_an_open_incident_stays_open() -> None:
    state, moved = run([(1, HIGH), (2, HIGH), (4, MIDDLE), (6, MIDDLE), (7, LOW), (8.9, LOW)])
    assert [t.incident.state for t in moved] == ["open"]
    assert len(state.open) == 1


def test_a_low_dip_shorter_than_close_after_does_not_close() -> None:
    _, moved = run([(1, HIGH), (2, HIGH), (3, LOW), (4.9, MIDDLE), (5, LOW), (6.9, HIGH)])
    assert [t.incident.state for t in moved] == ["open"]


def test_cools_down_after_closing() -> None:
    until_closed = [(1.0, HIGH), (2.0, HIGH), (3.0, LOW), (5.0, LOW)]
    _, moved = run([*until_closed, (6, HIGH), (8, HIGH), (9.9, HIGH), (10, HIGH), (10.9, HIGH)])
    assert len(moved) == 2
    _, moved = run([*until_closed, (9.9, HIGH), (10, HIGH), (11, HIGH)])
    assert [t.incident.state for t in moved] == ["open", "closed", "open"]
    assert moved[2].incident.started_at == seconds(10)


def test_silence_in_the_sessions_own_time_closes_before_the_next_window_counts() -> None:
    _, moved = run([(1, HIGH), (2, HIGH), (40, HIGH), (41, HIGH)])
    assert [(t.incident.state, t.incident.reason) for t in moved] == [
        ("open", None),
        ("closed", "silence"),
        ("open", None),
    ]
    assert moved[1].incident.ended_at == seconds(2)
    assert moved[1].at == seconds(32)


def test_normal_never_opens_and_labels_go_their_own_ways() -> None:
    state = SessionState()
    opened = []
    for at in (1, 2, 3):
        message = prediction(at, {"normal": 1.0, "fighting": HIGH, "explosion": HIGH})
        state, moved = advance(state, message, message.ended_at, RULES)
        opened += [(t.incident.label, t.incident.evidence) for t in moved]
    assert opened == [("fighting", "real"), ("explosion", "synthetic")]


def test_an_end_that_is_read_again_after_the_session_went_on_changes_nothing() -> None:
    state, _ = run([(1, HIGH), (2, HIGH)])
    over = end(2.1)
    ended, moved = incidents.end(state, over)
    assert [t.incident.reason for t in moved] == ["end"]
    assert incidents.end(ended, over) == (ended, [])
    message = prediction(3, HIGH)
    resumed, _ = advance(ended, message, message.ended_at, RULES)
    assert not resumed.finished
    assert incidents.end(resumed, over) == (resumed, [])


def test_settings_go_before_the_bundle_and_a_labels_own_before_all() -> None:
    settings = AlertingSettings.model_validate(
        {"open_score": 0.7, "open_after_seconds": 3, "labels": {"explosion": {"open_score": 0.95}}}
    )
    rules = Rules.of(description(), settings)
    assert {r.label: (r.open_score, r.close_score) for r in rules.labels} == {
        "fighting": (0.7, 0.5),
        "explosion": (0.95, 0.5),
    }
    assert rules.open_after == seconds(3)
    assert rules.close_after == seconds(2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"labels": {"arson": {}}}, "arson.*no such label.*explosion, fighting"),
        ({"labels": {"normal": {}}}, "normal.*no such label"),
        ({"open_score": 0.4}, "close_score 0.5 is above open_score 0.4"),
    ],
)
def test_rules_that_cannot_be(given: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidSettings, match=words):
        Rules.of(description(), AlertingSettings.model_validate(given))


# --- against a model ------------------------------------------------------------------------------

Expected = tuple[
    str, str | None, int, int, int, float
]  # state, reason, at, started, high until, peak


def expected(history: list[tuple[int, float]], rules: Rules) -> list[Expected]:
    """What a person would mark in the whole curve of one label: a stretch, then its end."""
    label = rules.labels[0]
    times, scores = [t for t, _ in history], [s for _, s in history]

    def silent_before(i: int) -> bool:
        return i > 0 and times[i] - times[i - 1] > rules.silence

    marks: list[Expected] = []
    i, cool_until = 0, None
    while i < len(times):
        if scores[i] < label.open_score or (cool_until is not None and times[i] < cool_until):
            i += 1
            continue
        j = i  # the stretch from i on: high, without silence
        while times[j] - times[i] < rules.open_after:
            j += 1
            if j == len(times) or scores[j] < label.open_score or silent_before(j):
                break
        else:
            opened = max(scores[i : j + 1])
            marks.append(("open", None, times[j], times[i], times[j], opened))
            k, low = j + 1, None
            while k < len(times):
                high = max(m for m in range(i, k) if scores[m] >= label.close_score)
                closing = (times[i], times[high], max(scores[i:k]))
                if silent_before(k):
                    marks.append(("closed", "silence", times[k - 1] + rules.silence, *closing))
                    break
                low = None if scores[k] >= label.close_score else (low or times[k])
                if low is not None and times[k] - low >= rules.close_after:
                    marks.append(("closed", "score", times[k], *closing))
                    cool_until = times[k] + rules.cooldown
                    k += 1
                    break
                k += 1
            i = k
            continue
        i = j
    return marks


def seen(moved: list[Transition]) -> list[Expected]:
    def fields(i: Incident, at: int) -> Expected:
        return i.state, i.reason, at, i.started_at, i.high_until, i.peak_score

    return [fields(t.incident, t.at) for t in moved]


class AgainstTheWholeHistory(RuleBasedStateMachine):
    """Steps of a quarter second to beyond the silence; the state takes the way through JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.state = SessionState()
        self.moved: list[Transition] = []
        self.history: list[tuple[int, float]] = []

    @rule(
        quarters=st.sampled_from([1, 2, 4, 8, 20, 120, 121]),
        score=st.sampled_from([0.25, 0.5, 0.625, 0.75, 0.875]),
    )
    def a_window(self, quarters: int, score: float) -> None:
        before = self.history[-1][0] if self.history else 0
        at = before + quarters * NANOSECONDS // 4
        self.history.append((at, score))
        self.take(len(self.history) - 1)

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def one_is_read_again(self, data: st.DataObject) -> None:
        before, known = self.state, len(self.moved)
        self.take(data.draw(st.integers(0, len(self.history) - 1)))
        assert self.state == before
        assert len(self.moved) == known

    def take(self, i: int) -> None:
        at, score = self.history[i]
        message = prediction(at / NANOSECONDS, score, index=i)
        self.state, moved = advance(self.state, message, at, RULES)
        self.moved += moved

    @invariant()
    def the_state_survives_a_store(self) -> None:
        self.state = SessionState.from_json(self.state.to_json())

    @invariant()
    def the_transitions_are_those_of_the_curve(self) -> None:
        assert seen(self.moved) == expected(self.history, RULES)

    @invariant()
    def every_transition_has_an_id_of_its_own(self) -> None:
        assert len({t.id for t in self.moved}) == len(self.moved)


TestAgainstTheWholeHistory = AgainstTheWholeHistory.TestCase
TestAgainstTheWholeHistory.settings = hypothesis_settings(
    max_examples=80, stateful_step_count=40, deadline=None
)
