"""The four services on a real Kafka and Redis, against one process, on the same files.

    python -m benchmarks.four_services [--files 8]

Everything runs on this machine: broker, Redis, eight processes. Frames a second by the broker's
time stamps, from the first frame in Kafka to the last prediction; of `watch` by its summary.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from benchmarks.claim import Claim, alternate, report
from benchmarks.many_files import copies, watch
from benchmarks.material import arguments, bundle_of, clip, every_frame, with_int8
from shared.bus_kafka import KafkaBus
from shared.codec import decode
from shared.errors import InvalidMessage
from shared.messages import EndOfStream, Frame, Prediction
from tests.support import services
from tests.support.command import citywatch
from tests.support.four_services import FourServices, four_services

_PATIENCE = 150.0


def main() -> None:
    """Measure both in turns."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--files", type=int, default=8)
    chosen = parser.parse_args()
    video = clip(chosen)
    bundle = with_int8(bundle_of(chosen), video)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        files = copies(video, folder, chosen.files)
        copy, rate = every_frame(bundle, video, folder / "bundle")
        sides: dict[str, Callable[[], float]] = {
            "four services": _services(copy, bundle.name, rate, files, folder),
            "one process": watch(copy, rate, "auto", files),
        }
        found = alternate(sides, chosen.rounds)
    report(
        Claim(f"four services on Kafka and Redis / watch, {chosen.files} files", "frames/s",
              found["four services"], found["one process"], 0.6,
              note="broker and Redis on the same cores")
    )  # fmt: skip


def _services(
    bundle: Path, lane: str, rate: float, files: Sequence[Path], folder: Path
) -> Callable[[], float]:
    rounds = count()
    cameras = folder / "cameras.toml"
    cameras.write_text(
        "".join(
            f'[[cameras]]\nid = "c{i}"\nsource = "{file}"\nfps = {rate}\n'
            for i, file in enumerate(files)
        )
    )

    def measure() -> float:
        logs = folder / f"round-{next(rounds)}"
        logs.mkdir()
        variables = services.start()
        kafka, redis = variables[services.KAFKA_VARIABLE], variables[services.REDIS_VARIABLE]
        with four_services(kafka, redis, bundle, logs, CITYWATCH_KAFKA_PARTITIONS="16") as there:
            added = citywatch("cameras", "import", cameras, env=there.environment)
            if added.code:
                sys.exit(added.err)
            fps = _rate(there, lane, len(files))
            there.stop()
        return fps

    return measure


def _rate(there: FourServices, lane: str, cameras: int) -> float:
    bus = KafkaBus(there.settings)
    topics = [there.topics.frames, there.topics.predictions(lane)]
    try:
        bus.ensure_topics(there.topics.specs(lane))
        reader = bus.consumer(None, topics, start="beginning")
        frames, ends, first, last = 0, 0, sys.maxsize, 0
        until = time.monotonic() + _PATIENCE
        while ends < cameras:
            if time.monotonic() > until:
                sys.exit(f"{ends} of {cameras} cameras at their end after {_PATIENCE:g} s")
            for record in reader.poll(2000, 1.0):
                if record.partition.topic == topics[0]:
                    first = min(first, record.timestamp)
                    frames += _is_frame(record.value)
                else:
                    last = max(last, record.timestamp)
                    ends += isinstance(decode(record.value, Prediction, EndOfStream), EndOfStream)
    finally:
        bus.close()
    return frames / (last - first) * 1000


def _is_frame(value: bytes | None) -> bool:
    try:
        decode(value, Frame)
    except InvalidMessage:
        return False
    return True


if __name__ == "__main__":
    main()
