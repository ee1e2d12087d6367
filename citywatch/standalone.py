"""All four stages in this process: a thread each on a memory bus, with the embedded store.

They are the stages and workers of the services, unchanged, and their messages pass the codec as
they would on Kafka. What ends differs: here every record in hand is worked off, in the order of
the flow, before the process goes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import Self

from ingest import nursery
from ingest.addresses import kind_of
from ingest.settings import IngestSettings
from ingest.stage import IngestWorker
from ingest.supervisor import CameraStatus
from shared.bus import Output, Record
from shared.bus_memory import MemoryBus
from shared.cameras import Camera
from shared.errors import CitywatchError, Fatal
from shared.service import BuildWorker, Runner
from shared.settings import Configuration, KafkaSettings
from shared.topics import Topics

log = logging.getLogger(__name__)

FLOW = ("ingest", "featurizer", "classifier", "alerting")
CAPACITY = 64
"""Unread records of a partition at which its sender waits: four seconds of one camera."""
CAPACITY_GREY = 32
"""The same where frames are not compressed: a quarter of a megabyte each."""
KEEP_BYTES = 16 << 20
"""Read records that a topic keeps, for clips of what has just happened."""
DRAIN_SECONDS = 60.0
_VIEW = "view"
_VIEW_SECONDS = 0.02
"""Between two looks: to be woken for each record by itself cost a twentieth of all time."""


@dataclass
class _Room:
    """One stage's loop in its thread."""

    name: str
    runner: Runner
    stop: threading.Event
    thread: threading.Thread = field(init=False)
    error: BaseException | None = None


class Standalone:
    """The pipeline on these cameras, from `with` to the end of `follow`."""

    def __init__(self, configuration: Configuration, lane: str, cameras: Sequence[Camera]) -> None:
        self.topics = Topics(configuration.get(KafkaSettings).prefix)
        self.lane = lane
        # A partition a camera, so that one camera's backlog never holds up another.
        bare = configuration.get(IngestSettings).pictures == "grey"
        capacity = CAPACITY_GREY if bare else CAPACITY
        self.bus = MemoryBus(max(len(cameras), 1), capacity, KEEP_BYTES)
        self.bus.ensure_topics(self.topics.specs(lane))
        self._cameras = tuple(cameras)
        self._configuration = configuration
        self._rooms: dict[str, _Room] = {}
        self._closing: threading.Thread | None = None
        self._dead = threading.Event()
        self._late: Fatal | None = None

    def __enter__(self) -> Self:
        """Build all stages, load the model, and start everything; cameras come last.

        Raises whatever a stage raises while it is built.
        """
        if any(kind_of(camera.source) != "synthetic" for camera in self._cameras):
            nursery.warm_up()  # while the model loads
        seen = (self.topics.frames, self.topics.predictions(self.lane), self.topics.anomalies)
        self._view = self.bus.consumer(_VIEW, seen)
        try:
            for name in reversed(FLOW):  # readers first: what has a reader waits for it
                self._add(name)
            for room in self._rooms.values():
                room.thread.start()
                while room.thread.is_alive() and not room.runner.healthy.wait(0.05):
                    pass
            self.publish(self._cameras)
        except BaseException:
            self._abandon()
            raise
        return self

    def _add(self, name: str) -> None:
        build: BuildWorker = import_module(f"{name}.stage").build_worker
        stop = threading.Event()
        room = _Room(name, build(self.bus, self._configuration, stop), stop)
        room.thread = threading.Thread(target=self._live, args=[room], name=name, daemon=True)
        self._rooms[name] = room

    def _live(self, room: _Room) -> None:
        try:
            room.runner.run()
        except BaseException as error:  # reported by `follow`
            room.error = error
            self._dead.set()
            if not isinstance(error, CitywatchError):
                log.exception("%s died", room.name)
        else:
            if not room.stop.is_set():
                room.error = Fatal(f"{room.name} ended by itself")
                self._dead.set()

    def publish(self, cameras: Sequence[Camera]) -> None:
        """Add cameras, or change them, by the same message as on Kafka."""
        producer = self.bus.producer()
        for camera in cameras:
            producer.send(Output(self.topics.cameras, camera.id, camera.to_json()))

    @property
    def healthy(self) -> bool:
        """Whether every stage works; `/readyz` shows it."""
        return all(room.runner.healthy.is_set() for room in self._rooms.values())

    def statuses(self) -> Sequence[CameraStatus]:
        """How each camera fares; empty once they are stopped."""
        runner = self._rooms["ingest"].runner
        return runner.statuses() if isinstance(runner, IngestWorker) else ()

    def follow(self) -> Iterator[list[Record]]:
        """Frames, predictions and incidents as they appear, in lists; an empty one each 0.1 s.

        Ends after `finish` once everything in hand has come out. Raises what a stage died of.
        """
        while True:
            done = self._closing is not None and not self._closing.is_alive()
            records = self._view.poll(CAPACITY * self.bus.partitions, 0.1)
            self._check()
            yield records
            self._view.commit({r.partition: r.offset + 1 for r in records})
            if done and not records:
                return
            if records and not done:
                self._dead.wait(_VIEW_SECONDS)

    def finish(self) -> None:
        """Stop the cameras and work off what is in hand; `follow` goes on until that is done."""
        if self._closing is None:
            self._closing = threading.Thread(target=self._drain, name="drain", daemon=True)
            self._closing.start()

    def _drain(self) -> None:
        """Stage by stage down the flow: wait until its input is read, then let it end."""
        for name in FLOW:
            room = self._rooms[name]
            if name != "ingest" and not self._wait(partial(self._read_all, name)):
                self._late = Fatal(f"{name} did not work off its input in {DRAIN_SECONDS:g} s")
                self._dead.set()
                return
            room.stop.set()
            self.bus.wake()
            room.thread.join(DRAIN_SECONDS)

    def _wait(self, condition: Callable[[], bool]) -> bool:
        until = time.monotonic() + DRAIN_SECONDS
        with self.bus.changed:
            while not condition():
                left = until - time.monotonic()
                if left <= 0 or self._dead.is_set():
                    return False
                self.bus.changed.wait(min(left, 0.5))
        return True

    def _read_all(self, name: str) -> bool:
        return self.bus.unread(self.topics.group(name, self.lane)) == 0

    def _check(self) -> None:
        if self._dead.is_set():
            errors = [room.error for room in self._rooms.values() if room.error] + [self._late]
            first = next(error for error in errors if error)
            if isinstance(first, CitywatchError):
                raise first
            raise Fatal(f"a stage died: {type(first).__name__}: {first}") from first

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._abandon()

    def _abandon(self) -> None:
        """Stop everything, worked off or not; harmless after an orderly end."""
        for room in self._rooms.values():
            room.stop.set()
        ingest = self._rooms.get("ingest")
        if ingest is not None and ingest.thread.is_alive():
            ingest.thread.join(5)  # it ends the processes that read cameras
        self.bus.close()
        for room in self._rooms.values():
            if room.thread.is_alive():
                room.thread.join(5)
