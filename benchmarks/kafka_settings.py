"""What each Kafka setting costs or spares for frames of 30 KB: processor time of client and broker.

    python -m benchmarks.kafka_settings [--seconds 6]

No claim and no peer: the list from which the defaults of `[kafka]` come. JPEG frames of
pedestrians.mp4 are sent for 8 cameras at a steady rate, as ingest sends them, and read by a second
thread as a featurizer would; one setting is changed at a time. Processor milliseconds a record, of
this process (producer and consumer) and of the broker, and how long a record took to be seen.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import threading
import time
import uuid
from dataclasses import dataclass, field

from benchmarks.material import arguments, clip
from benchmarks.processes import cpu_seconds
from ingest.capture import jpeg
from ingest.settings import IngestSettings
from ingest.sources import open_source
from shared.bus import Output, Producer
from shared.bus_kafka import KafkaBus
from shared.settings import KafkaSettings
from shared.topics import TopicSpec
from tests.support import services

CAMERAS = 8
CHANGES: tuple[dict[str, int], ...] = (
    {},
    {"linger_ms": 0}, {"linger_ms": 10}, {"linger_ms": 50},
    {"batch_bytes": 16 << 10}, {"batch_bytes": 64 << 10}, {"batch_bytes": 2 << 20},
    {"fetch_bytes": 1 << 20}, {"fetch_bytes": 32 << 20},
    {"partitions": 1}, {"partitions": 64},
)  # fmt: skip


@dataclass
class Reader:
    """Polls in a thread and notes how old records are when they are seen."""

    bus: KafkaBus
    topic: str
    ages: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until stopped."""
        consumer = self.bus.consumer(None, [self.topic], start="beginning")
        while not self.stop.is_set():
            for record in consumer.poll(64, 0.2):
                assert record.value is not None
                sent = int.from_bytes(record.value[:8], "big")
                self.ages.append((time.monotonic_ns() - sent) / 1e6)
        consumer.close()


def main() -> None:
    """Each change once, the defaults first."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--seconds", type=float, default=6.0, help="for each setting")
    parser.add_argument("--rate", type=float, default=120.0, help="frames a second, all cameras")
    chosen = parser.parse_args()
    settings = IngestSettings()
    source = open_source(str(clip(chosen)), settings, small=True)
    frames = [jpeg(p.image, settings.jpeg_quality) for p in itertools.islice(source, 60)]
    servers = services.start()[services.KAFKA_VARIABLE]
    broker = int(json.loads(services.STATE.read_text())["kafka"]["pid"])
    rows = []
    for change in CHANGES:
        name = ", ".join(f"{k}={v}" for k, v in change.items()) or "defaults"
        row = {"setting": name, **_measured(change, servers, broker, frames, chosen)}
        rows.append(row)
        print(f"{name:24} client {row['client_ms']:.3f}  broker {row['broker_ms']:.3f} core-ms a "
              f"record, seen after {row['p50_ms']:.0f} ms (p99 {row['p99_ms']:.0f})",
              flush=True)  # fmt: skip
    size = sum(map(len, frames)) / len(frames)
    print(json.dumps({"settings": rows, "bytes_a_record": round(size), "rate": chosen.rate}))


def _measured(
    change: dict[str, int],
    servers: str,
    broker: int,
    frames: list[bytes],
    chosen: argparse.Namespace,
) -> dict[str, float]:
    seconds, rate = chosen.seconds, chosen.rate
    topic = f"bench.{uuid.uuid4().hex[:8]}"
    settings = KafkaSettings.model_validate(
        {"bootstrap_servers": servers, "partitions": 16} | change
    )
    bus = KafkaBus(settings)
    bus.ensure_topics([TopicSpec(topic, 3600)])
    reader = Reader(bus, topic)
    thread = threading.Thread(target=reader.run, name="reader")
    thread.start()
    producer = bus.producer()
    _send(producer, topic, frames, rate, 1.0)  # connections, topic, memory
    producer.flush(30)
    reader.ages.clear()
    begun = time.process_time(), cpu_seconds(broker)
    sent = _send(producer, topic, frames, rate, seconds)
    producer.flush(30)
    until = time.monotonic() + 30
    while len(reader.ages) < sent and time.monotonic() < until:
        time.sleep(0.02)
    spent = time.process_time() - begun[0], cpu_seconds(broker) - begun[1]
    reader.stop.set()
    thread.join()
    bus.close()
    ages = sorted(reader.ages)
    client, server = (1000 * value / sent for value in spent)
    found = {
        "client_ms": client, "broker_ms": server, "p50_ms": statistics.median(ages),
        "p99_ms": ages[int(0.99 * len(ages))],
    }  # fmt: skip
    return {name: round(value, 3) for name, value in found.items()}


def _send(producer: Producer, topic: str, frames: list[bytes], rate: float, seconds: float) -> int:
    """So many frames a second, the cameras in turn; each begins with its time."""
    begun, sent = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        due = begun + sent / rate
        time.sleep(max(due - time.monotonic(), 0))
        value = time.monotonic_ns().to_bytes(8, "big") + frames[sent % len(frames)]
        producer.send(Output(topic, f"camera-{sent % CAMERAS}", value))
        sent += 1
    return sent


if __name__ == "__main__":
    main()
