"""What one frame of pedestrians.mp4 costs, step by step, in processor time of one thread.

    python -m benchmarks.stages

No claim and no peer: the list by which to choose what to make cheaper. Twice, as the services do
it (colour, JPEG) and as `watch` does for a model of motion (luminance). What those take beyond
the sum is plumbing: processes, pipes, threads, the bus.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import cv2
import numpy as np

from benchmarks.material import arguments, bundle_of, clip, with_int8
from classifier.inference import open_classifier
from featurizer.decoding import Decoded, FrameDecoder
from featurizer.inputs import Image, Inputs
from featurizer.openvino_backend import OpenVinoExtractor
from featurizer.precision import Precision
from ingest.capture import jpeg
from ingest.motion import MotionMeter, thumbnail
from ingest.settings import IngestSettings
from ingest.sources import open_source
from shared import codec
from shared.bundle import Bundle
from shared.bus import Partition, Record
from shared.messages import Frame, Session

P = ParamSpec("P")
T = TypeVar("T")


class Clock:
    """Processor seconds by name, of all threads of this process."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    def __call__(self, name: str, step: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """What the step returns."""
        begun = time.process_time()
        try:
            return step(*args, **more)
        finally:
            self.spent[name] += time.process_time() - begun


def main() -> None:
    """One pass over the video, then the networks on the inputs that it gave."""
    chosen = arguments(__doc__, rounds=1).parse_args()
    video = clip(chosen)
    bundle = with_int8(bundle_of(chosen), video)
    cv2.setNumThreads(1)
    clock = Clock()
    grey = bundle.description.input.of_motion
    if grey:
        _frames(str(video), bundle, clock, IngestSettings(pictures="grey", decoder_threads=1))
    inputs = _frames(str(video), bundle, clock, IngestSettings(decoder_threads=1))
    frames = len(inputs)
    precisions: tuple[Precision, ...] = ("f32", "int8")
    for precision in precisions:
        extract = OpenVinoExtractor(bundle, 0, precision)
        extract(inputs[:64])
        clock(f"network, {precision}", extract, inputs)
    shape = bundle.description.classifier
    windows = np.zeros((12, shape.window, bundle.description.backbone.features), np.float16)
    classify = open_classifier(bundle)
    classify(windows)
    for _ in range(max(1, frames // shape.stride // len(windows))):
        clock("LSTM, a window each stride", classify, windows)
    found = {name: round(spent / frames * 1000, 3) for name, spent in clock.spent.items()}
    for name, milliseconds in found.items():
        print(f"{name:36} {milliseconds:6.2f} core-ms a frame")
    print(json.dumps({"core_ms_a_frame": found, "frames": frames}))


def _frames(video: str, bundle: Bundle, clock: Clock, settings: IngestSettings) -> Image:
    """Every frame from the file to the network's input, as serving does it."""
    path = settings.pictures
    source = open_source(video, settings, small=True)
    pictures = source.pictures(lambda _: True)
    meter = MotionMeter(source.facts.fps)
    description = bundle.description.input.model_copy(update={"tolerance_ms": 1000.0})
    maker = Inputs(description)
    session = str(Session(0, 0, live=False))
    inputs: list[Image] = []
    decode = FrameDecoder("lane", 30.0, lambda: 0, only_grey=description.of_motion)
    place = Partition("frames", 0)
    index = 0
    reading = f"{path}: decode video, make small"
    while (picture := clock(reading, next, pictures, None)) is not None:
        image = picture.image
        cells = clock(f"{path}: motion, thumbnail", thumbnail, image)
        motion = clock(f"{path}: motion, region", meter.follow, cells)
        if path == "jpeg":
            data = clock("jpeg: JPEG encode", jpeg, image, settings.jpeg_quality)
        else:
            data = image.tobytes()
        height, width = image.shape[:2]
        frame = Frame("a", session, index, picture.captured_at, False, (), path, height, width,
                      data, motion)  # fmt: skip
        value = clock(f"{path}: message encode", codec.encode, frame)
        record = Record(place, index, "a", value, (), 0)
        decoded = clock(f"{path}: message decode, with JPEG" if path == "jpeg" else
                        f"{path}: message decode", decode, record)  # fmt: skip
        assert isinstance(decoded, Decoded)
        assert decoded.picture is not None
        made = clock(f"{path}: network input", maker.take, picture.captured_at, decoded.picture,
                     motion)  # fmt: skip
        index += 1
        if made is not None:
            inputs.append(made)
    return np.stack(inputs)


if __name__ == "__main__":
    main()
