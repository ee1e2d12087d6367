"""Makes a bundle's int8 backbone: post-training quantisation by NNCF on the user's own pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as ops

from featurizer import int8
from featurizer.equalise import equalised
from featurizer.extractor import Vectors
from featurizer.inputs import Image
from featurizer.openvino_backend import OpenVinoExtractor, graph, weights_of
from shared.bundle import Bundle
from shared.errors import InvalidInput, InvalidSettings

LEAST = 0.99
"""Mean cosine to the float32 features, on pictures that were not used to make it."""
FEWEST = 40
"""Pictures below which neither ranges nor cosines mean much."""
_CALIBRATE = 150  # 300 gave the same cosine, 0.9947
_KEPT_IN_FLOAT: tuple[tuple[str, ...], ...] = (
    (),
    ("features.1.conv.0.",),
    ("features.1.",),
    *(tuple(f"features.{i}." for i in layers) for layers in (
        (1, 16, 17), (1, 2, 14, 16, 17), (1, 2, 3, 4, 14, 15, 16, 17),
    )),
)  # fmt: skip
"""Layers that stay in float32, tried in turn until the cosine is reached.

The first depth-wise filter is by far the most sensitive: small motion is a few steps of what the
layer before it gives. Bundles of differences and of flow gave 0.976 and 0.982 with all in int8,
0.993 and 0.990 without that filter, at 1.2 and 1.3 core-ms an image (float32: 2.7). Without
`equalise` it was 0.991 and 0.988.
"""
_LEAST_VARIANCE = 1e-4  # of a feature: below it, its scale is left alone
_DIRECTIONS = 16
_HELD_OUT = 4  # every so many-th block of pictures measures and does not calibrate
_BLOCK = 10  # neighbours in time are alike: singly held out they would flatter


def quantise(
    bundle: Bundle, images: Sequence[Image], folder: Path, threads: int = 0, least: float = LEAST
) -> int8.Record:
    """Write the int8 network of this bundle to `folder`; takes a minute or two.

    `images`: network inputs, uint8 (size, size, 3), as the cameras give them. Raises InvalidInput
    if they are too few or the mean cosine stays below `least`; InvalidSettings without nncf.
    """
    if len(images) < FEWEST:
        raise InvalidInput(f"{len(images)} pictures to calibrate on; at least {FEWEST} are needed")
    blocks = [i // _BLOCK % _HELD_OUT == _HELD_OUT - 1 for i in range(len(images))]
    held_out = np.stack([image for image, held in zip(images, blocks, strict=True) if held])
    rest = [image for image, held in zip(images, blocks, strict=True) if not held]
    chosen = np.unique(np.linspace(0, len(rest) - 1, _CALIBRATE).round().astype(int))
    reference = OpenVinoExtractor(bundle, threads, "f32")
    exact, learnt = reference(held_out), reference(np.stack(rest))
    calibrating = [rest[i] for i in chosen]
    weights = equalised(weights_of(bundle), bundle, calibrating)
    best = 0.0
    for kept in _KEPT_IN_FLOAT:
        model, made_by = _quantised(graph(weights, bundle), calibrating, kept)
        model = _corrected(model, OpenVinoExtractor(bundle, threads, "int8", model), rest, learnt)
        found = OpenVinoExtractor(bundle, threads, "int8", model)(held_out)
        cosines = cosine(exact, found)
        best = max(best, float(cosines.mean()))
        if cosines.mean() < least:
            continue
        record = int8.Record(
            int8.origin(bundle), round(float(cosines.mean()), 4),
            round(float(np.quantile(cosines, 0.05)), 4), round(float(cosines.min()), 4),
            len(held_out), len(chosen), " ".join(kept) or "none", made_by,
        )  # fmt: skip
        int8.save(model, record, folder)
        return record
    raise InvalidInput(
        f"the int8 features turn too far: mean cosine {best:.4f} to float32, at least {least:g} is "
        "needed; nothing is written; more varied video may help"
    )


def _corrected(
    model: ov.Model, extract: Callable[[Image], Vectors], images: Sequence[Image], exact: Vectors
) -> ov.Model:
    """The network with its features moved to where float32 has them, by least squares.

    What quantisation distorts alike in all calibration pictures is undone: first each feature by
    itself, scaled and shifted; then what is left over along the principal directions of the
    features. That brought 0.982 to 0.987 to 0.991 (of differences, before `equalise`), and costs
    next to no time.
    """
    found, wanted = extract(np.stack(images)).astype(np.float64), exact.astype(np.float64)
    mean = found.mean(0)
    moved = found - mean
    scale = ((moved * (wanted - wanted.mean(0))).mean(0) + _LEAST_VARIANCE) / (
        moved.var(0) + _LEAST_VARIANCE
    )
    left = wanted - wanted.mean(0) - moved * scale
    principal = np.linalg.svd(moved, full_matrices=False)[2][:_DIRECTIONS].T
    answer = np.linalg.lstsq(moved @ principal, left, rcond=None)[0]  # (directions, features)
    features = model.get_results()[0].input_value(0)
    moved_node = ops.subtract(features, mean.astype(np.float32)[None])
    along = ops.matmul(
        ops.matmul(moved_node, principal.astype(np.float32), False, False),
        answer.astype(np.float32), False, False,
    )  # fmt: skip
    scaled = ops.multiply(moved_node, scale.astype(np.float32)[None])
    corrected = ops.add(ops.add(scaled, along), wanted.mean(0).astype(np.float32)[None])
    zero = np.zeros((1, 1), np.float32)  # features are means of what a ReLU6 let through
    return ov.Model([ops.result(ops.maximum(corrected, zero))], model.get_parameters(), "corrected")


def cosine(a: Vectors, b: Vectors) -> npt.NDArray[np.float64]:
    """Row by row; 0 where a vector has no length."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.asarray((x * y).sum(1) / np.maximum(lengths, 1e-30))


def _quantised(
    model: ov.Model, images: Sequence[Image], kept: tuple[str, ...]
) -> tuple[ov.Model, str]:
    try:
        import nncf  # noqa: PLC0415  takes seconds, and serving does without
    except ImportError:
        raise InvalidSettings("nncf is absent; install it: pip install 'citywatch[int8]'") from None
    done = nncf.quantize(
        model,
        nncf.Dataset(images, lambda image: image[None]),
        # int8 is for CPUs that add up in 32 bits (`featurizer/precision.py`); NNCF would keep a bit
        # free in the first layer for those that do not.
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.DISABLE
        ),
        # Symmetric ranges for all turn the features less than NNCF's mixed ones: 0.995, not 0.991.
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(
            names=[n for op in model.get_ops() if (n := op.get_friendly_name()).startswith(kept)]
        ),
    )
    return done, f"nncf {nncf.__version__}, openvino {ov.__version__.split('-')[0]}"
