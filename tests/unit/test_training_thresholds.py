import numpy as np

from shared.bundle import Label
from training.scores import alarming, decide
from training.thresholds import choose, with_thresholds

LABELS = (
    Label(name="assault", evidence="synthetic", open_score=0.6),
    Label(name="fighting", evidence="real", open_score=0.4),
    Label(name="normal", evidence="real"),
)


def test_between_two_heaps_lies_the_middle_of_the_gap() -> None:
    scores = np.array([0.1, 0.3, 0.4, 0.8, 0.8, 0.9])
    assert choose(scores, np.array([0, 0, 0, 1, 1, 1], bool)) == 0.6


def test_no_incident_opens_below_one_half() -> None:
    scores = np.array([0.1, 0.2, 0.2, 0.4, 0.5, 0.6])
    assert choose(scores, np.array([0, 0, 0, 1, 1, 1], bool)) == 0.5


def test_a_false_alarm_costs_more_than_a_miss() -> None:
    scores = np.array([0.2, 0.3, 0.7, 0.6, 0.8, 0.9])  # one normal clip at 0.7, a fight at 0.6
    truth = np.array([0, 0, 0, 1, 1, 1], bool)
    assert 0.7 < choose(scores, truth) < 0.8
    assert choose(scores, truth, quiet=0.5) < 0.6


def test_four_of_five_filmed_clips_reach_the_threshold_whatever_drawn_ones_say() -> None:
    filmed = np.array([0.9, 0.8, 0.75, 0.6, 0.55])
    scores = np.concatenate([filmed, [0.99] * 50, [0.7] * 5])
    truth = np.arange(60) < 55
    assert choose(scores, truth) > 0.7
    opens = choose(scores, truth, filmed=np.arange(60) < 5)
    assert opens < 0.7 and np.mean(filmed >= opens) >= 0.8


def test_a_label_without_examples_keeps_to_the_middle() -> None:
    assert choose(np.array([0.1, 0.9]), np.array([False, False])) == 0.5


def test_labels_get_their_thresholds_and_normal_none() -> None:
    scores = np.array([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]], np.float32)
    labels = with_thresholds(LABELS, scores, np.array([0, 1, 2]), np.zeros(3, bool))
    assert [label.open_score for label in labels] == [0.5, 0.5, 0.5]
    assert all(label.close_score < label.open_score for label in labels)
    assert labels[2] == LABELS[2]


def test_a_clip_is_what_reaches_its_threshold_else_normal() -> None:
    scores = np.array([[0.7, 0.5, 0.1], [0.5, 0.45, 0.1], [0.5, 0.3, 0.1], [0, 0, 1]], np.float32)
    assert decide(scores, LABELS).tolist() == [0, 1, 2, 2]
    assert alarming(scores, LABELS).tolist() == [True, True, False, False]
