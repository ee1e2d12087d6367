import math

import numpy as np
import pytest

from alerting.incidents import Rules
from alerting.settings import AlertingSettings
from shared.bundle import Description
from training.alarms import alarms
from training.events import Alarm, Event, delay_metrics, join, match

NAMES = ("fighting", "normal")


def _description() -> Description:
    return Description.model_validate(
        {
            "name": "t",
            "input": {"fps": 15, "kind": "rgb"},
            "labels": [
                {"name": "fighting", "evidence": "real", "open_score": 0.6, "close_score": 0.4},
                {"name": "normal", "evidence": "real"},
            ],
        }
    )


def test_a_hit_lies_between_onset_and_two_seconds_after_the_end() -> None:
    event = [Event("fighting", 10.0, 15.0)]
    for at, hit in ((9.9, 0), (10.0, 1), (15.0, 1), (17.0, 1), (17.1, 0)):
        outcome = match(event, [Alarm("fighting", at)], 1.0)
        assert (outcome.hits, outcome.false_alarms) == (hit, 1 - hit), at


def test_repeats_count_once_and_are_no_false_alarms() -> None:
    alarms_ = [Alarm("fighting", at) for at in (11.0, 12.0, 14.0)]
    outcome = match([Event("fighting", 10.0, 15.0)], alarms_, 1.0)
    assert outcome.delays == (1.0,) and outcome.false_alarms == 0


def test_a_wrong_label_is_a_hit_but_not_a_right_label() -> None:
    outcome = match([Event("fighting", 10.0, 15.0)], [Alarm("assault", 12.0)], 1.0)
    assert outcome.hits == 1 and outcome.right_label == 0


def test_rates_and_bounds_are_per_camera_hour() -> None:
    outcome = join([match([], [Alarm("fighting", 1.0)], 0.5), match([], [], 1.5)])
    assert outcome.false_alarms_per_hour == pytest.approx(0.5)
    assert outcome.rate_bound == pytest.approx(1.5)
    assert math.isnan(outcome.recall)


def test_missed_events_censor_the_delay() -> None:
    events = [Event("fighting", 10.0 * i, 10.0 * i + 5) for i in range(1, 5)]
    outcome = match(events, [Alarm("fighting", 11.0), Alarm("fighting", 23.0)], 1.0)
    result = delay_metrics(outcome)
    assert result["median_seconds"] is None  # half of them never came
    assert result["recall_within_2s"] == 0.25 and result["recall_within_5s"] == 0.5


def test_alarms_are_those_of_the_incident_machine() -> None:
    """Six windows a third of a second apart: a short peak does not open, a long one does."""
    rules = Rules.of(_description(), AlertingSettings())  # open_after 0.6 s
    score = np.array([0.9, 0.1, 0.1, 0.7, 0.8, 0.95, 0.5, 0.1])
    probabilities = np.stack([score, 1 - score], axis=1)
    ends, last = np.arange(8) / 3, np.arange(8) * 5 + 4
    found = alarms(probabilities, ends, last, NAMES, rules)
    assert [(a.label, a.score) for a in found] == [("fighting", 0.95)]
    assert found[0].at == pytest.approx(5 / 3)  # 0.6 s after the third second began
    assert alarms(probabilities[:3], ends[:3], last[:3], NAMES, rules) == []
