"""The int8 backbone: made, measured, kept, chosen, refused."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from featurizer import int8, precision, quantise
from featurizer.equalise import equalised, ranges
from featurizer.extractor import Vectors, open_extractor
from featurizer.inputs import Image
from featurizer.openvino_backend import OpenVinoExtractor, Weights, core, graph, weights_of
from featurizer.settings import FeaturizerSettings
from shared.bundle import Bundle
from shared.errors import InvalidBundle, InvalidInput, InvalidSettings
from tests.support.bundles import write_bundle

nncf_warns = pytest.mark.filterwarnings("default")  # its own, at import and while it works


def pictures(count: int, seed: int = 0, size: int = 32) -> list[Image]:
    """Blobs of light in different places, as differences of frames are."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (count, size, size, 3), dtype=np.uint8)
    for image, (y, x) in zip(images, rng.integers(0, size - 10, (count, 2)), strict=True):
        image[y : y + 10, x : x + 10] += rng.integers(0, 200, 3, dtype=np.uint8)
    return list(images)


@pytest.fixture(autouse=True)
def _fast_at_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine that tests can do."""
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset({"avx512_vnni"}))


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    pytest.importorskip("nncf", reason="needs the extra citywatch[int8]")
    bundle = write_bundle(tmp_path_factory.mktemp("int8"))
    quantise.quantise(bundle, pictures(80), bundle.folder, threads=1, least=0.9)
    return bundle


def extractor(bundle: Bundle, precision: str, **more: Any) -> Any:
    values = {"backend": "openvino", "precision": precision, "threads": 1, "batch": 4, **more}
    return open_extractor(bundle, FeaturizerSettings.model_validate(values))


@nncf_warns
def test_its_features_are_those_of_float32_within_what_was_recorded(quantised: Bundle) -> None:
    images = np.stack(pictures(40, seed=1))
    exact, found = (extractor(quantised, kind)(images) for kind in ("f32", "int8"))
    cosines = quantise.cosine(exact, found)
    _, record = int8.load(quantised)
    assert cosines.mean() == pytest.approx(record.cosine_mean, abs=0.02)
    assert 0.9 < record.cosine_least <= record.cosine_p05 <= record.cosine_mean <= 1
    assert record.pictures == 20 and record.calibrated_on == 60
    assert not np.array_equal(exact, found)  # it is another arithmetic indeed
    # Pictures themselves are further apart than the two arithmetics.
    assert quantise.cosine(exact[:-1], exact[1:]).mean() < cosines.mean()


@nncf_warns
def test_auto_takes_it_where_the_cpu_is_fast_at_it(
    quantised: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset({"avx512_vnni"}))
    assert "int8" in extractor(quantised, "auto").name
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset({"avx2"}))
    assert "f32" in extractor(quantised, "auto").name


@nncf_warns
def test_the_fingerprint_names_weights_not_arithmetic(quantised: Bundle, tmp_path: Path) -> None:
    plain = write_bundle(tmp_path)
    assert plain.backbone_fingerprint == quantised.backbone_fingerprint


@nncf_warns
def test_beside_other_weights_it_is_refused(quantised: Bundle, tmp_path: Path) -> None:
    other = write_bundle(tmp_path, seed=5)
    for name in ("backbone.int8.xml", "backbone.int8.bin"):
        (tmp_path / name).write_bytes((quantised.folder / name).read_bytes())
    with pytest.raises(InvalidBundle, match=r"made from backbone .* but the bundle has"):
        extractor(other, "int8")


@nncf_warns
def test_features_that_turn_too_far_are_not_written(tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="needs the extra citywatch[int8]")
    bundle = write_bundle(tmp_path)
    with pytest.raises(InvalidInput, match="turn too far: mean cosine"):
        quantise.quantise(bundle, pictures(40), tmp_path, threads=1, least=1.01)
    assert not int8.file_of(tmp_path).exists()


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="39 pictures"):
        quantise.quantise(write_bundle(tmp_path), pictures(39), tmp_path)


def test_without_nncf_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nncf", None)
    with pytest.raises(InvalidSettings, match=r"pip install 'citywatch\[int8\]'"):
        quantise.quantise(write_bundle(tmp_path), pictures(40), tmp_path)


def test_absent_or_damaged_it_says_how_to_make_it(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    with pytest.raises(InvalidBundle, match="has no int8 network; make it: python -m training"):
        extractor(bundle, "int8")
    int8.file_of(tmp_path).write_text("<net")
    with pytest.raises(InvalidBundle, match="not a quantised backbone"):
        extractor(bundle, "int8")


@pytest.mark.parametrize(
    ("flags", "quantised", "expected"),
    [
        ({"avx512_vnni", "avx512_bf16"}, False, "f32"),  # bf16 without tiles is slower
        ({"avx512_vnni", "avx512_bf16"}, True, "int8"),
        ({"amx_bf16", "amx_int8"}, False, "bf16"),
        ({"amx_bf16", "amx_int8"}, True, "int8"),
        ({"avx2"}, True, "f32"),
        (set(), True, "f32"),
    ],
)
def test_auto(
    flags: set[str], quantised: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset(flags))
    assert precision.choose("auto", quantised=quantised) == expected
    assert precision.choose("bf16", quantised=quantised) == "bf16"  # what is asked for is done


def test_int8_is_refused_where_it_would_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(InvalidSettings, match="neither VNNI nor AMX"):
        precision.choose("int8", quantised=True)
    monkeypatch.setattr(precision, "cpu_flags", frozenset)  # not an x86, or not known
    assert precision.choose("int8", quantised=True) == "int8"


@pytest.mark.parametrize("mixed", [False, True])
def test_what_is_distorted_alike_in_all_pictures_is_undone(mixed: bool) -> None:
    """Scales and shifts of each feature; mixed: of one feature into the others, too."""
    images = np.random.default_rng(0).integers(0, 255, (60, 2, 2, 3), np.uint8)
    parameter = ops.parameter([1, 2, 2, 3], np.uint8)
    features = ops.reshape(ops.convert(parameter, np.float32), np.array([1, 12]), False)
    model = ov.Model([ops.result(ops.divide(features, np.float32(50.0)))], [parameter], "plain")

    def run(of: ov.Model) -> Vectors:
        compiled = core().compile_model(of, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return np.concatenate([compiled(image[None])[0] for image in images]).astype(np.float16)

    exact = (run(model).astype(np.float32) * np.linspace(0.5, 1.5, 12) + 0.3).astype(np.float16)
    if mixed:
        exact += np.float16(0.2) * exact[:, :1]
    corrected = quantise._corrected(model, lambda given: run(model), list(images), exact)
    assert np.abs(run(corrected).astype(np.float32) - exact).max() < 0.02


def test_equalised_it_is_the_same_network_with_channels_of_one_range(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    images = pictures(12)
    before = weights_of(bundle)
    kept = {name: value.copy() for name, value in before.items()}
    after = equalised(before, bundle, images)
    for name, value in kept.items():
        np.testing.assert_array_equal(before[name], value)  # what was given is left alone
    exact, found = (
        OpenVinoExtractor(bundle, 1, "f32", graph(weights, bundle))(np.stack(images))
        for weights in (before, after)
    )
    np.testing.assert_allclose(exact, found, rtol=0.01, atol=0.002)

    def spread(weights: Weights, stream: tuple[int, ...]) -> float:
        each = ranges(weights, bundle, images)
        widest = np.max([each[block] for block in stream], axis=0)
        return float(widest.max() / np.median(widest))

    for stream in ((1,), (4, 5, 6), (17,)):
        assert spread(after, stream) < 1.05 < spread(before, stream)
