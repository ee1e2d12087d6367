"""Statistics of what was learnt from: equal to numpy's, and far from what was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from classifier.drift import Drift, read
from shared.bundle import DRIFT_FILE
from shared.errors import InvalidBundle
from tests.support.bundles import write_bundle
from training import drift

Numbers = npt.NDArray[np.float32]
FEATURES = 1280


def cloud(rows: int, features: int, seed: int) -> Numbers:
    """Vectors whose numbers go together, as features do."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(rows, 6)) @ random.normal(size=(6, features))
    return (3 + mixed + 0.3 * random.normal(size=(rows, features))).astype(np.float32)


@given(rows=st.integers(20, 60), features=st.integers(3, 16), seed=st.integers(0, 99))
def test_with_all_axes_it_is_the_mahalanobis_distance(rows: int, features: int, seed: int) -> None:
    vectors = cloud(rows, features, seed)
    found = drift.describe(vectors, axes=features - 1)
    wide = vectors.astype(np.float64)
    assert np.allclose(found.mean, wide.mean(0), rtol=1e-5)
    inverse = np.linalg.inv(np.cov(wide.T, bias=True))
    centred = wide - wide.mean(0)
    wanted = np.sqrt(np.einsum("nd,de,ne->n", centred, inverse, centred) / features)
    assert np.allclose(found.distance(vectors), wanted, rtol=2e-3)
    assert np.allclose(found.quantiles, np.percentile(wanted, np.arange(101)), rtol=2e-3)


def test_few_axes_keep_the_total_variance() -> None:
    vectors = cloud(400, 40, 1)
    found = drift.describe(vectors, axes=6)
    total = found.variances.sum() + (40 - 6) * found.rest
    assert total == pytest.approx(np.var(vectors.astype(np.float64), axis=0).sum(), rel=1e-4)
    assert np.allclose(found.axes @ found.axes.T, np.eye(6), atol=1e-5)
    assert list(found.variances) == sorted(found.variances, reverse=True)
    assert np.mean(found.distance(vectors) ** 2) == pytest.approx(1, rel=1e-3)


def test_other_content_is_clearly_farther() -> None:
    random = np.random.default_rng(3)
    learnt = np.maximum(cloud(600, FEATURES, 2), 0)
    found = drift.describe(learnt[:500], np.arange(500) // 20)
    alike = found.relative(learnt[500:]).reshape(5, 20).mean(1)
    noise = random.uniform(0, 6, (100, FEATURES)).astype(np.float32)
    inverted = (learnt[:100].max(0) - learnt[:100]).astype(np.float32)
    assert alike.max() < 1.1
    assert found.relative(noise).min() > 1.5 and found.relative(inverted).min() > 1.5


def test_distances_are_those_of_groups_that_were_left_out() -> None:
    """Each group sits elsewhere: from the other groups it is far, from the whole it is not."""
    groups = np.repeat(np.arange(10), 30)
    places = 4 * np.random.default_rng(5).normal(size=(10, 12))
    vectors = (cloud(300, 12, 4) + places[groups]).astype(np.float32)
    held_out, within = drift.describe(vectors, groups, 4), drift.describe(vectors, axes=4)
    assert np.array_equal(held_out.mean, within.mean)
    assert held_out.quantiles[50] > within.quantiles[50]


def test_a_feature_that_never_moved_and_a_single_group() -> None:
    vectors = cloud(50, 8, 6)
    vectors[:, 3] = 1.5
    found = drift.describe(vectors, np.zeros(50, np.intp))
    assert np.isfinite(found.distance(vectors)).all()
    assert found.distance(vectors).max() < 4


def test_written_and_read_with_its_bundle(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    assert bundle.drift_file is None and read(bundle) is None
    before = bundle.fingerprint
    made = drift.describe(cloud(60, FEATURES, 7))
    drift.write(tmp_path, made)
    found = read(bundle)
    assert found is not None
    for name, value in vars(made).items():
        assert np.array_equal(getattr(found, name), value)
    assert bundle.fingerprint == before  # it decides no prediction
    other = write_bundle(tmp_path, seed=5)
    assert read(other) is None  # of another backbone: what it says would mislead


@pytest.mark.parametrize("case", ["bytes", "absent", "shape"])
def test_a_damaged_file_is_refused(tmp_path: Path, case: str) -> None:
    bundle = write_bundle(tmp_path)
    path = tmp_path / DRIFT_FILE
    made = drift.describe(cloud(60, 16 if case == "shape" else FEATURES, 8))
    values = dict(vars(made))
    if case == "absent":
        del values["rest"]
    save_file(values, path)
    if case == "bytes":
        path.write_bytes(b"no such thing")
    with pytest.raises(InvalidBundle, match=DRIFT_FILE):
        read(bundle)
    assert set(Drift.__dataclass_fields__) == {"mean", "axes", "variances", "rest", "quantiles"}
