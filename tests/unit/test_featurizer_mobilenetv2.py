"""MobileNetV2: its size, its keys, its numbers, and what its loaders refuse."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from featurizer.mobilenetv2 import (
    ConvNormRelu,
    MobileNetV2,
    load_backbone,
    load_checkpoint,
    save_backbone,
)
from shared.bundle import Bundle
from shared.errors import InvalidBundle
from tests.support.bundles import random_backbone, write_bundle

DATA = Path(os.environ.get("CITYWATCH_DATA", Path(__file__).parents[3] / "shared" / "data"))


def pictures() -> torch.Tensor:
    return torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(7)) * 2 - 1


def test_the_features_have_2223872_parameters() -> None:
    assert sum(p.numel() for p in MobileNetV2().parameters()) == 2_223_872
    assert sum(p.numel() for p in MobileNetV2(1000).parameters()) == 3_504_872  # torchvision's


def test_keys_are_those_of_torchvision() -> None:
    keys = list(MobileNetV2(1000).state_dict())
    assert len(keys) == 314
    assert keys[:2] == ["features.0.0.weight", "features.0.1.weight"]
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert [k for k in keys if k.startswith("features.1.")] == [
        "features.1.conv.0.0.weight", *(f"features.1.conv.0.1.{n}" for n in norm),
        "features.1.conv.1.weight", *(f"features.1.conv.2.{n}" for n in norm),
    ]  # fmt: skip
    assert [k for k in keys if k.startswith("features.17.")] == [
        "features.17.conv.0.0.weight", *(f"features.17.conv.0.1.{n}" for n in norm),
        "features.17.conv.1.0.weight", *(f"features.17.conv.1.1.{n}" for n in norm),
        "features.17.conv.2.weight", *(f"features.17.conv.3.{n}" for n in norm),
    ]  # fmt: skip
    assert keys[-2:] == ["classifier.1.weight", "classifier.1.bias"]


def test_output_equals_that_of_torchvision() -> None:
    """Numbers from torchvision 0.29.2's mobilenet_v2 with the same weights and pictures."""
    with torch.no_grad():
        vectors = random_backbone()(pictures())
    assert vectors.shape == (2, 1280)
    expected = [
        [0.5745, 0.0241, 0.1811, 0.6744, 0.0, 2.9392, 1.3901, 0.0328],
        [0.5913, 0.1834, 1.1161, 0.8362, 0.3812, 3.0, 1.3091, 0.5549],
    ]
    np.testing.assert_allclose(vectors[:, ::160], expected, atol=2e-3)


@pytest.mark.parametrize("side", [8, 9])
def test_tensorflow_padding_is_same(side: int) -> None:
    """An even side is padded by one at its end, an odd one by one at either end."""
    layer = ConvNormRelu(1, 1, 3, 2, 1, "tensorflow").eval()
    conv = layer[0]
    assert isinstance(conv, nn.Conv2d)
    with torch.no_grad():
        conv.weight.fill_(1)
        picture = torch.zeros((1, 1, side, side))
        picture[..., 0, 0] = 1  # its sum is seen by the first output only if that begins here
        result = layer(picture)
    assert result.shape[2:] == ((side + 1) // 2, (side + 1) // 2)
    padded = np.pad(picture[0, 0].numpy(), ((side % 2, 1), (side % 2, 1)))
    sums = [
        [padded[y : y + 3, x : x + 3].sum() for x in range(0, side, 2)] for y in range(0, side, 2)
    ]
    np.testing.assert_allclose(result[0, 0], np.minimum(np.array(sums), 6), atol=1e-4)


def test_paddings_differ() -> None:
    with torch.no_grad():
        difference = random_backbone("torch")(pictures()) - random_backbone("tensorflow")(
            pictures()
        )
    assert difference.abs().max() > 0.1


def test_a_checkpoint_with_any_number_of_classes_loads(tmp_path: Path) -> None:
    network = MobileNetV2(7)
    torch.save(network.state_dict(), tmp_path / "seven.pth")
    loaded = load_checkpoint(tmp_path / "seven.pth")
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded.logits(pictures()), network.eval().logits(pictures()))


def test_without_classifier_there_are_no_logits() -> None:
    with pytest.raises(ValueError, match="without a classifier"):
        MobileNetV2().logits(pictures())


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(InvalidBundle, match=r"x\.pth"):
        load_checkpoint(tmp_path / "x.pth")


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a checkpoint ran code",))


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    torch.save({"features.0.0.weight": _Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InvalidBundle, match="not a PyTorch checkpoint"):
        load_checkpoint(tmp_path / "evil.pth")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 4).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(InvalidBundle, match="not the weights of a MobileNetV2"):
        load_checkpoint(tmp_path / "linear.pth")
    state = MobileNetV2().state_dict()
    state["features.0.0.weight"] = torch.zeros(32, 3, 5, 5)
    torch.save(state, tmp_path / "wide.pth")
    with pytest.raises(InvalidBundle, match=r"features\.0\.0\.weight"):
        load_checkpoint(tmp_path / "wide.pth")


def test_bundle_round_trip_keeps_the_vectors(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    network = load_backbone(bundle)
    assert all(p.dtype == torch.float32 for p in network.parameters())
    with torch.no_grad():
        there, back = random_backbone()(pictures()), network(pictures())
    cosine = torch.cosine_similarity(there, back)
    assert cosine.min() > 0.9995
    assert bundle.backbone_file.stat().st_size < 5_000_000


def test_a_tiny_variance_survives_the_file(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    network = random_backbone()
    norm = network.features[0][1]  # type: ignore[index]
    norm.running_var.fill_(1e-9)
    save_backbone(network, bundle.backbone_file)
    loaded = load_backbone(Bundle(tmp_path))
    assert float(loaded.features[0][1].running_var[0]) == pytest.approx(1e-9)  # type: ignore[index]


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    bundle.backbone_file.write_bytes(b"\x00" * 100)
    with pytest.raises(InvalidBundle, match="backbone"):
        load_backbone(bundle)
    save_file({"features.0.0.weight": torch.zeros(32, 3, 3, 3)}, bundle.backbone_file)
    with pytest.raises(InvalidBundle, match="not the weights"):
        load_backbone(bundle)


@pytest.mark.data
def test_imagenet_weights_know_a_water_bottle() -> None:
    weights = DATA / "weights" / "mobilenet_v2_imagenet.pth"
    clip = DATA / "clips" / "bottle-detection.mp4"
    if not weights.is_file() or not clip.is_file():
        pytest.skip(f"no data in {DATA}")
    read, frame = cv2.VideoCapture(str(clip)).read()
    assert read
    height, width = frame.shape[:2]
    middle = frame[:, (width - height) // 2 : (width + height) // 2]
    small = cv2.resize(middle, (224, 224), interpolation=cv2.INTER_AREA)
    x = torch.from_numpy(cv2.cvtColor(small, cv2.COLOR_BGR2RGB) / np.float32(127.5) - 1)
    network = load_checkpoint(weights, "tensorflow")
    with torch.no_grad():
        probabilities = network.logits(x.permute(2, 0, 1)[None]).softmax(1)[0]
    assert len(probabilities) == 1001
    assert int(probabilities.argmax()) == 899  # water bottle is 898, and 0 is background
    assert float(probabilities.max()) == pytest.approx(0.87, abs=0.03)
