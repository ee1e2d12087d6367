"""A small bundle with seeded random weights: right in form, knowing nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from classifier.network import ResidualAttentionLSTM, save_classifier
from featurizer.mobilenetv2 import MobileNetV2, Padding, save_backbone
from shared.bundle import Bundle


def write_bundle(
    folder: Path,
    *,
    name: str = "test",
    kind: Literal["rgb", "difference", "flow"] = "rgb",
    region: Literal["whole", "motion"] = "whole",
    padding: Padding = "torch",
    labels: Sequence[str] = ("fighting", "normal"),
    fps: float = 15.0,
    size: int = 32,
    window: int = 30,
    stride: int = 5,
    max_gap: int = 4,
    seed: int = 0,
    extra: str = "",
) -> Bundle:
    """Write a bundle to `folder` and open it. `extra` is more TOML, such as an [incidents] table.

    A 32 pixel input makes the backbone 50 times cheaper than 224 pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    apart = {"rgb": (), "difference": (1, 2, 4), "flow": (1,)}[kind]
    steps = [round(n * 1000 / fps, 3) for n in apart]
    lines = [
        f'name = "{name}"',
        "[input]",
        f'fps = {fps}\nkind = "{kind}"\ndistances_ms = {steps}\nregion = "{region}"\nsize = {size}',
        "[backbone]",
        f'padding = "{padding}"',
        "[classifier]",
        f"window = {window}\nstride = {stride}\nmax_gap = {max_gap}",
    ]
    for label in labels:
        lines += ["[[labels]]", f'name = "{label}"\nevidence = "synthetic"']
    (folder / "bundle.toml").write_text("\n".join([*lines, extra]) + "\n")
    save_backbone(random_backbone(padding, seed), folder / "backbone.safetensors")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        save_classifier(ResidualAttentionLSTM(len(labels)), folder / "classifier.safetensors")
    return Bundle(folder)


def random_backbone(padding: Padding = "torch", seed: int = 0) -> MobileNetV2:
    """Different pictures give different vectors, and folding its batch norms wrongly shows."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = MobileNetV2(padding=padding)
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.6, 1.2)
                module.bias.uniform_(-0.3, 0.5)
                module.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
                module.running_var.uniform_(0.3, 1.5)  # type: ignore[union-attr]
    return network.eval()
