"""What a bundle costs: parameters, multiply-adds, time (EVALUATION 8)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from classifier.network import load_classifier
from featurizer.mobilenetv2 import load_backbone
from shared.bundle import Bundle
from training.features import Extract


def cost(bundle: Bundle, extract: Extract) -> dict[str, Any]:
    """Counts of both networks, and times on this machine with the extractor that serves."""
    backbone, head = load_backbone(bundle), load_classifier(bundle)
    description = bundle.description
    size, window = description.input.size, description.classifier.window
    image = torch.zeros(1, 3, size, size)
    vectors = torch.zeros(1, window, description.backbone.features)
    frame = macs(backbone, image)
    per_window = macs(head, vectors) + recurrent_macs(head, window)
    stride = description.classifier.stride
    images = np.zeros((16, size, size, 3), np.uint8)
    ms_frame = 1000 * seconds(lambda: extract(images)) / len(images)
    with torch.inference_mode():
        ms_window = 1000 * seconds(lambda: head(vectors))
    ms_step = ms_frame + ms_window / stride
    threads = torch.get_num_threads()
    return {
        "backbone_parameters": parameters(backbone),
        "head_parameters": parameters(head),
        "parameters": parameters(backbone) + parameters(head),
        "backbone_macs_per_frame": frame,
        "head_macs_per_window": per_window,
        "macs_per_frame": frame + per_window // stride,
        "flops_per_frame": 2 * (frame + per_window // stride),
        "ms_per_frame": ms_frame,
        "ms_per_window": ms_window,
        "threads": threads,
        "cameras_per_core": 1000 / (ms_step * description.input.fps) / threads,
        "folder_bytes": sum(p.stat().st_size for p in bundle.folder.iterdir() if p.is_file()),
    }


def parameters(network: nn.Module) -> int:
    """Trainable numbers."""
    return sum(p.numel() for p in network.parameters())


@torch.inference_mode()
def macs(network: nn.Module, example: torch.Tensor) -> int:
    """Multiply-adds of convolutions and matrix products; recurrent layers are not counted."""
    counter = FlopCounterMode(display=False)
    with counter:
        network(example)
    return counter.get_total_flops() // 2


def recurrent_macs(network: nn.Module, steps: int) -> int:
    """Multiply-adds of all LSTM and GRU layers over `steps` steps: their matrices, once a step."""
    matrices = sum(
        p.numel()
        for module in network.modules()
        if isinstance(module, nn.RNNBase)
        for name, p in module.named_parameters()
        if name.startswith("weight")
    )
    return matrices * steps


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """The fastest of a few runs, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)
