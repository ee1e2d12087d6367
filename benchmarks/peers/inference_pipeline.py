r"""Roboflow's `inference`: its InferencePipeline on several videos, this network as custom logic.

    .peers/inference/bin/python peers/inference_pipeline.py \
        BACKBONE.xml PRECISION HEAD.xml STRIDE flow|picture VIDEO...

Runs in an environment of its own and imports nothing of citywatch. The logic is what its users
write, and not the slowest way: the frames that the pipeline hands over together go through OpenVINO
together, one request a frame, as many at a time as OpenVINO recommends. `flow`: the network sees
what `citywatch` shows it, computed by the same search of OpenCV; `picture`: the bare picture.
Prints {"frames", "windows", "seconds"}; the seconds run from the pipeline's start to its end, the
networks warm.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict, deque
from typing import Any

import cv2
import numpy as np
import openvino as ov
from inference import InferencePipeline


class Logic:
    """Backbone per frame, LSTM per window of each video."""

    def __init__(self, backbone: str, precision: str, head: str, stride: int, kind: str) -> None:
        core = ov.Core()
        # OpenVINO's default, bf16 wherever there is avx512_bf16, is slower than f32 without tiles.
        options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
        network = core.compile_model(backbone, "CPU", options)
        self._size = int(network.input(0).shape[1])
        self._head = core.compile_model(head, "CPU", {"INFERENCE_NUM_THREADS": 1})
        self._window = int(self._head.input(0).partial_shape[1].get_length())
        self._stride = stride
        self._flow = kind == "flow"
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._before: dict[int, Any] = {}
        self._queue = ov.AsyncInferQueue(network)
        self._queue.set_callback(self._store)
        self._vectors: dict[int, Any] = {}
        self._windows: dict[int, deque[Any]] = defaultdict(lambda: deque(maxlen=self._window))
        self._seen: dict[int, int] = defaultdict(int)
        self.frames = self.windows = 0
        for i in range(16):
            self._queue.start_async({0: np.zeros((1, self._size, self._size, 3), np.uint8)}, i)
        self._queue.wait_all()

    def __call__(self, frames: list[Any]) -> list[Any]:
        """One round: at most one frame of each video."""
        for i, frame in enumerate(frames):
            small = cv2.resize(frame.image, (self._size, self._size))
            image = self._moved(frame.source_id, small) if self._flow else _rgb(small)
            self._queue.start_async({0: image[None]}, i)
        self._queue.wait_all()
        return [self._classified(frame.source_id, self._vectors[i])
                for i, frame in enumerate(frames)]  # fmt: skip

    def _moved(self, source: int, small: Any) -> Any:
        now = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        before = self._before.get(source, now)
        self._before[source] = now
        moved = self._search.calc(before, now, None)  # type: ignore[call-overload]
        steps = 128 + np.copysign(np.log1p(2 * np.abs(moved)) * 40, moved)
        return cv2.merge([np.clip(steps, 0, 255).astype(np.uint8), cv2.absdiff(now, before)])

    def _classified(self, source: int, vector: Any) -> Any:
        window = self._windows[source]
        window.append(vector)
        self.frames += 1
        self._seen[source] += 1
        if len(window) < self._window or self._seen[source] % self._stride:
            return None
        self.windows += 1
        return self._head(np.stack(window)[None])[0]

    def _store(self, request: Any, i: int) -> None:
        self._vectors[i] = request.get_output_tensor().data[0].copy()


def _rgb(small: Any) -> Any:
    return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)


def main() -> None:
    """Run the pipeline over all videos once."""
    backbone, precision, head, stride, kind, *videos = sys.argv[1:]
    logic = Logic(backbone, precision, head, int(stride), kind)
    pipeline = InferencePipeline.init_with_custom_logic(
        video_reference=videos, on_video_frame=logic, on_prediction=lambda *_: None
    )
    begun = time.monotonic()
    pipeline.start()
    pipeline.join()
    seconds = time.monotonic() - begun
    print(json.dumps({"frames": logic.frames, "windows": logic.windows, "seconds": seconds}))


if __name__ == "__main__":
    main()
