"""What static-frame gating is worth where nothing moves.

    python -m benchmarks.static_scene [--files 4]

The footage is one frame of pedestrians.mp4, held for 36 seconds at 720p with a little sensor noise,
in H.264 with a key frame every two seconds, as a camera sends it. Two claims, each with gating and
without: `watch`, from the file to the last window, decoding of the video included; and what lies
behind ingest, featurizer and classifier, on the messages that Kafka would carry (processor time of
their own code, decoding of the messages included). Frames a second are cameras carried: both sides
are asked the same rate of each camera. What gating costs in recognition: `benchmarks.recognition`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.claim import Claim, alternate, report
from benchmarks.many_files import copies, watch
from benchmarks.material import arguments, bundle_of, clip, every_frame, with_int8
from classifier.inference import open_classifier
from classifier.stage import ClassifierStage, FeaturesDecoder
from featurizer.decoding import FrameDecoder
from featurizer.extractor import open_extractor
from featurizer.settings import FeaturizerSettings
from featurizer.stage import FeaturizerStage
from ingest.capture import capture
from ingest.settings import IngestSettings
from ingest.sources import open_source
from shared.bundle import Bundle
from shared.bus import Decode, Output, Partition, Received, Record, Stage
from shared.cameras import Camera
from shared.codec import encode
from shared.messages import Session
from shared.topics import Topics

_NOISE = 1.5  # grey levels, standard deviation
_BATCH = 64


def main() -> None:
    """Measure both claims in turns."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--files", type=int, default=4)
    chosen = parser.parse_args()
    video = clip(chosen)
    bundle = with_int8(bundle_of(chosen), video)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        still = folder / "still.mp4"
        hold(video, still)
        copy, rate = every_frame(bundle, still, folder / "bundle")
        files = copies(still, folder, chosen.files)
        ungated = "ingest.static_gating=false"
        found = alternate(
            {
                "watch, gated": watch(copy, rate, "auto", files),
                "watch, every frame": watch(copy, rate, "auto", files, ungated),
                "behind, gated": behind_ingest(Bundle(copy), still, rate, gating=True),
                "behind, every frame": behind_ingest(Bundle(copy), still, rate, gating=False),
            },
            chosen.rounds,
        )
    report(
        Claim("cameras carried by watch on static footage, gated / every frame", "frames/s",
              found["watch, gated"], found["watch, every frame"], 4,
              note="decoding of 720p H.264 included on both sides"),
        Claim("cameras carried by featurizer and classifier on static footage, gated / every frame",
              "frames a core-second", found["behind, gated"], found["behind, every frame"], 4),
    )  # fmt: skip


def hold(video: Path, path: Path, frames: int = 900, fps: float = 25.0) -> None:
    """Write a video in which nothing happens."""
    done, image = cv2.VideoCapture(str(video)).read()
    assert done and image is not None
    height, width = image.shape[:2]
    random = np.random.default_rng(0)
    noise = random.normal(0, _NOISE, (8, *image.shape)).astype(np.float32)
    noisy = [np.clip(image + each, 0, 255).astype(np.uint8) for each in noise]
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=round(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "23", "g": str(round(2 * fps))}
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(noisy[number % len(noisy)], format="bgr24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode())


def behind_ingest(bundle: Bundle, video: Path, fps: float, *, gating: bool) -> Callable[[], float]:
    """Frames a core-second of a featurizer and a classifier on one camera's messages."""
    topics, lane = Topics(), bundle.name
    settings = IngestSettings(static_gating=gating)
    camera = Camera(id="still", source=str(video), fps=fps)
    pictures = open_source(str(video), settings, small=True).pictures(lambda at: True)
    session = Session(0, 0, live=False)
    sent = [encode(message) for message in capture(pictures, camera, session, settings)]
    extractor = open_extractor(bundle, FeaturizerSettings(bundle=bundle.folder))
    classify = open_classifier(bundle)
    grey = bundle.description.input.of_motion

    def measure() -> float:
        featurizer = FeaturizerStage(bundle, lane, topics, extractor, 60.0)
        classifier = ClassifierStage(bundle, lane, topics, classify, 60.0)
        decode = FrameDecoder(lane, 30.0, lambda: 0, only_grey=grey)
        begun = time.process_time()
        features = _through(featurizer, decode, Partition(topics.frames, 0), sent)
        values = [output.value for output in features if output.value is not None]
        place = Partition(topics.features(lane), 0)
        _through(classifier, FeaturesDecoder(bundle, lane), place, values)
        return len(sent) / (time.process_time() - begun)

    return measure


def _through(stage: Stage, decode: Decode, place: Partition, values: list[bytes]) -> list[Output]:
    outputs: list[Output] = []
    for begin in range(0, len(values), _BATCH):
        records = [
            Record(place, begin + i, "still", value, (), 0)
            for i, value in enumerate(values[begin : begin + _BATCH])
        ]
        outputs += stage.process([Received(record, decode(record)) for record in records])
        stage.oldest_needed()
    return outputs


if __name__ == "__main__":
    main()
