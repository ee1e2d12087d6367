import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from training.manifest import Clip
from training.splits import (
    check_disjoint,
    check_manifest_splits,
    group_folds,
    hold_out,
    leaky_folds,
)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 30)), min_size=40, max_size=120),
    st.integers(0, 100),
)
def test_no_group_stands_on_two_sides(rows: list[tuple[str, int]], seed: int) -> None:
    labels = [label for label, _ in rows] + ["a", "b"] * 5
    groups = [f"g{group}" for _, group in rows] + [f"h{i}" for i in range(10)]
    folds = group_folds(labels, groups, 5, seed)
    tested = np.concatenate([fold.test for fold in folds])
    assert sorted(tested) == list(range(len(labels)))  # every clip is tested once
    for fold in folds:
        assert not {groups[i] for i in fold.train} & {groups[i] for i in fold.test}
        assert len(fold.train) + len(fold.test) == len(labels)


def test_the_leaky_split_does_tear_groups_apart() -> None:
    labels, groups = ["a", "b"] * 30, [f"g{i // 10}" for i in range(60)]
    with pytest.raises(InvalidInput, match="two splits"):
        for fold in leaky_folds(labels, 5):
            check_disjoint(groups, fold.train, fold.test)


def test_folds_repeat_with_the_seed_and_differ_without() -> None:
    labels, groups = ["a", "b"] * 30, [f"g{i // 3}" for i in range(60)]
    first, again, other = (group_folds(labels, groups, 5, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.test, b.test) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a.test, b.test) for a, b in zip(first, other, strict=True))


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(InvalidInput, match="5 folds need 5 groups, there are 2"):
        group_folds(["a", "b"] * 5, ["x", "y"] * 5)


def test_too_few_clips_are_refused_and_a_rare_label_is_not() -> None:
    with pytest.raises(InvalidInput, match="3 folds need 3 clips of a label, a has 2"):
        group_folds(["a", "a", "b"], ["x", "y", "z"], 3)
    folds = group_folds(["a"] * 6 + ["b"], [f"g{i}" for i in range(7)], 3)
    assert sum(len(fold.test) for fold in folds) == 7


def test_hold_out_takes_whole_groups_of_about_the_share() -> None:
    labels, groups = ["a", "b"] * 50, [f"g{i // 4}" for i in range(100)]
    fold = hold_out(labels, groups, 0.2)
    assert 12 <= len(fold.test) <= 28
    check_disjoint(groups, fold.train, fold.test)


def test_a_manifest_that_tears_a_group_apart_is_refused() -> None:
    clips = [Clip("a", "a", "x", "g", "train"), Clip("b", "b", "x", "g", "test")]
    with pytest.raises(InvalidInput, match="group 'g' stands in two splits"):
        check_manifest_splits(clips)
    check_manifest_splits(clips[:1])
