"""Channels between blocks scaled to one range, so that int8 loses less of them.

int8 has one range for all channels of a tensor. Between the blocks of MobileNetV2 nothing bends:
a channel may be divided by a number in every layer that writes it and multiplied in every layer
that reads it, and the network stays the same (Nagel et al., Data-free quantization through weight
equalization, ICCV 2019). Here the numbers are the channels' ranges over calibration pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as ops

from featurizer.inputs import Image
from featurizer.openvino_backend import Weights, core, graph
from shared.bundle import Bundle

_STREAMS = ((1,), (2, 3), (4, 5, 6), (7, 8, 9, 10), (11, 12, 13), (14, 15, 16), (17,))
"""Blocks that add to the same channels."""
_QUANTILE = 0.99  # of the pictures' largest values: one odd picture sets no range
_LEAST = 1e-3


def equalised(weights: Weights, bundle: Bundle, images: Sequence[Image]) -> Weights:
    """Weights of the same network; `images` uint8 (size, size, 3) are what it sees."""
    found = ranges(weights, bundle, images)
    result = dict(weights)
    for stream in _STREAMS:
        widest = np.max([found[block] for block in stream], axis=0) + _LEAST
        scale = (widest / np.exp(np.log(widest).mean())).astype(np.float32)
        for block in stream:
            last = 2 if block == 1 else 3  # the batch norm behind the block's projection
            for part in ("weight", "bias"):
                name = f"features.{block}.conv.{last}.{part}"
                result[name] = result[name] / scale
            reader = f"features.{block + 1}." + ("0" if block == 17 else "conv.0.0") + ".weight"
            result[reader] = result[reader] * scale[None, :, None, None]
    return result


def ranges(
    weights: Weights, bundle: Bundle, images: Sequence[Image]
) -> dict[int, npt.NDArray[np.float32]]:
    """How far each channel behind each block reaches from zero, (channels,) by block."""
    model = graph(weights, bundle)
    nodes = {op.get_friendly_name(): op for op in model.get_ops()}
    blocks = [block for stream in _STREAMS for block in stream]
    over_space = np.array([2, 3])
    most = [
        ops.result(ops.reduce_max(ops.abs(nodes[f"block.{block}"]), over_space, keep_dims=False))
        for block in blocks
    ]
    run = core().compile_model(
        ov.Model(most, model.get_parameters(), "ranges"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    seen = [[np.array(found) for found in run(image[None]).values()] for image in images]
    return {
        block: np.quantile([each[i][0] for each in seen], _QUANTILE, axis=0).astype(np.float32)
        for i, block in enumerate(blocks)
    }
