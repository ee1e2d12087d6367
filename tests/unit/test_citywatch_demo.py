from __future__ import annotations

from dataclasses import replace

import pytest

from citywatch.demo import LABELS, SCENES, SECONDS, Event, Referee
from citywatch.tally import Tally
from ingest.synthetic import SyntheticSource
from tests.unit.test_citywatch_tally import incident

FIGHT = Event("a", "fighting", 10.0, 20.0)


def opened(at: float, label: str = "fighting", camera: str = "a") -> Referee:
    referee = Referee([FIGHT], Tally(["a", "b"]))
    data = incident("open", camera, label)
    referee.take(data.model_copy(update={"started_at": at}))
    return referee


@pytest.mark.parametrize("at", [10.0, 15.0, 22.0])
def test_a_hit_opens_between_onset_and_two_seconds_past_the_end(at: float) -> None:
    referee = opened(at)
    assert referee.recognised(FIGHT) is not None
    assert not referee.false()


@pytest.mark.parametrize("at", [9.9, 22.1])
def test_before_and_long_after_is_a_false_alarm(at: float) -> None:
    referee = opened(at)
    assert referee.recognised(FIGHT) is None
    assert len(referee.false()) == 1


def test_another_label_is_no_recognition_and_no_false_alarm_either() -> None:
    referee = opened(12.0, "assault")
    assert referee.recognised(FIGHT) is None
    assert [hit.incident.label for hit in referee.during(FIGHT)] == ["assault"]
    assert not referee.false()


def test_another_camera_is_a_false_alarm() -> None:
    referee = opened(12.0, camera="b")
    assert referee.recognised(FIGHT) is None
    assert len(referee.false()) == 1


def test_the_script_is_what_is_drawn() -> None:
    for scene in SCENES:
        drawn = SyntheticSource(scene.camera().source)
        for act, onset, offset in scene.events:
            label = LABELS.get(act, act)
            middle = [x.replace(" ", "_") for x in drawn.labels_at((onset + offset) / 2)]
            assert label in middle
            assert offset + 5 < SECONDS, "the incident must have time to open"
        assert drawn.labels_at(0.5) == ("normal",)
    labels = {LABELS.get(act, act) for scene in SCENES for act, _, _ in scene.events}
    assert labels == {"assault", "explosion", "fighting", "road_accident"}


def test_a_closing_does_not_move_the_hit() -> None:
    referee = opened(12.0)
    closed = replace(FIGHT)
    referee.take(incident("closed").model_copy(update={"started_at": 12.0}))
    hit = referee.recognised(closed)
    assert hit is not None
    assert hit.opened == 12.0
