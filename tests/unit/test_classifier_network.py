"""The temporal network: its size, its equations against plain numpy, its files."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from classifier.inference import open_classifier
from classifier.network import (
    VARIANTS,
    PatentHead,
    ResidualAttentionLSTM,
    build,
    load_classifier,
    save_classifier,
)
from featurizer.mobilenetv2 import MobileNetV2
from shared.errors import Fatal, InvalidBundle
from tests.support.bundles import write_bundle

Array = npt.NDArray[np.float64]


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_whole_system_has_3299342_parameters_with_14_labels() -> None:
    total = parameters(MobileNetV2()) + parameters(ResidualAttentionLSTM(14))
    assert total == 3_299_342
    assert total * 4 / 2**20 == pytest.approx(12.59, abs=0.005)  # MiB in float32


def test_the_branch_of_statistics_keeps_the_system_under_3_5_million() -> None:
    total = parameters(MobileNetV2()) + parameters(build("pooled", 14))
    assert total == 3_299_342 + 14 * (3 * 1280 + 1)
    assert total <= 3_500_000


def test_the_patents_head_has_3_35_million_parameters() -> None:
    assert parameters(PatentHead()) == 3_351_445


@pytest.mark.parametrize("variant", [*VARIANTS, "patent"])
def test_every_variant_gives_logits_and_attention(variant: str) -> None:
    torch.manual_seed(0)
    network = build(variant, 5).eval()
    with torch.no_grad():
        logits, attention = network(torch.randn(3, 30, 1280))
    assert logits.shape == (3, 5) and attention.shape == (3, 30)
    np.testing.assert_allclose(attention.sum(1), 1, atol=1e-5)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="residual_attention"):
        build("transformer", 5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_part_learns(variant: str) -> None:
    torch.manual_seed(0)
    network = build(variant, 3, features=8)
    logits, _ = network(torch.randn(4, 6, 8))
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


# --- the equations of the paper, written once more in numpy --------------------------------------


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def norm(x: Array, of: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return np.asarray(centred / deviation * of[f"{name}.weight"] + of[f"{name}.bias"])


def lstm(x: Array, of: dict[str, Array], name: str) -> Array:
    """i, f, o = sigmoid(W x + U h + b); c = f c + i tanh(...); h = o tanh(c)."""
    w, u = of[f"{name}.weight_ih_l0"], of[f"{name}.weight_hh_l0"]
    b = of[f"{name}.bias_ih_l0"] + of[f"{name}.bias_hh_l0"]
    h = c = np.zeros(u.shape[1])
    states = []
    for step in x:
        i, f, candidate, o = np.split(w @ step + u @ h + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(candidate)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def by_hand(x: Array, of: dict[str, Array]) -> tuple[Array, Array]:
    h = norm((x - of["mean"]) / of["scale"], of, "norm")
    h = norm(lstm(h, of, "layers.0"), of, "norms.0")
    h = norm(lstm(h, of, "layers.1") + h, of, "norms.1")
    h = norm(lstm(h, of, "layers.2"), of, "norms.2")
    e = np.tanh(h @ of["attention.project.weight"].T + of["attention.project.bias"])
    e = (e @ of["attention.weigh.weight"].T)[:, 0]
    weights = np.exp(e) / np.exp(e).sum()
    merged = np.concatenate([weights @ h, h[-1]])
    hidden = np.maximum(of["merge.weight"] @ merged + of["merge.bias"], 0)
    logits = of["label.weight"] @ hidden + of["label.bias"]
    if "pooled.weight" in of:
        y = (x - of["mean"]) / of["scale"]
        parts = [y.mean(0), y.std(0), np.abs(np.diff(y, axis=0)).mean(0)]
        logits = logits + of["pooled.weight"] @ np.concatenate(parts) + of["pooled.bias"]
    return logits, weights


def seeded(*, pooled: bool = False) -> ResidualAttentionLSTM:
    torch.manual_seed(3)
    network = ResidualAttentionLSTM(5, pooled=pooled).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        network.mean.normal_()
        network.scale.uniform_(0.5, 2)
    return network


POOLED = pytest.mark.parametrize("pooled", [False, True])


@POOLED
def test_the_network_follows_the_equations(pooled: bool) -> None:
    network = seeded(pooled=pooled)
    x = torch.randn(2, 30, 1280)
    with torch.no_grad():
        logits, attention = network(x)
    of = {name: value.numpy().astype(np.float64) for name, value in network.state_dict().items()}
    for n in range(2):
        expected, weights = by_hand(x[n].numpy().astype(np.float64), of)
        np.testing.assert_allclose(logits[n], expected, atol=5e-5)
        np.testing.assert_allclose(attention[n], weights, atol=1e-6)
    assert float(attention.std()) > 1e-3  # else the comparison would show nothing


def test_a_window_does_not_see_its_neighbours_in_the_batch() -> None:
    network = seeded()
    x = torch.randn(3, 30, 1280)
    with torch.no_grad():
        together = network(x)[0]
        alone = torch.cat([network(x[i : i + 1])[0] for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


# --- files ---------------------------------------------------------------------------------------


@POOLED
def test_a_bundle_keeps_the_network(tmp_path: Path, pooled: bool) -> None:
    bundle = write_bundle(tmp_path, labels=("a", "b", "c", "d", "normal"))
    network = seeded(pooled=pooled)
    save_classifier(network, bundle.classifier_file)
    loaded = load_classifier(bundle)
    assert not loaded.training
    x = torch.randn(4, 30, 1280)
    with torch.no_grad():
        a, b = torch.softmax(network(x)[0], 1), torch.softmax(loaded(x)[0], 1)
    np.testing.assert_allclose(a, b, atol=4e-3)
    assert torch.equal(network.mean, loaded.mean)


def test_weights_of_another_number_of_labels_are_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    save_classifier(ResidualAttentionLSTM(5), bundle.classifier_file)
    with pytest.raises(InvalidBundle, match="not the weights of this network"):
        load_classifier(bundle)


BACKENDS = pytest.mark.parametrize("backend", ["openvino", "torch"])


@BACKENDS
@pytest.mark.parametrize("damage", ["bytes", "keys", "labels", "shape", "nan"])
def test_a_damaged_classifier_is_refused(tmp_path: Path, damage: str, backend: str) -> None:
    bundle = write_bundle(tmp_path)
    network = ResidualAttentionLSTM(3 if damage == "labels" else 2)
    if damage == "nan":
        nn.init.constant_(network.label.bias, float("nan"))
    save_classifier(network, bundle.classifier_file)
    if damage == "bytes":
        bundle.classifier_file.write_bytes(b"x")
    elif damage == "keys":
        save_file({"label.weight": torch.zeros(2, 256)}, bundle.classifier_file)
    elif damage == "shape":
        state = network.state_dict() | {"merge.weight": torch.zeros(256, 200)}
        save_file(state, bundle.classifier_file)
    with pytest.raises(Fatal if damage == "nan" else InvalidBundle, match=r"classifier\.safetens"):
        open_classifier(bundle, backend)


@BACKENDS
@POOLED
@pytest.mark.parametrize(("window", "count"), [(30, 1), (30, 5), (7, 3)])
def test_inference_gives_what_the_network_gives(
    tmp_path: Path, backend: str, pooled: bool, window: int, count: int
) -> None:
    bundle = write_bundle(tmp_path, labels=("a", "b", "c", "d", "normal"), window=window)
    save_classifier(seeded(pooled=pooled), bundle.classifier_file)
    windows = np.random.default_rng(0).normal(size=(count, window, 1280)).astype(np.float16)
    probabilities, attention = open_classifier(bundle, backend)(windows)
    with torch.no_grad():
        logits, weights = load_classifier(bundle)(torch.from_numpy(windows).float())
    np.testing.assert_allclose(probabilities, torch.softmax(logits, 1), atol=1e-5)
    np.testing.assert_allclose(attention, weights, atol=1e-5)
    assert float(probabilities.std()) > 0.01


@BACKENDS
def test_calls_do_not_share_their_results(tmp_path: Path, backend: str) -> None:
    classify = open_classifier(write_bundle(tmp_path), backend)
    windows = np.random.default_rng(0).normal(size=(2, 30, 1280)).astype(np.float16)
    first = classify(windows)[0]
    before = first.copy()
    classify(-windows)
    np.testing.assert_array_equal(first, before)
