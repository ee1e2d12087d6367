import numpy as np
import pytest
import torch
from torch import nn

from classifier.network import build
from training import pooled, subspace
from training.fit import HeadRecipe, fit, predict
from training.heads import fit_linear, motion_numbers, statistics
from training.weights import drawn_rows, window_weights


def _windows(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Two kinds of windows: of the second, one number grows over time."""
    random = np.random.default_rng(seed)
    vectors = random.normal(0, 1, (count, 8, 16)).astype(np.float32)
    targets = np.arange(count) % 2
    vectors[targets == 1, :, 3] += np.linspace(0, 4, 8)
    return vectors.astype(np.float16), targets.astype(np.intp)


def test_statistics_are_mean_deviation_and_step() -> None:
    window = np.array([[[1.0], [3.0], [2.0]]])
    assert statistics(window)[0] == pytest.approx([2.0, np.std([1, 3, 2]), 1.5])
    assert motion_numbers(np.array([[0.0, 0.1, 0.0]])).shape == (1, 6)


@pytest.mark.parametrize("head", ["linear", "gru", "residual_attention", "pooled"])
def test_heads_learn_what_can_be_learnt(head: str) -> None:
    vectors, targets = _windows(0, 160)
    other, truth = _windows(1)
    if head == "linear":
        model = fit_linear(statistics(vectors), targets)
        answers = model.predict(statistics(other))
    else:
        recipe = HeadRecipe(variant=head, epochs=12, batch=16)
        network = fit(vectors, targets, np.arange(len(vectors)), 2, recipe, 0)
        answers = predict(network, other).argmax(1)
    assert np.mean(answers == truth) > 0.9


def test_the_same_seed_gives_the_same_head() -> None:
    vectors, targets = _windows(0)
    recipe = HeadRecipe(epochs=2, batch=16)
    first, again, other = (
        fit(vectors, targets, np.arange(len(vectors)), 2, recipe, seed) for seed in (1, 1, 2)
    )
    assert _same(first, again) and not _same(first, other)


def test_the_epoch_of_least_validation_loss_is_kept() -> None:
    vectors, targets = _windows(0)
    seen: list[dict[str, float]] = []
    wrong = (vectors, 1 - targets, np.ones(len(targets), np.float32))  # learning makes it worse
    recipe = HeadRecipe(epochs=30, patience=3, batch=16, rate=3e-3)
    fit(vectors, targets, np.arange(60), 2, recipe, 0, wrong, seen.append)
    assert len(seen) < 30
    losses = [epoch["validation_loss"] for epoch in seen]
    assert len(losses) - 1 - int(np.argmin(losses)) == 3


def test_of_a_pooled_network_validation_may_leave_the_linear_branch_alone() -> None:
    vectors, targets = _windows(0)
    wrong = (vectors, 1 - targets, np.ones(len(targets), np.float32))  # to be unsure is best
    recipe = HeadRecipe(variant="pooled", epochs=6, batch=16, rate=3e-3)
    network = fit(vectors, targets, np.arange(60), 2, recipe, 0, wrong)
    assert network.label.weight.any() != network.pooled.weight.any()


def test_the_branch_of_a_pooled_network_is_the_linear_head() -> None:
    vectors, targets = _windows(0)
    recipe = HeadRecipe(variant="pooled", epochs=1, batch=16, share=0.0)
    network = fit(vectors, targets, np.arange(60), 2, recipe, 0)
    linear = fit_linear(statistics(vectors), targets, recipe.strength)
    other, _ = _windows(1)
    order = np.argsort(linear.decision_function(statistics(other)))
    assert np.all(np.diff(predict(network, other)[order, 1]) > -1e-5)  # the same, but for sureness


def test_a_pooled_network_learns_what_statistics_do_not_say() -> None:
    vectors, _ = _windows(0, 200)
    targets = np.arange(200) % 2
    vectors[:, :, 3] = 0
    vectors[targets == 1, :, 5] = np.linspace(-2, 2, 8)  # rises; of the others, it falls
    vectors[targets == 0, :, 5] = np.linspace(2, -2, 8)
    train, test = slice(0, 150), slice(150, 200)
    for share, least, most in ((0.5, 0.95, 1.0), (0.0, 0.2, 0.8)):
        recipe = HeadRecipe(variant="pooled", epochs=12, batch=16, share=share)
        network = fit(vectors[train], targets[train], np.arange(150), 2, recipe, 0)
        right = np.mean(predict(network, vectors[test]).argmax(1) == targets[test])
        assert least <= right <= most


@pytest.mark.parametrize("count", [40, 400])
def test_a_first_guess_is_the_linear_head(count: int) -> None:
    """Found in the span of the windows or not, for labels of which one is absent."""
    random = np.random.default_rng(0)
    x = random.normal(3, 2, (count, 90)).astype(np.float32)
    targets = (random.integers(0, 3, count) * (np.arange(count) > 3)).astype(np.intp)
    x[targets == 1, 5] += 3
    weights = np.bincount(targets)[targets] ** -1.0
    weights = (weights * count / weights.sum()).astype(np.float32)
    guess = pooled.first_guess(x, targets, weights, 4, 0.01)
    model = fit_linear(x, targets, 0.01)
    answers = guess(x)
    expected = model.decision_function(x)
    ours = answers[:, :3] - answers[:, :3].mean(1, keepdims=True)
    np.testing.assert_allclose(ours, expected - expected.mean(1, keepdims=True), atol=2e-2)
    assert (answers[:, 3] < answers[:, :3].min(1) - 5).all()


def test_the_mean_of_guesses_answers_with_the_mean_of_their_logits() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(7, 5)).astype(np.float32)
    guesses = [
        pooled.Guess(*(random.normal(size=shape).astype(np.float32) for shape in ((3, 5), 3)))
        for _ in range(4)
    ]
    expected = np.mean([guess(x) for guess in guesses], 0)
    np.testing.assert_allclose(pooled.mean(guesses)(x), expected, atol=1e-5)


def test_what_is_held_out_is_guessed_from_other_groups() -> None:
    """Noise says nothing of groups that it was not learnt from, and all of its own."""
    random = np.random.default_rng(0)
    x, targets = random.normal(size=(60, 200)).astype(np.float32), np.arange(60) % 2
    weights = np.ones(60, np.float32)
    own = pooled.first_guess(x, targets, weights, 2, 1.0)(x)
    others = pooled.out_of_fold(x, targets, weights, np.arange(60) // 4, 2, 1.0, 0)
    assert np.mean(own.argmax(1) == targets) == 1
    assert np.mean(others.argmax(1) == targets) < 0.75
    assert pooled.sureness(others, targets, weights) < pooled.sureness(own, targets, weights)


@pytest.mark.parametrize("variant", ["bilstm", "gru", "pooled", "patent"])
def test_training_in_all_directions_of_a_subspace_is_training_without(variant: str) -> None:
    """The widened network says of every window what the narrow one said."""
    vectors, _ = _windows(0, 40)
    whole = build(variant, 2, 16, 8).eval()
    basis = subspace.directions(whole, vectors, 6)
    np.testing.assert_allclose(basis.T @ basis, np.eye(6), atol=1e-5)
    torch.manual_seed(1)
    narrow = subspace.narrow(variant, 2, 6, 8).eval()
    subspace.widen(narrow, whole, basis)
    if variant == "pooled":
        narrow.pooled = whole.pooled = None
    with torch.no_grad():
        expected = narrow(subspace.project(whole, vectors, basis))[0]
        found = whole(torch.from_numpy(vectors).float())[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert float(expected.std()) > 1e-3


@pytest.mark.parametrize("variant", ["residual_attention", "pooled"])
def test_what_can_be_learnt_is_learnt_in_a_subspace(variant: str) -> None:
    vectors, targets = _windows(0, 160)
    other, truth = _windows(1)
    recipe = HeadRecipe(variant=variant, epochs=12, batch=16, subspace=6)
    seen: list[dict[str, float]] = []
    right = (other, truth, np.ones(len(truth), np.float32))
    network = fit(vectors, targets, np.arange(160), 2, recipe, 0, right, seen.append)
    assert np.mean(predict(network, other).argmax(1) == truth) > 0.85
    assert min(record["validation_loss"] for record in seen) < 0.4


def test_weights_make_labels_alike_and_clips_within_a_label() -> None:
    targets = np.array([0, 0, 0, 0, 1, 1], np.intp)
    clips = np.array([7, 7, 7, 8, 9, 9], np.intp)
    weights = window_weights(targets, clips, 3)
    assert weights.mean() == pytest.approx(1)
    assert weights[:4].sum() == pytest.approx(weights[4:].sum())
    assert weights[:3].sum() == pytest.approx(weights[3])


def test_many_filmed_clips_of_a_label_do_not_outweigh_its_drawn_one() -> None:
    targets = np.array([0, 0, 0, 0, 1, 1], np.intp)
    clips = np.array([3, 4, 5, 6, 7, 8], np.intp)
    filmed = np.array([1, 1, 1, 0, 1, 0], bool)
    weights = window_weights(targets, clips, 2, filmed)
    assert weights.mean() == pytest.approx(1)
    assert weights[:3].sum() == pytest.approx(weights[3])  # of label 0: three filmed, one drawn
    assert weights[3] == pytest.approx(weights[4]) == pytest.approx(weights[5])
    heavier = window_weights(targets, clips, 2, filmed, real_weight=3.0)
    assert heavier[:3].sum() == pytest.approx(heavier[4]) == pytest.approx(3 * heavier[5])


def test_an_epoch_sees_few_windows_of_a_long_clip() -> None:
    targets, clips = np.zeros(103, np.intp), np.array([0] * 100 + [1] * 3, np.intp)
    random = np.random.default_rng(0)
    rows = drawn_rows(targets, clips, 5, random)
    assert sorted(clips[rows].tolist()) == [0] * 5 + [1] * 3
    assert set(rows) != set(drawn_rows(targets, clips, 5, random))


def _same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
