"""The backbone on OpenVINO, built straight from the bundle's weights: no torch, up in a moment.

Measured on two cores of a Xeon without AMX at 160 x 160, processor milliseconds an image where a
request carries 1, 2, 4 and 8 images: float32 2.88, 2.74, 2.79 and 2.94; int8 1.97, 1.74, 1.64 and
1.63. The activations of few images stay in a core's cache. So a request carries two, in int8 four,
and what is left of a batch goes singly; a graph of any size at all would take a quarter more. The
vectors are the same to the last bit. bfloat16 took 1.7 times the processor time of float32 there,
and turned the vectors of real frames by up to 6 degrees (cosine 0.994).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as ops
from safetensors import SafetensorError
from safetensors.numpy import load_file

from featurizer import int8
from featurizer.extractor import Vectors
from featurizer.inputs import Image
from featurizer.precision import Precision
from shared.bundle import Bundle, Input
from shared.errors import InvalidBundle

_EPSILON = 1e-5  # of torch's batch norm
_STRIDED = {0, 2, 4, 7, 14}  # the layers of MobileNetV2's `features` that halve the picture
_LAYERS = 19

Weights = dict[str, npt.NDArray[np.float32]]
Node = Any  # openvino's nodes are untyped


@cache
def core() -> ov.Core:
    """The process's own, never freed.

    OpenVINO gives the thread that first uses the CPU an alternate signal stack, and takes its
    memory back with the last model. If another thread drops that, a SIGTERM that reaches the first
    thread afterwards is a segmentation fault (seen with 2026.4).
    """
    return ov.Core()


class OpenVinoExtractor:
    """See `featurizer.extractor.Extractor`."""

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 0,
        precision: Precision = "f32",
        model: ov.Model | None = None,
    ) -> None:
        """`model` in place of the bundle's own. Raises InvalidBundle."""
        if model is None:
            model = int8.load(bundle)[0] if precision == "int8" else build(bundle)
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            # What an int8 graph leaves in floating point is done in float32.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        together = 4 if precision == "int8" else 2
        self._queues = {size: _queue(model, size, options) for size in (together, 1)}
        self._features = bundle.description.backbone.features
        self.name = f"openvino, CPU, {precision}, {together} images a request"

    def __call__(self, images: Image) -> Vectors:
        """uint8 (N, size, size, 3) to float16 (N, features)."""
        vectors = np.empty((len(images), self._features), np.float16)
        images = np.ascontiguousarray(images)
        at = 0
        for size, queue in self._queues.items():
            while at + size <= len(images):
                queue.start_async({0: images[at : at + size]}, (vectors, at), share_inputs=True)
                at += size
        for queue in self._queues.values():
            queue.wait_all()
        return vectors


def _queue(model: ov.Model, images: int, options: dict[str, Any]) -> ov.AsyncInferQueue:
    """Requests of so many images."""
    sized = model.clone()
    sized.reshape([images, *list(model.input(0).shape)[1:]])
    compiled = core().compile_model(sized, "CPU", options)
    streams = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    # Twice as many requests as streams: while Python fetches one's vectors and fills it again, the
    # next one is there. With one each, a stream stood still for a tenth of the time.
    queue = ov.AsyncInferQueue(compiled, 2 * streams)
    queue.set_callback(_store)
    return queue


def _store(request: Any, place: tuple[Vectors, int]) -> None:
    vectors, at = place
    found = request.get_output_tensor().data
    vectors[at : at + len(found)] = found


def build(bundle: Bundle) -> ov.Model:
    """The graph: uint8 (1, size, size, 3) to float32 (1, 1280). Raises InvalidBundle."""
    return graph(weights_of(bundle), bundle)


def weights_of(bundle: Bundle) -> Weights:
    """The backbone's own, in float32. Raises InvalidBundle."""
    path = bundle.backbone_file
    try:
        return {name: value.astype(np.float32) for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise InvalidBundle(f"{path}: {error}") from None


def graph(weights: Weights, bundle: Bundle) -> ov.Model:
    """The bundle's graph with these weights. Raises InvalidBundle if they do not fit."""
    path = bundle.backbone_file
    try:
        return _graph(weights, bundle.description.input, bundle.description.backbone.padding)
    except KeyError as error:
        raise InvalidBundle(f"{path}: not the weights of a MobileNetV2: no {error}") from None
    except RuntimeError as error:  # openvino: shapes that do not fit
        reason = str(error).strip().splitlines()[-1]
        raise InvalidBundle(f"{path}: not the weights of a MobileNetV2: {reason}") from None


def _graph(weights: Weights, description: Input, padding: str) -> ov.Model:
    size = description.size
    images = ops.parameter([1, size, size, 3], np.uint8, name="images")
    x: Node = ops.convert(images, np.float32)
    x = ops.subtract(x, np.array(description.mean, np.float32))
    x = ops.divide(x, np.array(description.scale, np.float32))
    x = ops.transpose(x, np.array([0, 3, 1, 2]))
    conv = _convolution(weights, padding)
    x = _relu6(conv(x, "features.0.0", "features.0.1", 2))
    for layer in range(1, _LAYERS - 1):
        x = _block(x, conv, f"features.{layer}.conv", 2 if layer in _STRIDED else 1, weights)
        x.set_friendly_name(f"block.{layer}")  # by which `equalise` finds it
    last = f"features.{_LAYERS - 1}"
    x = _relu6(conv(x, f"{last}.0", f"{last}.1", 1))
    x = ops.reduce_mean(x, np.array([2, 3]), keep_dims=False)
    return ov.Model([ops.result(x)], [images], "mobilenet_v2")


def _block(x: Node, conv: Callable[..., Node], name: str, stride: int, weights: Weights) -> Node:
    """Expand (unless absent), filter, project; the input is added where shapes are equal."""
    y, at = x, 0
    if f"{name}.3.weight" in weights:
        y, at = _relu6(conv(y, f"{name}.0.0", f"{name}.0.1", 1)), 1
    y = _relu6(conv(y, f"{name}.{at}.0", f"{name}.{at}.1", stride))
    y = conv(y, f"{name}.{at + 1}", f"{name}.{at + 2}", 1)
    return ops.add(x, y) if stride == 1 and list(x.shape) == list(y.shape) else y


def _convolution(weights: Weights, padding: str) -> Callable[[Node, str, str, int], Node]:
    def convolution(x: Node, conv: str, norm: str, stride: int) -> Node:
        """A convolution with its batch norm folded in."""
        kernel = weights[f"{conv}.weight"]  # (out, in / groups, k, k)
        factor = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
        bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * factor
        kernel = kernel * factor[:, None, None, None]
        around = kernel.shape[2] // 2
        begin, end = [around, around], [around, around]
        if padding == "tensorflow" and stride == 2:  # SAME: an even side is padded at its end only
            begin = [int(side) % 2 for side in list(x.shape)[2:]]
        if kernel.shape[1] == 1:  # depth-wise: (groups, 1, 1, k, k)
            y = ops.group_convolution(x, kernel[:, None], [stride, stride], begin, end, [1, 1])
        else:
            y = ops.convolution(x, kernel, [stride, stride], begin, end, [1, 1])
        y.set_friendly_name(conv)  # by which quantisation may pass it over
        return ops.add(y, bias[None, :, None, None])

    return convolution


def _relu6(x: Node) -> Node:
    return ops.clamp(x, 0.0, 6.0)
