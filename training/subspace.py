"""Training in the first principal directions of what the LSTMs read.

The first projection, 1280 numbers to all gates, is most of a head's cost and of its weights. A few
hundred clips span little of that space, so its weights are sought among combinations of the first
`size` principal directions: a quarter of the cost at 128. What comes out is the whole network
again, exactly: W (U^T x) = (W U^T) x.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from classifier.network import build

_PART = 256
"""Windows projected at a time."""
_SAMPLE = 20_000
"""Steps that the directions are found from."""


def directions(network: nn.Module, vectors: npt.NDArray[np.float16], size: int) -> Tensor:
    """(D, size), orthonormal: the first principal directions of the normalised steps."""
    flat = vectors.reshape(-1, vectors.shape[2])
    steps = _read(network, flat[:: max(len(flat) // _SAMPLE, 1)])
    found: Tensor = torch.linalg.eigh(steps.T @ steps)[1]  # in rising order
    return found[:, -size:].flip(1).contiguous()


def project(network: nn.Module, vectors: npt.NDArray[np.float16], basis: Tensor) -> Tensor:
    """(W, T, D) to (W, T, size): what the narrow network reads."""
    parts = range(0, len(vectors), _PART)
    return torch.cat([_read(network, vectors[i : i + _PART]) @ basis for i in parts])


def narrow(variant: str, labels: int, size: int, steps: int) -> nn.Module:
    """The network of a variant on projected steps, which are normalised already."""
    network = build(variant, labels, size, steps)
    network.norm = nn.Identity()
    return network


def widen(narrow_network: nn.Module, network: nn.Module, basis: Tensor) -> None:
    """Copy what the narrow network has learnt into the whole one, its first layer widened."""
    state = cast(dict[str, Tensor], network.state_dict())
    for name, value in narrow_network.state_dict().items():
        if name.startswith("layers.0.weight_ih"):
            state[name] = value.cpu() @ basis.T
        elif name.partition(".")[0] not in {"mean", "scale", "pooled"}:
            state[name] = value.cpu()
    network.load_state_dict(state)


@torch.inference_mode()
def _read(network: nn.Module, vectors: npt.NDArray[np.float16]) -> Tensor:
    """(..., D) as the first layer of an untrained network reads them."""
    x = torch.from_numpy(vectors).float()
    if hasattr(network, "mean"):
        x = (x - cast(Tensor, network.mean)) / cast(Tensor, network.scale)
    return cast(Tensor, cast(nn.Module, network.norm)(x)).clone()
