"""The classifier's cost per message and memory per camera, with 10,000 cameras and with 10.

    python -m benchmarks.many_cameras [--cameras 10000]

The stage alone, fed with decoded messages as its worker would: batches of 256, 16 partitions, every
camera's windows full. Processor time of the whole process, not of the clock.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.claim import Claim, alternate, report
from benchmarks.material import arguments, bundle_of
from classifier.inference import open_classifier
from classifier.stage import ClassifierStage, FeaturesDecoder
from shared.bundle import Bundle
from shared.bus import Partition, Received, Record
from shared.codec import encode
from shared.messages import Features, FrameReference, Session
from shared.topics import Topics

BATCH, PARTITIONS = 256, 16
_STEP = 66_666_667  # nanoseconds
_BEGUN = 1_700_000_000 * 10**9


class Fleet:
    """A stage with so many cameras, and what they send."""

    def __init__(self, bundle: Bundle, cameras: int) -> None:
        lane, topics = bundle.name, Topics()
        classify = open_classifier(bundle)
        self._stage = ClassifierStage(bundle, lane, topics, classify, 60.0)
        self._decode = FeaturesDecoder(bundle, lane)
        self._topic = topics.features(lane)
        random = np.random.default_rng(0)
        self._vectors = random.random((512, bundle.description.backbone.features)).astype(
            np.float16
        )
        self._fingerprint, self._lane, self._cameras = bundle.backbone_fingerprint, lane, cameras
        self._records = self._all()

    def _all(self) -> Iterator[Record]:
        """Step by step all cameras, for ever."""
        session = str(Session(1, _BEGUN, live=True))
        offsets = [0] * PARTITIONS
        step = 0
        while True:
            for camera in range(self._cameras):
                at = _BEGUN + (step + camera % 5) * _STEP
                number = camera % PARTITIONS
                own = step + camera % 5  # so that windows end in every batch, not in bursts
                features = Features(
                    self._lane, f"camera-{camera}", session, own, own, at, self._fingerprint,
                    FrameReference(number, offsets[number]),
                    self._vectors[(camera + step) % len(self._vectors)],
                )  # fmt: skip
                value = encode(features)
                place = Partition(self._topic, number)
                stamp = at // 10**6
                yield Record(place, offsets[number], features.camera_id, value, (), stamp)
                offsets[number] += 1
            step += 1

    def take(self, messages: int) -> float:
        """Processor microseconds a message; making the messages does not count."""
        spent = 0.0
        for _ in range(messages // BATCH):
            batch = [next(self._records) for _ in range(BATCH)]
            begun = time.process_time()
            self._stage.process([Received(record, self._decode(record)) for record in batch])
            self._stage.oldest_needed()
            spent += time.process_time() - begun
        return spent / (messages // BATCH * BATCH) * 1e6


def main() -> None:
    """Fill both fleets, then measure in turns."""
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--cameras", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=20_480, help="in each round")
    chosen = parser.parse_args()
    bundle = bundle_of(chosen)
    steps = bundle.description.classifier.window + 1
    few = Fleet(bundle, 10)
    few.take(10 * steps + BATCH)
    many = Fleet(bundle, chosen.cameras)
    many.take(BATCH)
    before = resident()
    many.take(chosen.cameras * steps)
    kilobytes = (resident() - before) / chosen.cameras / 1000
    sides: dict[str, Callable[[], float]] = {
        "10 cameras": lambda: few.take(chosen.messages),
        f"{chosen.cameras} cameras": lambda: many.take(chosen.messages),
    }
    found = alternate(sides, chosen.rounds)
    report(
        Claim(f"classifier's CPU per message, {chosen.cameras} cameras / 10", "us",
              found[f"{chosen.cameras} cameras"], found["10 cameras"], 1.1, at_most=True,
              note=f"batches of {BATCH}, {PARTITIONS} partitions"),
        Claim("classifier's memory per camera", "KB", [kilobytes], target=100, at_most=True,
              note="growth of the resident set; 30 vectors of 1280 float16 are 77 KB"),
    )  # fmt: skip


def resident() -> int:
    """Bytes of memory that this process holds now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123  not a file on disk
        return int(file.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
