"""Makes a bundle's int8 backbone: post-training quantisation by NNCF on the user's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino as ov

from featurizer import int8
from featurizer.extractor import Vectors
from featurizer.inputs import Image
from featurizer.openvino_backend import OpenVinoExtractor, build
from shared.bundle import Bundle
from shared.errors import InvalidInput, InvalidSettings

LEAST = 0.99
"""Mean cosine to the float32 features, on pictures that were not used to make it."""
FEWEST = 40
"""Pictures below which neither ranges nor cosines mean much."""
_CALIBRATE = 150  # 300 gave the same cosine, 0.9947
_HELD_OUT = 4  # every so many-th picture measures and does not calibrate


def quantise(
    bundle: Bundle, images: Sequence[Image], folder: Path, threads: int = 0, least: float = LEAST
) -> int8.Record:
    """Write the int8 network of this bundle to `folder`; takes about a minute.

    `images`: network inputs, uint8 (size, size, 3), as the cameras give them. Raises InvalidInput
    if they are too few or the mean cosine stays below `least`; InvalidSettings without nncf.
    """
    if len(images) < FEWEST:
        raise InvalidInput(f"{len(images)} pictures to calibrate on; at least {FEWEST} are needed")
    held_out = np.stack(images[::_HELD_OUT])
    rest = [image for i, image in enumerate(images) if i % _HELD_OUT]
    chosen = np.unique(np.linspace(0, len(rest) - 1, _CALIBRATE).round().astype(int))
    model, made_by = _quantised(build(bundle), [rest[i] for i in chosen])
    exact = OpenVinoExtractor(bundle, threads, "f32")(held_out)
    found = OpenVinoExtractor(bundle, threads, "int8", model)(held_out)
    cosines = cosine(exact, found)
    record = int8.Record(
        int8.origin(bundle), round(float(cosines.mean()), 4),
        round(float(np.quantile(cosines, 0.05)), 4), round(float(cosines.min()), 4),
        len(held_out), len(chosen), made_by,
    )  # fmt: skip
    if cosines.mean() < least:
        raise InvalidInput(
            f"the int8 features turn too far: mean cosine {record.cosine_mean:.4f} to float32, at "
            f"least {least:g} is needed; nothing is written; more varied video may help"
        )
    int8.save(model, record, folder)
    return record


def cosine(a: Vectors, b: Vectors) -> npt.NDArray[np.float64]:
    """Row by row; 0 where a vector has no length."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.asarray((x * y).sum(1) / np.maximum(lengths, 1e-30))


def _quantised(model: ov.Model, images: Sequence[Image]) -> tuple[ov.Model, str]:
    try:
        import nncf  # noqa: PLC0415  takes seconds, and serving does without
    except ImportError:
        raise InvalidSettings("nncf is absent; install it: pip install 'citywatch[int8]'") from None
    done = nncf.quantize(
        model,
        nncf.Dataset(images, lambda image: image[None]),
        # Symmetric ranges for all turn the features less than NNCF's mixed ones: 0.995, not 0.991.
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(images),
    )
    return done, f"nncf {nncf.__version__}, openvino {ov.__version__.split('-')[0]}"
