"""A picture that crashes the decoder's native code: a featurizer on Kafka gets past it."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.bus import Output
from shared.bus_kafka import KafkaBus
from shared.codec import decode, encode
from shared.messages import NANOSECONDS, EndOfStream, Features, Frame, Session
from shared.settings import KafkaSettings
from shared.topics import Topics
from tests.faults.segfault import POISON
from tests.support.bundles import write_bundle
from tests.support.command import start
from tests.support.service_fixtures import kafka, redis_url, service_variables  # noqa: F401
from tests.support.window_service import until

SESSION = Session(0, 0, live=False)
FRAMES, BAD = 24, 9


def frame(camera: str, index: int) -> Output:
    noise = np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    if (camera, index) == ("gate", BAD):
        comment = b"\xff\xfe" + struct.pack(">H", 2 + len(POISON)) + POISON
        data = data[:2] + comment + data[2:]
    at = index * NANOSECONDS // 5
    message = Frame(camera, str(SESSION), index, at, False, (), "jpeg", 48, 64, data)
    return Output("", camera, encode(message))


class Lives:
    """The process that forks a featurizer for each life."""

    def __init__(self, folder: Path, address: str, prefix: str) -> None:
        bundle = write_bundle(folder / "bundle", name="lane", fps=5.0)
        self._log = (folder / "log").open("w")
        self.process = start(
            ["tests.faults.segfault", "--set", f"featurizer.bundle={bundle.folder}"],
            env={
                "CITYWATCH_KAFKA_BOOTSTRAP_SERVERS": address,
                "CITYWATCH_KAFKA_PREFIX": prefix,
                "CITYWATCH_KAFKA_PARTITIONS": "2",
                # A fixed place in the group: the next life need not wait until this one is missed.
                "CITYWATCH_KAFKA_INSTANCE": "featurizer-0",
                "CITYWATCH_FEATURIZER_THREADS": "1",
                "CITYWATCH_FEATURIZER_PRECISION": "f32",
            },
            stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        self.codes: list[int] = []
        self.child = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            what, number = line.split()
            if what == "began":
                self.child = int(number)
            else:
                self.codes.append(int(number))

    def end(self) -> int:
        os.kill(self.child, signal.SIGTERM)
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            os.kill(self.child, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()
        self._log.close()


@pytest.fixture
def prefix() -> str:
    return f"segfault-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def bus(kafka: str, prefix: str) -> Iterator[KafkaBus]:  # noqa: F811
    bus = KafkaBus(KafkaSettings(bootstrap_servers=kafka, prefix=prefix, partitions=2))
    bus.ensure_topics(Topics(prefix).specs("lane"))
    yield bus
    bus.close()


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_a_picture_that_crashes_the_decoder_is_put_aside_and_its_neighbours_are_seen(
    kafka: str,  # noqa: F811
    bus: KafkaBus,
    prefix: str,
    tmp_path: Path,
) -> None:
    topics = Topics(prefix)
    producer = bus.producer()
    for index in range(FRAMES):
        for camera in ("gate", "yard", "lobby"):
            output = frame(camera, index)
            producer.send(Output(topics.frames, output.key, output.value))
    for camera in ("gate", "yard", "lobby"):
        end = EndOfStream(camera, str(SESSION), FRAMES, FRAMES * NANOSECONDS // 5, "end", ())
        producer.send(Output(topics.frames, camera, encode(end)))
    assert producer.flush(20) == []
    features = bus.consumer(None, [topics.features("lane")], "beginning")
    dead = bus.consumer(None, [topics.dead_letters], "beginning")
    seen: dict[str, set[int]] = {"gate": set(), "yard": set(), "lobby": set()}
    ended: set[str] = set()
    letters = []

    def look() -> bool:
        for record in features.poll(1000, 0.2):
            message = decode(record.value, Features, EndOfStream)
            if isinstance(message, EndOfStream):
                ended.add(message.camera_id)
            elif message.vector is not None:
                seen[message.camera_id].add(message.index)
        letters.extend(dead.poll(100, 0.0))
        return len(ended) == 3

    lives = Lives(tmp_path, kafka, prefix)
    try:
        until(look, lambda: (lives.codes, seen), seconds=120)
        code = lives.end()
    finally:
        lives.close()
    look()
    whole = {*range(FRAMES)}
    assert seen == {"gate": whole - {BAD}, "yard": whole, "lobby": whole}
    (letter,) = letters
    assert POISON in letter.value
    assert b"died each time" in dict(letter.headers)["reason"]
    assert {*lives.codes[:-1]} == {-signal.SIGSEGV}
    assert 5 <= len(lives.codes[:-1]) <= 7
    assert code == 0
