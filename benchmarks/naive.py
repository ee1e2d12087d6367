"""The script that one writes first: read, resize, CNN, window, LSTM, in one loop.

    python -m benchmarks.naive torch|openvino VIDEO BUNDLE

Prints {"frames", "windows", "seconds"}; the seconds run from opening the video to its end, with
the models loaded and warm. Both variants use all cores, as their libraries do by default.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import openvino
import torch

from classifier.network import load_classifier
from featurizer.mobilenetv2 import load_backbone
from featurizer.precision import choose
from shared.bundle import Bundle

Backbone = Callable[[np.ndarray], np.ndarray]


def eager(bundle: Bundle) -> Backbone:
    """Plain torch, one frame at a time."""
    network = load_backbone(bundle).eval()

    def run(x: np.ndarray) -> np.ndarray:
        return np.asarray(network(torch.from_numpy(x)))

    return run


def compiled(bundle: Bundle) -> Backbone:
    """The same network in OpenVINO, as its guide shows: convert, compile, call.

    In bf16 where there are tiles for it, else in float32: OpenVINO's own default, bf16 on every CPU
    with avx512_bf16, would be the slower one.
    """
    size = bundle.description.input.size
    network = load_backbone(bundle).eval()
    model = openvino.convert_model(network, example_input=torch.zeros(1, 3, size, size))
    model.reshape([1, 3, size, size])
    hint = {"INFERENCE_PRECISION_HINT": choose("auto", quantised=False)}
    network_on_cpu = openvino.Core().compile_model(model, "CPU", hint)

    def run(x: np.ndarray) -> np.ndarray:
        return np.asarray(network_on_cpu(x)[0])

    return run


def main() -> None:
    """Measure one variant once."""
    variant, video, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    bundle = Bundle(folder)
    description = bundle.description
    size = description.input.size
    mean = np.array(description.input.mean, np.float32)
    scale = np.array(description.input.scale, np.float32)
    with torch.inference_mode():
        backbone = (eager if variant == "torch" else compiled)(bundle)
        head = load_classifier(bundle).eval()
        for _ in range(10):
            backbone(np.zeros((1, 3, size, size), np.float32))
        window: deque[np.ndarray] = deque(maxlen=description.classifier.window)
        frames = windows = 0
        begun = time.monotonic()
        capture = cv2.VideoCapture(video)
        while True:
            done, image = capture.read()
            if not done:
                break
            small = cv2.cvtColor(cv2.resize(image, (size, size)), cv2.COLOR_BGR2RGB)
            x = ((small.astype(np.float32) - mean) / scale).transpose(2, 0, 1)[None]
            window.append(backbone(np.ascontiguousarray(x))[0])
            frames += 1
            if len(window) == window.maxlen and frames % description.classifier.stride == 0:
                head(torch.from_numpy(np.stack(window))[None])[0].softmax(-1).numpy()
                windows += 1
        seconds = time.monotonic() - begun
    print(json.dumps({"frames": frames, "windows": windows, "seconds": seconds}))


if __name__ == "__main__":
    main()
