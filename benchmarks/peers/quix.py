"""The featurizer's job written with Quix Streams: frames to features, message by message.

    python -m benchmarks.peers.quix SERVERS FRAMES FEATURES BUNDLE PRECISION MESSAGES

Runs in an environment of its own, with citywatch's message format, input making and network, so
that only the framework differs. One message at a time is how its dataframe works; for that OpenVINO
is compiled as it is by default, so that all cores work on the one picture. Ends after N messages.
"""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
import openvino as ov
from quixstreams import Application

from featurizer import int8
from featurizer.inputs import Inputs, still_input
from featurizer.openvino_backend import build
from shared import codec
from shared.bundle import Bundle
from shared.messages import EndOfStream, Features, Frame, FrameReference


class Featurizer:
    """One function from bytes to bytes; earlier pictures of each camera in a dictionary."""

    def __init__(self, bundle: Bundle, precision: str) -> None:
        model = int8.load(bundle)[0] if precision == "int8" else build(bundle)
        hint = "bf16" if precision == "bf16" else "f32"
        self._network = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
        self._bundle = bundle
        self._inputs: dict[tuple[str, str], Inputs] = {}
        self._network(still_input(bundle.description.input)[None])

    def __call__(self, value: bytes) -> bytes:
        """A frame's features, or the end as it is."""
        frame = codec.decode(value, Frame, EndOfStream)
        if not isinstance(frame, Frame):
            return codec.encode(frame)
        description = self._bundle.description.input
        grey = description.of_motion
        flags = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR
        picture: Any = cv2.imdecode(np.frombuffer(frame.data, np.uint8), flags)
        key = frame.camera_id, frame.session
        inputs = self._inputs.setdefault(key, Inputs(description))
        image = inputs.take(frame.captured_at, picture, frame.motion)
        vector = None if image is None else self._network(image[None])[0][0].astype(np.float16)
        return codec.encode(
            Features(
                "quix", frame.camera_id, frame.session, frame.index, frame.index,
                frame.captured_at, self._bundle.backbone_fingerprint, FrameReference(0, 0),
                vector, missing="history" if vector is None else None, motion=frame.motion,
            )
        )  # fmt: skip


def main() -> None:
    """Run until so many messages are through."""
    servers, frames, features, folder, precision, count = sys.argv[1:]
    application = Application(
        broker_address=servers, consumer_group=f"{features}.group", auto_offset_reset="earliest",
        consumer_extra_config={"fetch.message.max.bytes": 8 << 20},
        producer_extra_config={"linger.ms": 10},
    )  # fmt: skip
    source = application.topic(frames, value_deserializer="bytes", key_deserializer="bytes")
    target = application.topic(features, value_serializer="bytes", key_serializer="bytes")
    stream = application.dataframe(source).apply(Featurizer(Bundle(folder), precision))
    stream.to_topic(target)
    application.run(count=int(count), timeout=60.0)


if __name__ == "__main__":
    main()
