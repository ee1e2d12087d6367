"""The temporal network on OpenVINO, built straight from the bundle's weights.

The equations are those of `classifier/network.py`, which says where they come from.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as ops
from safetensors import SafetensorError
from safetensors.numpy import load_file

from shared.bundle import Bundle
from shared.errors import InvalidBundle

Numbers = npt.NDArray[np.float32]
Weights = dict[str, Numbers]
Node = Any  # openvino's nodes are untyped

_TOGETHER = 4
"""Windows from which on one request is cheaper: it takes 3.9 core-ms for two, 1.0 for one alone."""
_AT_ONCE = 16
"""Windows a request at most, of 150 KB for each layer that sees their vectors. Thirty-two take 6 %
less time, and twice the memory."""


@cache
def core() -> ov.Core:
    """The process's own, never freed: `featurizer/openvino_backend.py` says why."""
    return ov.Core()


class OpenVinoClassifier:
    """See `classifier.inference.Classify`. float32."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = core().compile_model(build(bundle), "CPU", options)
        self._request = compiled.create_infer_request()

    def __call__(self, windows: npt.NDArray[np.float16]) -> tuple[Numbers, Numbers]:
        """(N, steps, D) to probabilities (N, labels) and attention (N, steps)."""
        size = 1 if len(windows) < _TOGETHER else _AT_ONCE
        parts = [self._infer(windows[i : i + size]) for i in range(0, max(len(windows), 1), size)]
        if len(parts) == 1:
            return parts[0]
        probabilities, attention = zip(*parts, strict=True)
        return np.concatenate(probabilities), np.concatenate(attention)

    def _infer(self, windows: npt.NDArray[np.float16]) -> tuple[Numbers, Numbers]:
        results = self._request.infer({0: windows.astype(np.float32)}, share_inputs=True)
        return results[0].copy(), results[1].copy()


def build(bundle: Bundle) -> ov.Model:
    """The graph: (N, steps, D) to (N, labels) and (N, steps). Raises InvalidBundle."""
    path = bundle.classifier_file
    shape = [-1, bundle.description.classifier.window, bundle.description.backbone.features]
    try:
        weights = {name: value.astype(np.float32) for name, value in load_file(path).items()}
        model = _graph(weights, shape)
    except (SafetensorError, OSError) as error:
        raise InvalidBundle(f"{path}: {error}") from None
    except KeyError as error:
        raise InvalidBundle(f"{path}: not the weights of this network: no {error}") from None
    except RuntimeError as error:  # openvino: shapes that do not fit
        reason = str(error).strip().splitlines()[-1]
        raise InvalidBundle(f"{path}: not the weights of this network: {reason}") from None
    outputs, labels = model.output(0).partial_shape[1].get_length(), len(bundle.label_names)
    if outputs != labels:
        raise InvalidBundle(
            f"{path}: not the weights of this network: {outputs} labels, bundle.toml has {labels}"
        )
    return model


def _graph(weights: Weights, shape: list[int]) -> ov.Model:
    windows = ops.parameter(shape, np.float32, name="windows")
    x: Node = ops.divide(ops.subtract(windows, weights["mean"]), weights["scale"])
    h = _norm(x, weights, "norm")
    for i in range(3):
        y = _lstm(h, weights, f"layers.{i}", steps=shape[1])  # (N, T, 128)
        h = _norm(ops.add(y, h) if i == 1 else y, weights, f"norms.{i}")
    e = ops.tanh(_linear(h, weights, "attention.project"))
    e = ops.matmul(e, weights["attention.weigh.weight"], False, True)  # (N, T, 1)
    attention = ops.softmax(e, 1)
    context = ops.reduce_sum(ops.multiply(attention, h), np.array([1]))  # (N, 128)
    last = ops.gather(h, np.array(shape[1] - 1), np.array(1))
    merged = ops.relu(_linear(ops.concat([context, last], 1), weights, "merge"))
    logits = _linear(merged, weights, "label")
    if "pooled.weight" in weights:
        logits = ops.add(logits, _linear(_statistics(x), weights, "pooled"))
    probabilities = ops.softmax(logits, 1)
    return ov.Model([probabilities, ops.squeeze(attention, np.array([2]))], [windows])


def _statistics(x: Node) -> Node:
    """(N, T, D) to (N, 3 D): mean, deviation and mean absolute step over time."""
    time = np.array([1])
    mean = ops.reduce_mean(x, time, keep_dims=True)
    centred = ops.subtract(x, mean)
    deviation = ops.sqrt(ops.reduce_mean(ops.multiply(centred, centred), time))
    first, last, one = np.array([0]), np.array([-1]), np.array([1])
    later, earlier = (
        ops.slice(x, begin, end, one, time)
        for begin, end in ((one, np.array([np.iinfo(np.int64).max])), (first, last))
    )
    step = ops.reduce_mean(ops.absolute(ops.subtract(later, earlier)), time)
    return ops.concat([ops.squeeze(mean, time), deviation, step], 1)


def _linear(x: Node, weights: Weights, name: str) -> Node:
    y = ops.matmul(x, weights[f"{name}.weight"], False, True)
    return ops.add(y, weights[f"{name}.bias"])


def _norm(x: Node, weights: Weights, name: str) -> Node:
    y = ops.mvn(x, np.array([-1]), True, 1e-5, "INSIDE_SQRT")
    return ops.add(ops.multiply(y, weights[f"{name}.weight"]), weights[f"{name}.bias"])


def _lstm(x: Node, weights: Weights, name: str, steps: int) -> Node:
    """All hidden states (N, T, hidden), from zero."""
    w, r = (_gates(weights[f"{name}.weight_{k}_l0"]) for k in ("ih", "hh"))
    b = _gates(weights[f"{name}.bias_ih_l0"] + weights[f"{name}.bias_hh_l0"])
    hidden = r.shape[1]
    count = ops.gather(ops.shape_of(x), np.array([0]), np.array(0))  # N
    state = ops.broadcast(np.float32(0), ops.concat([count, np.array([1, hidden])], 0))
    lengths = ops.broadcast(np.int32(steps), count)
    y = ops.lstm_sequence(x, state, state, lengths, w[None], r[None], b[None], hidden, "forward")
    return ops.squeeze(y.output(0), np.array([1]))  # (N, 1, T, hidden) before


def _gates(rows: Numbers) -> Numbers:
    """Torch stacks the gates as i, f, c, o; OpenVINO as f, i, c, o."""
    i, f, c, o = np.split(rows, 4)
    return np.concatenate([f, i, c, o])
