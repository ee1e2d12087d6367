import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from training import metrics
from training.bootstrap import interval, of_rows, paired_interval

NAMES = ("assault", "fighting", "normal")


def test_clip_metrics_by_hand() -> None:
    truth = np.array([1, 1, 1, 2, 2])
    answers = np.array([1, 1, 2, 2, 1])
    scores = np.array([[0, 0.9, 0.1], [0, 0.8, 0.2], [0, 0.3, 0.7], [0, 0.1, 0.9], [0, 0.6, 0.4]])
    result = metrics.clip_metrics(truth, answers, scores, NAMES)
    assert result["accuracy"] == pytest.approx(3 / 5)
    assert result["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    fighting = result["labels"]["fighting"]
    assert fighting["precision"] == pytest.approx(2 / 3)
    assert fighting["recall"] == pytest.approx(2 / 3)
    assert fighting["auc"] == pytest.approx(5 / 6)  # 5 of 6 pairs in order
    assert result["labels"]["assault"]["recall"] is None  # absent from the data
    assert result["auc"] == pytest.approx(5 / 6)
    assert result["confusion"] == [[0, 0, 0], [0, 2, 1], [0, 1, 1]]


def test_binary_metrics_decide_at_the_threshold() -> None:
    truth, scores = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.5, 0.1])
    result = metrics.binary_metrics(truth, scores, 0.45)
    assert result["accuracy"] == pytest.approx(0.5)
    assert result["auc"] == pytest.approx(0.75)
    assert (result["precision"], result["recall"]) == (0.5, 0.5)
    assert metrics.binary_metrics(truth, scores, 0.3)["recall"] == 1.0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=60))
def test_auc_is_that_of_sklearn_ties_included(rows: list[tuple[bool, int]]) -> None:
    truth = np.array([True, False, *(flag for flag, _ in rows)])
    scores = np.array([3.0, 3.0, *(score for _, score in rows)])
    assert metrics.auc(truth, scores) == pytest.approx(roc_auc_score(truth, scores))


def test_what_is_not_defined_is_nan() -> None:
    assert math.isnan(metrics.auc(np.array([1, 1]), np.array([0.1, 0.2])))
    assert math.isnan(metrics.average_precision(np.array([0, 0]), np.array([0.1, 0.2])))


def test_frame_metrics_join_and_average() -> None:
    truths = [np.array([0, 1]), np.array([0, 0, 1, 1]), np.array([0, 0])]
    scores = [np.array([0.1, 0.2]), np.array([0.9, 0.1, 0.95, 0.5]), np.array([0.0, 0.3])]
    result = metrics.frame_metrics(truths, scores)
    assert result["frames"] == 8
    assert result["macro_auc"] == pytest.approx((1 + 0.75) / 2)  # the third video has one class
    joined = metrics.auc(np.concatenate(truths), np.concatenate(scores))
    assert result["micro_auc"] == pytest.approx(joined)
    abnormal = metrics.auc(np.concatenate(truths[:2]), np.concatenate(scores[:2]))
    assert result["abnormal_auc"] == pytest.approx(abnormal)


def test_calibration_of_a_calibrated_score_is_on_the_diagonal() -> None:
    random = np.random.default_rng(0)
    scores = random.random(20_000)
    truth = (random.random(20_000) < scores).astype(int)
    for point in metrics.calibration(truth, scores):
        assert point["positives"] == pytest.approx(point["score"], abs=0.05)


def test_groups_widen_the_interval() -> None:
    """Clips of one group are copies of one another: 40 clips are worth 4."""
    right = np.repeat([1.0, 0.0, 1.0, 1.0], 10)
    as_groups = interval([f"g{i // 10}" for i in range(40)], of_rows(np.mean, right))
    as_clips = interval([f"c{i}" for i in range(40)], of_rows(np.mean, right))
    assert as_groups.value == as_clips.value == 0.75
    assert as_groups.high - as_groups.low > 1.5 * (as_clips.high - as_clips.low)
    assert as_groups.low <= 0.75 <= as_groups.high


def test_a_paired_interval_of_the_same_is_zero_wide() -> None:
    groups, values = [f"g{i // 3}" for i in range(30)], np.random.default_rng(0).random(30)
    both = of_rows(np.mean, values)
    assert paired_interval(groups, both, both) == paired_interval(groups, both, both)
    result = paired_interval(groups, of_rows(np.mean, values + 0.1), both)
    assert (result.low, result.high) == pytest.approx((0.1, 0.1))


def test_one_group_has_no_interval() -> None:
    result = interval(["g"] * 5, of_rows(np.mean, np.arange(5.0)))
    assert result.value == 2.0
    assert math.isnan(result.low) and math.isnan(result.high)
