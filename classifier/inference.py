"""The bundle's temporal network, ready to be called on windows: OpenVINO, or plain torch.

Measured on one core of a Xeon, ms a window, in batches of 1 / 16 / 64: OpenVINO 1.1 / 0.5 / 0.5,
torch 2.5 / 0.9 / 0.7. OpenVINO also spares the import of torch, which takes seconds.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.bundle import Bundle
from shared.errors import CitywatchError, Fatal

Windows = npt.NDArray[np.float16]
Numbers = npt.NDArray[np.float32]


class Classify(Protocol):
    """The temporal network with its softmax."""

    def __call__(self, windows: Windows) -> tuple[Numbers, Numbers]:
        """(N, steps, D) to probabilities (N, labels) and attention (N, steps)."""


class TorchClassifier:
    """float32 on the CPU: what the other is tested against."""

    def __init__(self, bundle: Bundle) -> None:
        from classifier.network import load_classifier  # noqa: PLC0415  takes seconds

        self._network = load_classifier(bundle)

    def __call__(self, windows: Windows) -> tuple[Numbers, Numbers]:
        """See `Classify`."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            logits, attention = self._network(torch.from_numpy(windows).float())
            return torch.softmax(logits, 1).numpy(), attention.numpy()


def open_classifier(bundle: Bundle, backend: str = "openvino", threads: int = 1) -> Classify:
    """The network, warm. Raises InvalidBundle; Fatal if it does not run or gives NaN."""
    steps = bundle.description.classifier.window
    zeros = np.zeros((2, steps, bundle.description.backbone.features), np.float16)
    try:
        classify = _open(bundle, backend, threads)
        probabilities, _ = classify(zeros)
    except CitywatchError:
        raise
    except Exception as error:
        raise Fatal(f"the classifier does not run on {backend} here: {error}") from error
    if not np.isfinite(probabilities).all():
        raise Fatal(f"{bundle.classifier_file}: the network gives NaN")
    return classify


def _open(bundle: Bundle, backend: str, threads: int) -> Classify:
    if backend == "torch":
        return TorchClassifier(bundle)
    from classifier.openvino_backend import OpenVinoClassifier  # noqa: PLC0415

    return OpenVinoClassifier(bundle, threads)
