"""The bundle's temporal network, ready to be called on windows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from classifier.network import load_classifier
from shared.bundle import Bundle
from shared.errors import Fatal


class TorchClassifier:
    """float32 on the CPU; in batches of 16 a window takes 0.9 ms of one core."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        torch.set_num_threads(threads)
        self._network = load_classifier(bundle)

    @torch.inference_mode()
    def __call__(
        self, windows: npt.NDArray[np.float16]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """(N, steps, D) to probabilities (N, labels) and attention (N, steps)."""
        logits, attention = self._network(torch.from_numpy(windows).float())
        return torch.softmax(logits, 1).numpy(), attention.numpy()


def open_classifier(bundle: Bundle, threads: int) -> TorchClassifier:
    """The network, warm. Raises InvalidBundle; Fatal if it gives no probabilities."""
    classify = TorchClassifier(bundle, threads)
    steps = bundle.description.classifier.window
    zeros = np.zeros((2, steps, bundle.description.backbone.features), np.float16)
    probabilities, _ = classify(zeros)
    if not np.isfinite(probabilities).all():
        raise Fatal(f"{bundle.classifier_file}: the network gives NaN")
    return classify
