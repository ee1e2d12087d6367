"""Every backend gives the vectors of plain float32 torch, and refuses what it cannot run."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from featurizer.extractor import Extractor, Vectors, open_extractor
from featurizer.inputs import Image
from featurizer.settings import FeaturizerSettings
from shared.bundle import Bundle
from shared.errors import Fatal, InvalidBundle, InvalidSettings
from tests.support.bundles import write_bundle


def extractor(bundle: Bundle, backend: str, **more: Any) -> Extractor:
    values = {"backend": backend, "device": "cpu", "batch": 4, **more}
    return open_extractor(bundle, FeaturizerSettings.model_validate(values))


def pictures(count: int, size: int = 32) -> Image:
    """From noise to nearly nothing, like differences."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (count, size, size, 3))
    strength = np.linspace(1, 0.02, count).reshape(-1, 1, 1, 1)
    return (noise * strength).astype(np.uint8)


def cosine(a: Vectors, b: Vectors) -> Any:
    x, y = a.astype(np.float64), b.astype(np.float64)
    return (x * y).sum(1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))


@pytest.mark.parametrize("backend", ["openvino", "torch"])
@pytest.mark.parametrize(("padding", "size"), [("torch", 32), ("tensorflow", 64), ("torch", 40),
                                               ("tensorflow", 40)])  # fmt: skip
def test_backends_agree_with_the_reference(
    tmp_path: Path, backend: str, padding: Any, size: int
) -> None:
    bundle = write_bundle(tmp_path, padding=padding, size=size)
    images = pictures(7, size)
    expected = extractor(bundle, "reference")(images)
    vectors = extractor(bundle, backend)(images)
    assert vectors.shape == (7, 1280) and vectors.dtype == np.float16
    assert cosine(vectors, expected).min() > 0.99999
    np.testing.assert_allclose(vectors, expected, atol=0.01, rtol=0.01)
    # The pictures themselves are far apart, so the agreement above means something.
    assert cosine(expected[:-1], expected[1:]).max() < 0.9999


def test_a_vector_does_not_depend_on_what_it_is_computed_with(tmp_path: Path) -> None:
    """A replay cuts batches elsewhere: to the last bit."""
    extract = extractor(write_bundle(tmp_path), "openvino")
    images = pictures(7)
    whole = extract(images)
    for first in range(7):
        np.testing.assert_array_equal(extract(images[first : first + 3]), whole[first : first + 3])
    assert len(extract(images[:0])) == 0


@pytest.mark.parametrize("backend", ["openvino", "torch", "reference"])
def test_normalisation_comes_from_the_bundle(tmp_path: Path, backend: str) -> None:
    """With another mean the same network sees the same in a picture that is shifted alike."""
    vectors = []
    for mean in ([128, 128, 128], [8, 128, 248]):
        bundle = write_bundle(tmp_path / str(mean[0]))
        toml = bundle.folder / "bundle.toml"
        toml.write_text(toml.read_text().replace("[input]", f"[input]\nmean = {mean}"))
        picture = np.full((1, 32, 32, 3), mean, np.uint8)
        picture[0, 8:20, 4:9] += 7
        vectors.append(extractor(Bundle(bundle.folder), backend)(picture))
        moved = extractor(Bundle(bundle.folder), backend)(picture - 5)
        assert np.abs(vectors[-1] - moved).max() > 0.005
    np.testing.assert_allclose(*vectors, atol=0.002)


@pytest.mark.parametrize("backend", ["openvino", "torch", "reference"])
def test_no_images_no_vectors_and_batches_do_not_matter(tmp_path: Path, backend: str) -> None:
    extract = extractor(write_bundle(tmp_path), backend)
    images = pictures(11)
    assert extract(images[:0]).shape == (0, 1280)
    together = extract(images)
    singly = np.concatenate([extract(images[i : i + 1]) for i in range(11)])
    np.testing.assert_allclose(together, singly, atol=5e-3)


def test_openvino_in_bfloat16_stays_near(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    expected = extractor(bundle, "reference")(pictures(5))
    vectors = extractor(bundle, "openvino", precision="bf16", threads=1)(pictures(5))
    assert cosine(vectors, expected).min() > 0.99


def test_openvino_serves_without_torch(tmp_path: Path) -> None:
    """Importing torch takes seconds and 200 MB that the OpenVINO backend does not need."""
    import subprocess

    write_bundle(tmp_path)
    code = (
        "import sys; from featurizer.extractor import open_extractor; "
        "from featurizer.settings import FeaturizerSettings; from shared.bundle import Bundle; "
        f"open_extractor(Bundle({str(tmp_path)!r}), FeaturizerSettings(backend='openvino')); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_damaged_backbone_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    bundle = write_bundle(tmp_path)
    weights = load_file(bundle.backbone_file)
    save_file({k: v for k, v in weights.items() if "17.conv.2" not in k}, bundle.backbone_file)
    for backend in ("openvino", "torch", "reference"):
        with pytest.raises(InvalidBundle, match=r"features\.17\.conv\.2"):
            extractor(bundle, backend)
    weights["features.3.conv.2.weight"] = np.zeros((24, 100, 1, 1), np.float16)
    save_file(weights, bundle.backbone_file)
    for backend in ("openvino", "torch"):
        with pytest.raises(InvalidBundle, match="not the weights"):
            extractor(bundle, backend)
    bundle.backbone_file.write_bytes(b"short")
    for backend in ("openvino", "torch"):
        with pytest.raises(InvalidBundle, match="backbone"):
            extractor(bundle, backend)


def test_a_network_that_gives_nan_is_fatal(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    bundle = write_bundle(tmp_path)
    weights = dict(load_file(bundle.backbone_file))
    weights["features.18.1.bias"] = np.full(1280, np.nan, np.float32)
    save_file(weights, bundle.backbone_file)
    with pytest.raises(Fatal, match="NaN"):
        extractor(bundle, "reference")


def test_a_backend_that_cannot_start_is_fatal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path)

    def broken(*_: Any) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr("featurizer.openvino_backend.OpenVinoExtractor", broken)
    with pytest.raises(Fatal, match=r"openvino backend does not run here: no such device"):
        extractor(bundle, "openvino")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="no CUDA device"):
        extractor(write_bundle(tmp_path), "torch", device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_reference(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, size=64)
    images = pictures(7, 64)
    expected = extractor(bundle, "reference")(images)
    vectors = extractor(bundle, "torch", device="cuda")(images)
    assert cosine(vectors, expected).min() > 0.999
