"""What turns network inputs into vectors: one protocol, and the choice among its backends."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from featurizer.inputs import Image
from featurizer.precision import choose
from featurizer.settings import FeaturizerSettings
from shared.bundle import Bundle
from shared.errors import CitywatchError, Fatal

log = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float16]


class Extractor(Protocol):
    """A backbone with its normalisation inside."""

    @property
    def name(self) -> str:
        """Backend, device and precision, for logs and `citywatch doctor`."""

    def __call__(self, images: Image) -> Vectors:
        """uint8 (N, size, size, 3) to float16 (N, features); N may be 0."""


def open_extractor(bundle: Bundle, settings: FeaturizerSettings) -> Extractor:
    """The extractor that the settings ask for, warm. Raises Fatal if it cannot run here."""
    backend = settings.backend
    if backend == "auto":
        backend = "torch" if settings.device != "cpu" and _has_cuda() else "openvino"
    try:
        extractor = _open(backend, bundle, settings)
        _warm_up(extractor, bundle, settings.batch)
    except CitywatchError:
        raise
    except Exception as error:
        raise Fatal(
            f"the {backend} backend does not run here: {error}; choose another with "
            "--set featurizer.backend=openvino|torch|reference"
        ) from error
    log.info("backbone of %s on %s", bundle.name, extractor.name)
    return extractor


def _open(backend: str, bundle: Bundle, settings: FeaturizerSettings) -> Extractor:
    # Each backend is imported only where it is used: torch alone takes seconds.
    if backend == "openvino":
        from featurizer import int8  # noqa: PLC0415
        from featurizer.openvino_backend import OpenVinoExtractor  # noqa: PLC0415

        quantised = int8.file_of(bundle.folder).is_file()
        precision = choose(settings.precision, quantised=quantised)
        return OpenVinoExtractor(bundle, settings.threads, precision)
    if backend == "torch":
        from featurizer.torch_backend import open_torch  # noqa: PLC0415

        return open_torch(bundle, settings.device, settings.threads, settings.batch)
    from featurizer.torch_backend import Reference  # noqa: PLC0415

    return Reference(bundle)


def _has_cuda() -> bool:
    if not Path("/proc/driver/nvidia/version").exists():  # spares the import of torch
        return False
    import torch  # noqa: PLC0415

    return torch.cuda.is_available()


def _warm_up(extractor: Extractor, bundle: Bundle, batch: int) -> None:
    size = bundle.description.input.size
    for count in (1, batch):
        vectors = extractor(np.zeros((count, size, size, 3), np.uint8))
        expected = (count, bundle.description.backbone.features)
        if vectors.shape != expected or not np.isfinite(vectors).all():
            raise Fatal(f"{extractor.name} gives {vectors.shape} or NaN, expected {expected}")
