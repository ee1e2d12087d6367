"""The four services on a real Kafka and Redis, against one process, on the same files.

    python -m benchmarks.four_services [--files 8]

Everything runs on this machine: broker, Redis, four services, a process a camera. Frames a second
by the broker's time stamps, from the first frame in Kafka to the last prediction; of `watch` by its
summary.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks.claim import Claim, alternate, report
from benchmarks.many_files import copies, watch
from benchmarks.material import arguments, bundle_of, clip, every_frame, with_int8
from benchmarks.processes import captures, family_seconds, megabytes
from shared.bus import Record
from shared.bus_kafka import KafkaBus
from shared.codec import decode
from shared.messages import EndOfStream, Features, Frame, Prediction
from tests.support import services
from tests.support.command import citywatch
from tests.support.four_services import SERVICES, FourServices, four_services

_PATIENCE = 150.0
_ENVIRONMENT = {
    "CITYWATCH_KAFKA_PARTITIONS": "16",
    "CITYWATCH_INGEST_DECODER_THREADS": "1",  # as `watch` has it where files are many
}


@dataclass
class Totals:
    """One run, counted from the topics and by the kernel."""

    frames: int = 0
    unchanged: int = 0
    predictions: int = 0
    ended: int = 0
    frame_bytes: int = 0
    unchanged_bytes: int = 0
    feature_bytes: int = 0
    prediction_bytes: int = 0
    first: int = sys.maxsize
    last: int = 0
    features: int = 0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """Processor time of each process and its children, from being ready to the last prediction."""
    memory_mb: dict[str, float] = field(default_factory=dict)
    camera_mb: float = 0.0

    def milliseconds(self, process: str) -> float:
        """Processor time for each frame (alerting: prediction).

        The start of the services does not count, that of the captures does.
        """
        count = self.predictions if process == "alerting" else self.frames
        return self.cpu_seconds[process] / count * 1000

    @property
    def fps(self) -> float:
        """From the first frame in Kafka to the last prediction."""
        return self.frames / (self.last - self.first) * 1000

    def take(self, record: Record) -> None:
        """One record of the frames, features or predictions topic."""
        size = len(record.value or b"")
        match decode(record.value, Frame, Features, Prediction, EndOfStream):
            case Frame() as frame:
                self.first = min(self.first, record.timestamp)
                self.frames += 1
                if frame.encoding == "unchanged":
                    self.unchanged += 1
                    self.unchanged_bytes += size
                else:
                    self.frame_bytes += size
            case Features():
                self.features += 1
                self.feature_bytes += size
            case Prediction():
                self.predictions += 1
                self.prediction_bytes += size
                self.last = max(self.last, record.timestamp)
            case EndOfStream() if record.partition.topic.endswith(".predictions"):
                self.ended += 1
                self.last = max(self.last, record.timestamp)


def main() -> None:
    """Measure both in turns."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--files", type=int, default=8)
    chosen = parser.parse_args()
    video = clip(chosen)
    bundle = with_int8(bundle_of(chosen), video)
    rounds = count()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        files = copies(video, folder, chosen.files)
        copy, rate = every_frame(bundle, video, folder / "bundle")
        sides: dict[str, Callable[[], float]] = {
            "four services": lambda: (
                run(copy, bundle.name, rate, files, folder / f"round-{next(rounds)}").fps
            ),
            "one process": watch(copy, rate, "auto", files),
        }
        found = alternate(sides, chosen.rounds)
    report(
        Claim(f"four services on Kafka and Redis / watch, {chosen.files} files", "frames/s",
              found["four services"], found["one process"], 0.6,
              note="broker and Redis on the same cores; start of capture counts in watch alone")
    )  # fmt: skip


def run(bundle: Path, lane: str, rate: float, files: Sequence[Path], folder: Path) -> Totals:
    """All files as cameras through the four services, once."""
    folder.mkdir()
    cameras = folder / "cameras.toml"
    cameras.write_text(
        "".join(
            f'[[cameras]]\nid = "c{i}"\nsource = "{file}"\nfps = {rate}\n'
            for i, file in enumerate(files)
        )
    )
    variables = services.start()
    broker = int(json.loads(services.STATE.read_text())["kafka"]["pid"])
    kafka, redis = variables[services.KAFKA_VARIABLE], variables[services.REDIS_VARIABLE]
    with four_services(kafka, redis, bundle, folder, **_ENVIRONMENT) as there:
        _ready(there)
        pids = {name: process.pid for name, process in there.processes.items()} | {"kafka": broker}
        before = {name: family_seconds(pid) for name, pid in pids.items()}
        added = citywatch("cameras", "import", cameras, env=there.environment)
        if added.code:
            sys.exit(added.err)
        totals = _follow(there, lane, len(files))
        totals.cpu_seconds = {
            name: family_seconds(pid) - before[name] for name, pid in pids.items()
        }
        totals.memory_mb = {name: megabytes(pid) for name, pid in pids.items()}
        there.stop()
    return totals


def _ready(there: FourServices) -> None:
    """Wait until every service says that it runs: its network is warm then."""
    until = time.monotonic() + _PATIENCE
    while not all(": running" in there.log_of(name) for name in SERVICES):
        if time.monotonic() > until:
            sys.exit("the services did not start:\n" + "\n".join(map(there.log_of, SERVICES)))
        time.sleep(0.2)


def _follow(there: FourServices, lane: str, cameras: int) -> Totals:
    bus = KafkaBus(there.settings)
    topics = there.topics
    totals = Totals()
    ingest = there.processes["ingest"].pid
    try:
        bus.ensure_topics(topics.specs(lane))
        names = [topics.frames, topics.features(lane), topics.predictions(lane)]
        reader = bus.consumer(None, names, start="beginning")
        until = time.monotonic() + _PATIENCE
        while totals.ended < cameras:
            if time.monotonic() > until:
                sys.exit(f"{totals.ended} of {cameras} cameras at their end in {_PATIENCE:g} s")
            for record in reader.poll(200, 1.0):
                totals.take(record)
            sizes = [megabytes(pid) for pid in captures(ingest)]
            totals.camera_mb = max([totals.camera_mb, *sizes])
    finally:
        bus.close()
    return totals


if __name__ == "__main__":
    main()
