"""A poisonous record before each worker: it is put aside, and its neighbours go on.

In front of ingest (cameras) and of subscribers (anomalies): `test_ingest_registry.py` and
`test_alerting_stage.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest

from shared.bundle import Bundle
from shared.bus import Output, Partition, Record
from shared.bus_memory import MemoryBus
from shared.codec import encode
from shared.messages import (
    NANOSECONDS,
    EndOfStream,
    Features,
    Frame,
    FrameReference,
    Message,
    Session,
)
from shared.settings import Configuration
from shared.topics import Topics
from tests.support.bundles import write_bundle
from tests.support.predictions import prediction
from tests.support.window_service import until

TOPICS = Topics("poison")
SESSION = str(Session(0, 0, live=False))
CAMERA = "gate-3"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    return write_bundle(folder, name="street", fps=5.0, window=4, stride=2)


def frames(bundle: Bundle, index: int) -> Message:
    picture = np.full((32, 32, 3), 20 * index, np.uint8).tobytes()
    at = index * NANOSECONDS // 5
    return Frame(CAMERA, SESSION, index, at, False, (), "raw", 32, 32, picture)


def features(bundle: Bundle, index: int) -> Message:
    return Features(
        "street", CAMERA, SESSION, index, index, index * NANOSECONDS // 5,
        bundle.backbone_fingerprint, FrameReference(0, index), np.zeros(1280, np.float16),
    )  # fmt: skip


def predictions(bundle: Bundle, index: int) -> Message:
    return prediction(1.0 + index, 0.9, camera_id=CAMERA, session=SESSION)


def log(bus: MemoryBus, topic: str) -> list[Record]:
    return bus.read(Partition(topic, 0), 0, 1 << 40)


@pytest.mark.parametrize(
    ("service", "source", "make", "target"),
    [
        ("featurizer", TOPICS.frames, frames, TOPICS.features("street")),
        ("classifier", TOPICS.features("street"), features, TOPICS.predictions("street")),
        ("alerting", TOPICS.predictions("street"), predictions, TOPICS.anomalies),
    ],
)
@pytest.mark.parametrize("poison", [b"\xc1 no message", None])
def test_in_front_of_a_worker(
    service: str, source: str, make: Callable[[Bundle, int], Message], target: str,
    poison: bytes | None, bundle: Bundle,
) -> None:  # fmt: skip
    """The same comes out as without it, and it lies in the dead letters as it was."""

    def outcome(*letters: bytes | None) -> tuple[list[bytes | None], list[bytes | None]]:
        bus, stop = MemoryBus(capacity=1000), threading.Event()
        producer = bus.producer()
        for index in range(8):
            if index == 5:
                for letter in letters:
                    producer.send(Output(source, CAMERA, letter))
            producer.send(Output(source, CAMERA, encode(make(bundle, index))))
        end = EndOfStream(CAMERA, SESSION, 200, 40 * NANOSECONDS, "end", ())
        producer.send(Output(source, CAMERA, encode(end)))
        overrides = [f"{service}.bundle={bundle.folder}", "kafka.prefix=poison"]
        if service == "featurizer":
            overrides += ["featurizer.backend=reference"]
        if service == "alerting":
            overrides += ["alerting.store=sqlite", "alerting.sqlite_file=:memory:"]
        configuration = Configuration(overrides=overrides, environment={})
        worker = import_module(f"{service}.stage").build_worker(bus, configuration, stop)
        thread = threading.Thread(target=worker.run)
        thread.start()
        group = TOPICS.group(service, "street")
        whole = bus.log(Partition(source, 0)).end
        until(lambda: bus._groups[group].committed.get(Partition(source, 0), 0) == whole)
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        dead = log(bus, TOPICS.dead_letters)
        assert all(dict(record.headers)["reason"] for record in dead)
        return [r.value for r in log(bus, target)], [r.value for r in dead]

    calm, nothing = outcome()
    assert calm and not nothing
    came, dead = outcome(poison)
    assert dead == [poison]
    if service == "alerting":
        assert came == calm
    else:  # references say where a record lies, which is one further on after the poison
        assert len(came) == len(calm)
