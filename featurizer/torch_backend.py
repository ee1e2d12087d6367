"""The backbone on torch: CUDA (bfloat16, channels last, graphs), CPU, and the plain reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from featurizer.extractor import Extractor, Vectors
from featurizer.inputs import Image
from featurizer.mobilenetv2 import (
    FEATURES,
    ConvNormRelu,
    InvertedResidual,
    MobileNetV2,
    load_backbone,
)
from shared.bundle import Bundle
from shared.errors import InvalidSettings

_FITS_CACHE = 8  # images of 224² whose activations a core keeps near


class _Normalised(nn.Module):
    """Images uint8 (N, H, W, 3) to vectors (N, features): what a bundle says, on one device."""

    mean: Tensor
    scale: Tensor

    def __init__(self, bundle: Bundle, backbone: MobileNetV2) -> None:
        super().__init__()
        description = bundle.description.input
        self.register_buffer("mean", torch.tensor(description.mean).reshape(3, 1, 1))
        self.register_buffer("scale", torch.tensor(description.scale).reshape(3, 1, 1))
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).float()  # (N, 3, H, W), channels last in memory
        x = (x - self.mean) / self.scale
        return cast(Tensor, self.backbone(x.to(next(self.backbone.parameters()).dtype)))


class Reference:
    """Plain float32 torch on the CPU: what the other backends are tested against."""

    name = "reference: torch, CPU, f32"

    def __init__(self, bundle: Bundle) -> None:
        self._network = _Normalised(bundle, load_backbone(bundle)).eval()

    @torch.inference_mode()
    def __call__(self, images: Image) -> Vectors:
        """See `featurizer.extractor.Extractor`."""
        return _joined(self._network(part).half() for part in _parts(images, 32))


class TorchCpu:
    """Batch norm folded, channels last, float32."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._network = _Normalised(bundle, fold(load_backbone(bundle))).eval()
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.name = f"torch, CPU, f32, {torch.get_num_threads()} threads"

    @torch.inference_mode()
    def __call__(self, images: Image) -> Vectors:
        """See `featurizer.extractor.Extractor`."""
        return _joined(self._network(part).half() for part in _parts(images, _FITS_CACHE))


class TorchCuda:
    """bfloat16, channels last, one captured CUDA graph per batch size.

    A batch is padded to the next captured size: without a graph the launches of some 150 small
    kernels cost more than their work.
    """

    def __init__(self, bundle: Bundle, largest: int) -> None:
        self._network = _Normalised(bundle, fold(load_backbone(bundle))).eval().cuda()
        self._network.backbone.to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._sizes = sorted({1, 8, *range(32, largest, 32), largest})
        self._graphs = {size: self._capture(size, bundle) for size in self._sizes}
        self.name = f"torch, {torch.cuda.get_device_name()}, bf16"

    @torch.inference_mode()
    def _capture(self, size: int, bundle: Bundle) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        side = bundle.description.input.size
        images = torch.zeros((size, side, side, 3), dtype=torch.uint8, device="cuda")
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # cuDNN chooses its kernels before the capture
            for _ in range(3):
                self._network(images)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            vectors = self._network(images).half()
        return graph, images, vectors

    @torch.inference_mode()
    def __call__(self, images: Image) -> Vectors:
        """See `featurizer.extractor.Extractor`."""
        return _joined(self._replay(part) for part in _parts(images, self._sizes[-1]))

    def _replay(self, part: Tensor) -> Tensor:
        size = next(size for size in self._sizes if size >= len(part))
        graph, images, vectors = self._graphs[size]
        images[: len(part)].copy_(part)
        graph.replay()
        return vectors[: len(part)].cpu()


def open_torch(bundle: Bundle, device: str, threads: int, batch: int) -> Extractor:
    """CUDA where there is one, unless the settings say `cpu`; raises InvalidSettings."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return TorchCpu(bundle, threads)
    if not torch.cuda.is_available():
        raise InvalidSettings("featurizer.device=cuda: torch sees no CUDA device here")
    return TorchCuda(bundle, batch)


def fold(network: MobileNetV2) -> MobileNetV2:
    """Batch norms folded into their convolutions, in place."""
    for module in network.modules():
        if isinstance(module, ConvNormRelu):
            _fold(module, 0)
        elif isinstance(module, InvertedResidual):
            _fold(module.conv, len(module.conv) - 2)
    return network


def _fold(layers: nn.Sequential, at: int) -> None:
    conv, norm = layers[at], layers[at + 1]
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    layers[at], layers[at + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def _parts(images: Image, size: int) -> Iterator[Tensor]:
    return (torch.from_numpy(images[at : at + size]) for at in range(0, len(images), size))


def _joined(vectors: Iterable[Tensor]) -> Vectors:
    return np.concatenate([np.empty((0, FEATURES), np.float16), *(v.numpy() for v in vectors)])
