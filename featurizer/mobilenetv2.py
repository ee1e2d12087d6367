"""MobileNetV2 in one file, with the key layout of torchvision's checkpoints.

Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks,
CVPR 2018. A block expands its input with 1x1 convolutions, filters each channel alone with a 3x3
depth-wise convolution, and projects to few channels without a nonlinearity; where shapes allow,
the input is added. 2,223,872 parameters without the classifier, 300 million multiply-adds at 224².
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from shared.bundle import Bundle
from shared.errors import InvalidBundle

FEATURES = 1280
Padding = Literal["torch", "tensorflow"]

# expansion, channels, repeats, stride of the first: table 2 of the paper
_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class ConvNormRelu(nn.Sequential):
    """Convolution, batch norm, ReLU6: keys `0.weight`, `1.*`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int, padding: Padding
    ) -> None:
        self.same = padding == "tensorflow" and stride == 2
        around = 0 if self.same else kernel // 2
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, around, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        if self.same:  # TensorFlow's SAME: an even side is padded at its end only
            height, width = int(x.shape[2]), int(x.shape[3])
            x = F.pad(x, (width % 2, 1, height % 2, 1))
        for layer in self:
            x = layer(x)
        return x


class InvertedResidual(nn.Module):
    """Expand, filter, project; keys `conv.N`, where the first is absent if nothing expands."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, expansion: int, padding: Padding
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        self.add = stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(ConvNormRelu(inputs, wide, 1, 1, 1, padding))
        layers += [
            ConvNormRelu(wide, wide, 3, stride, wide, padding),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = cast(Tensor, self.conv(x))
        return x + y if self.add else y


class MobileNetV2(nn.Module):
    """Width 1.0. `classes=None` leaves the classifier out."""

    def __init__(self, classes: int | None = None, padding: Padding = "torch") -> None:
        super().__init__()
        self.padding = padding
        channels = 32
        layers: list[nn.Module] = [ConvNormRelu(3, channels, 3, 2, 1, padding)]
        for expansion, outputs, repeats, stride in _BLOCKS:
            for i in range(repeats):
                layers.append(
                    InvertedResidual(channels, outputs, stride if i == 0 else 1, expansion, padding)
                )
                channels = outputs
        layers.append(ConvNormRelu(channels, FEATURES, 1, 1, 1, padding))
        self.features = nn.Sequential(*layers)
        self.classifier = (
            nn.Sequential(nn.Dropout(0.2), nn.Linear(FEATURES, classes)) if classes else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) to vectors (N, 1280): the average over all places."""
        return cast(Tensor, self.features(x)).mean((2, 3))  # (N, 1280, H/32, W/32) before

    def logits(self, x: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) to (N, classes)."""
        if self.classifier is None:
            raise ValueError("this network was built without a classifier")
        return cast(Tensor, self.classifier(self(x)))


def load_checkpoint(path: Path, padding: Padding = "torch") -> MobileNetV2:
    """A network from a `.pth` state in torchvision's layout, whatever its number of classes.

    Weights that were trained with TensorFlow need `padding="tensorflow"`. Where the batch norm of
    a file is folded (mean 0, variance 1), do not train in batch-statistics mode as it is.
    Raises InvalidBundle if the file is not such a state.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its unpickler met
        raise InvalidBundle(f"{path}: not a PyTorch checkpoint: {error}") from None
    if not isinstance(state, dict):
        raise InvalidBundle(f"{path}: not a state of named weights")
    return _filled(path, state, padding)


def load_backbone(bundle: Bundle) -> MobileNetV2:
    """The bundle's backbone in float32, ready for inference. Raises InvalidBundle."""
    path = bundle.backbone_file
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InvalidBundle(f"{path}: {error}") from None
    features = bundle.description.backbone.features
    if features != FEATURES:
        raise InvalidBundle(f"{bundle.folder}: mobilenet_v2 gives {FEATURES}, not {features}")
    return _filled(path, state, bundle.description.backbone.padding)


def save_backbone(network: MobileNetV2, path: Path) -> None:
    """Write `backbone.safetensors`: features only, convolutions in float16.

    Batch norm stays float32: a variance below 6e-8 would become zero in float16.
    """
    save_file(
        {
            name: value.detach().cpu().to(torch.float16 if value.ndim > 1 else torch.float32)
            .contiguous()
            for name, value in network.state_dict().items()
            if name.startswith("features.") and not name.endswith("num_batches_tracked")
        },
        path,
    )  # fmt: skip


def _filled(path: Path, state: dict[str, Tensor], padding: Padding) -> MobileNetV2:
    last = state.get("classifier.1.weight")
    network = MobileNetV2(None if last is None else int(last.shape[0]), padding)
    state = {name: value.float() if value.is_floating_point() else value
             for name, value in state.items()}  # fmt: skip
    try:
        result = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InvalidBundle(f"{path}: not the weights of a MobileNetV2: {reason}") from None
    absent = [n for n in result.missing_keys if not n.endswith("num_batches_tracked")]
    if absent or result.unexpected_keys:
        wrong = (absent + result.unexpected_keys)[0]
        raise InvalidBundle(f"{path}: not the weights of a MobileNetV2: see {wrong}")
    return network.eval()
