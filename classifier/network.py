"""The temporal network: residual LSTMs with self-attention, and what it is compared with.

Ullah, Ullah, Hussain, Khan, Baik: An Efficient Anomaly Recognition Framework Using an Attention
Residual LSTM in Surveillance Videos, Sensors 21(8):2811, 2021. Layer norm: Ba, Kiros, Hinton 2016.

    features (N, T, 1280) -> LayerNorm -> LSTM 128 -> LSTM 128 added to its input -> LSTM 128,
    LayerNorm and dropout 0.5 after each -> additive attention -> [context, last] -> 256 -> labels

With 14 labels this head has 1,075,470 parameters; with MobileNetV2's 2,223,872 features the whole
system has 3,299,342.

`pooled` adds one linear layer around all of it, from the window's mean, deviation and mean absolute
step to the labels (3,353,116 parameters with 14 labels): a residual network on the scale of the
whole head, in which the LSTMs say what the statistics do not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shared.bundle import Bundle
from shared.errors import InvalidBundle


class Attention(nn.Module):
    """e_t = w . tanh(W h_t + b), weights = softmax over t. Its only input is the sequence."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden, width)
        self.weigh = nn.Linear(width, 1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """(N, T, hidden) to weights (N, T) that sum to one."""
        e = self.weigh(torch.tanh(self.project(h))).squeeze(2)  # (N, T)
        return torch.softmax(e, dim=1)


def statistics(x: Tensor) -> Tensor:
    """(N, T, D) to (N, 3 D): mean, deviation and mean absolute step over time."""
    step = (x[:, 1:] - x[:, :-1]).abs().mean(1)
    return torch.cat([x.mean(1), x.std(1, correction=0), step], dim=1)


class ResidualAttentionLSTM(nn.Module):
    """The network above; the flags take parts away for the ablations, `pooled` adds one.

    `mean` and `scale` standardise the features before anything else; training sets them, and they
    travel with the weights. They are buffers, not parameters.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        labels: int,
        features: int = 1280,
        hidden: int = 128,
        *,
        cell: type[nn.LSTM | nn.GRU] = nn.LSTM,
        bidirectional: bool = False,
        residual: bool = True,
        attention: bool = True,
        pooled: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        wide = 2 * hidden if bidirectional else hidden
        self.residual, self.bidirectional, self.hidden = residual, bidirectional, hidden
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.norm = nn.LayerNorm(features)
        self.layers = nn.ModuleList(
            cell(inputs, hidden, batch_first=True, bidirectional=bidirectional)
            for inputs in (features, wide, wide)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(wide) for _ in self.layers)
        self.dropout = nn.Dropout(dropout)
        self.attention = Attention(wide, hidden) if attention else None
        self.merge = nn.Linear(2 * wide if attention else wide, 256)
        self.label = nn.Linear(256, labels)
        self.pooled = nn.Linear(3 * features, labels) if pooled else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, T, features) to logits (N, labels) and attention (N, T).

        Without attention the weights say where it looks: at the last step.
        """
        logits, weights = self.temporal(x)
        if self.pooled is not None:
            logits = logits + self.pooled(statistics((x - self.mean) / self.scale))
        return logits, weights

    def temporal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same without the branch of statistics."""
        h = self.norm((x - self.mean) / self.scale)
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            y = layer(h)[0]  # (N, T, hidden)
            h = self.dropout(norm(y + h if self.residual and i == 1 else y))
        last = h[:, -1]
        if self.bidirectional:  # the backward half has read everything at the first step
            last = torch.cat([h[:, -1, : self.hidden], h[:, 0, self.hidden :]], dim=1)
        if self.attention is None:
            weights = torch.zeros(h.shape[:2], dtype=h.dtype, device=h.device)
            weights[:, -1] = 1
            merged = last
        else:
            weights = self.attention(h)
            context = torch.einsum("nt,nth->nh", weights, h)
            merged = torch.cat([context, last], dim=1)  # (N, 2 * hidden)
        return self.label(torch.relu(self.merge(merged))), weights


class PatentHead(nn.Module):
    """The head as the patent text draws it, on the 1000 class scores of each of 30 frames.

    LSTM 256, LSTM 256 added to its input, LSTM 256, attention, all steps flattened, 128, 128,
    labels: 3.35 million parameters, none of them MobileNetV2's.
    """

    def __init__(self, labels: int = 5, features: int = 1000, steps: int = 30) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.layers = nn.ModuleList(
            nn.LSTM(inputs, 256, batch_first=True) for inputs in (features, 256, 256)
        )
        self.dropout = nn.Dropout(0.5)
        self.attention = Attention(256, 32)
        self.dense = nn.Sequential(
            nn.Linear(256 * steps, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()
        )
        self.label = nn.Linear(128, labels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, steps, features) to logits (N, labels) and attention (N, steps)."""
        h = self.norm(x)
        for i, layer in enumerate(self.layers):
            y = layer(h)[0]
            h = self.dropout(y + h if i == 1 else y)
        weights = self.attention(h)
        return self.label(self.dense((weights.unsqueeze(2) * h).flatten(1))), weights


VARIANTS: dict[str, dict[str, Any]] = {
    "lstm": {"residual": False, "attention": False},
    "bilstm": {"residual": False, "attention": False, "bidirectional": True},
    "residual": {"attention": False},
    "residual_attention": {},
    "pooled": {"pooled": True},
    "gru": {"residual": False, "attention": False, "cell": nn.GRU},
}


def build(variant: str, labels: int, features: int = 1280, steps: int = 30) -> nn.Module:
    """One of VARIANTS, or `patent`; ValueError for another name."""
    if variant == "patent":
        return PatentHead(labels, features, steps)
    if variant not in VARIANTS:
        raise ValueError(f"no variant {variant!r}; there are {', '.join(VARIANTS)}, patent")
    return ResidualAttentionLSTM(labels, features, **VARIANTS[variant])


def load_classifier(bundle: Bundle) -> ResidualAttentionLSTM:
    """The bundle's temporal network in float32, ready for inference. Raises InvalidBundle."""
    path = bundle.classifier_file
    labels, features = len(bundle.label_names), bundle.description.backbone.features
    try:
        state = {name: value.float() for name, value in load_file(path).items()}
        network = ResidualAttentionLSTM(labels, features, pooled="pooled.weight" in state)
        network.load_state_dict(state)
    except (SafetensorError, OSError) as error:
        raise InvalidBundle(f"{path}: {error}") from None
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InvalidBundle(f"{path}: not the weights of this network: {reason}") from None
    return network.eval()


def save_classifier(network: nn.Module, path: Path) -> None:
    """Write `classifier.safetensors`: matrices in float16, vectors in float32."""
    save_file(
        {
            name: value.detach().cpu().to(torch.float16 if value.ndim > 1 else torch.float32)
            .contiguous()
            for name, value in cast(dict[str, Tensor], network.state_dict()).items()
        },
        path,
    )  # fmt: skip
