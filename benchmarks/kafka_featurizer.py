"""`python -m featurizer` on a real Kafka, against the same job written with Quix Streams.

    python -m benchmarks.kafka_featurizer [--cameras 8]

Both read the same frames topic from its beginning, each round as a new group, with the same network
and input making. Frames a second by the broker's own time stamps: from the first features record
to the last, so that neither side's start counts.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.claim import Claim, alternate, report
from benchmarks.material import CHECKOUT, arguments, bundle_of, clip, every_frame, peer_python
from benchmarks.material import with_int8 as quantised
from featurizer.precision import choose
from ingest.capture import capture
from ingest.settings import IngestSettings
from ingest.sources import open_source
from shared.bus import Output
from shared.bus_kafka import KafkaBus
from shared.cameras import Camera
from shared.codec import encode
from shared.messages import Session
from shared.settings import KafkaSettings
from shared.topics import Topics, TopicSpec
from tests.support import services

_PATIENCE = 120.0  # seconds for one measurement


def main() -> None:
    """Fill the frames topic once, then measure in turns."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--cameras", type=int, default=8)
    chosen = parser.parse_args()
    video = clip(chosen)
    bundle = quantised(bundle_of(chosen), video)
    precision = choose("auto", quantised=True)
    servers = services.start()[services.KAFKA_VARIABLE]
    settings = KafkaSettings(bootstrap_servers=servers, prefix=f"bench-{uuid.uuid4().hex[:8]}")
    python = peer_python("quixstreams", "quixstreams openvino safetensors numpy "
                         "opencv-python-headless pydantic msgpack prometheus-client")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        copy, rate = every_frame(bundle, video, Path(folder) / "bundle")
        sent = fill(settings, video, rate, chosen.cameras)
        print(f"{sent} records in {Topics(settings.prefix).frames}", flush=True)
        sides: dict[str, Callable[[], float]] = {"citywatch": _ours(settings, copy, sent)}
        if python is not None:
            sides["quixstreams"] = _peer(python, settings, copy, precision, sent)
        found = alternate(sides, chosen.rounds)
    report(
        Claim("featurizer on Kafka / the same job in Quix Streams", "frames/s",
              found["citywatch"], found.get("quixstreams", ()), 1.5,
              note=f"{precision}, {chosen.cameras} cameras, broker on the same cores")
    )  # fmt: skip


def fill(settings: KafkaSettings, video: Path, rate: float, cameras: int) -> int:
    """Every frame of the video for every camera, as ingest would send it; how many records."""
    topics = Topics(settings.prefix)
    bus = KafkaBus(settings)
    bus.ensure_topics(topics.specs(None))
    producer = bus.producer()
    sent = 0
    options = IngestSettings(static_gating=False)
    streams = []
    for number in range(cameras):
        camera = Camera(id=f"camera-{number}", source=str(video), fps=rate)
        session = Session(0, 0, live=False)
        streams.append((camera.id, capture(open_source(str(video)), camera, session, options)))
    for messages in zip(*(stream for _, stream in streams), strict=True):
        for (camera_id, _), message in zip(streams, messages, strict=True):
            producer.send(Output(topics.frames, camera_id, encode(message)))
            sent += 1
    assert not producer.flush(60)
    bus.close()
    return sent


def _ours(settings: KafkaSettings, bundle: Path, sent: int) -> Callable[[], float]:
    rounds = count()

    def measure() -> float:
        lane = f"ours-{next(rounds)}"
        topic = Topics(settings.prefix).features(lane)
        options = {
            "featurizer.bundle": bundle,
            "featurizer.lane": lane,
            "kafka.bootstrap_servers": settings.bootstrap_servers,
            "kafka.prefix": settings.prefix,
        }
        command = [sys.executable, "-m", "featurizer"]
        for key, value in options.items():
            command += ["--set", f"{key}={value}"]
        with _running(command):
            return rate_of(settings, topic, sent)

    return measure


def _peer(
    python: Path, settings: KafkaSettings, bundle: Path, precision: str, sent: int
) -> Callable[[], float]:
    rounds = count()

    def measure() -> float:
        topic = f"{settings.prefix}.quix-{next(rounds)}"
        bus = KafkaBus(settings)
        bus.ensure_topics([TopicSpec(topic, 3600)])
        bus.close()
        frames = Topics(settings.prefix).frames
        command = [python, "-m", "benchmarks.peers.quix", settings.bootstrap_servers, frames,
                   topic, bundle, precision, sent]  # fmt: skip
        with _running(command):
            return rate_of(settings, topic, sent)

    return measure


def rate_of(settings: KafkaSettings, topic: str, expected: int) -> float:
    """Records a second of a topic, by its time stamps, once `expected` of them are there."""
    bus = KafkaBus(settings)
    try:
        bus.ensure_topics([TopicSpec(topic, 6 * 3600)])
        reader = bus.consumer(None, [topic], start="beginning")
        stamps: list[int] = []
        until = time.monotonic() + _PATIENCE
        while len(stamps) < expected:
            if time.monotonic() > until:
                sys.exit(f"{topic}: {len(stamps)} of {expected} records in {_PATIENCE:g} s")
            stamps += [record.timestamp for record in reader.poll(2000, 1.0)]
    finally:
        bus.close()
    return (len(stamps) - 1) / (max(stamps) - min(stamps)) * 1000


@contextmanager
def _running(command: list[Any]) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=CHECKOUT, stdout=log, stderr=log
        )
        try:
            yield
        except SystemExit as stop:
            log.seek(0)
            sys.exit(f"{stop}\n{log.read().decode()[-3000:]}")
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
