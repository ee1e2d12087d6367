"""A bundle whose random network has moods: on drawn scenes its scores rise and fall all the time.

Incidents then open and close without anything having been learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from classifier.network import load_classifier, save_classifier
from featurizer.inputs import Inputs
from featurizer.mobilenetv2 import load_backbone
from ingest.synthetic import SyntheticSource
from shared.bundle import Bundle
from shared.messages import Motion
from tests.support.bundles import write_bundle

_SWING = 2.0  # standard deviation of a label's logit, relative to that of `normal`
_INCIDENTS = """
[incidents]
open_after_seconds = 0.8
close_after_seconds = 0.8
cooldown_seconds = 1.0
"""


def write_lively_bundle(
    folder: Path, scenes: Sequence[str], *, name: str = "lively", fps: float = 5.0, size: int = 32
) -> Bundle:
    """Windows of ten steps, one every two; calibrated on half a minute of these scenes."""
    bundle = write_bundle(
        folder, name=name, labels=("fighting", "explosion", "normal"), fps=fps, window=10,
        stride=2, max_gap=2, size=size, extra=_INCIDENTS,
    )  # fmt: skip
    network = load_classifier(bundle)
    with torch.inference_mode():
        windows = torch.cat([_windows(bundle, scene) for scene in scenes])
        logits = network(windows)[0]
        relative = logits - logits[:, -1:]  # `normal` is the last label
        factor = _SWING / float(relative[:, :-1].std(0).mean())
        network.label.weight.mul_(factor)
        network.label.bias.mul_(factor).sub_(factor * relative.median(0).values)
    save_classifier(network, bundle.classifier_file)
    return Bundle(folder)


def _windows(bundle: Bundle, scene: str) -> torch.Tensor:
    """(N, steps, features) of one scene."""
    description = bundle.description
    inputs = Inputs(description.input)
    pictures = [
        inputs.take(picture.captured_at, picture.image, Motion())
        for picture in SyntheticSource(f"{scene}&seconds=30")
    ]
    images = np.stack([picture for picture in pictures if picture is not None])
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    vectors = load_backbone(bundle)((x - 127.5) / 127.5).half().float()
    steps = description.classifier.window
    ends = range(steps, len(vectors), description.classifier.stride)
    return torch.stack([vectors[end - steps : end] for end in ends])
