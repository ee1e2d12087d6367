"""The supervised life of one camera: start, watch, report, try again."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ingest.addresses import Opened, kind_of, redact
from ingest.child import Child
from ingest.outbox import Outbox
from ingest.pipe import Kind, Order, Parcel
from ingest.publisher import Publisher
from ingest.recorder import FACTS, Recorder, session_of
from ingest.settings import IngestSettings
from ingest.sources import Facts
from shared import metrics
from shared.cameras import Camera
from shared.errors import SourceError

log = logging.getLogger(__name__)

State = Literal["starting", "up", "down", "ended", "failed"]
Ends = Literal["all", "live", "none"]
"""Whose sessions a stop closes. A recording that somebody else begins again is not at its end."""

_STEADY_SECONDS = 10.0  # pictures for so long, and the next wait is a short one again


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """What is known of one camera. `source` and `error` hold no credentials.

    `up`: pictures come. `down`: they do not, and it is tried again. `ended`: a recording is over.
    `failed`: a recording cannot be read, or not to its end; its definition must change.
    """

    id: str
    source: str
    state: State
    fps: float
    frames: int
    dropped: int
    reconnects: int
    error: str | None
    facts: Facts | None


@dataclass(frozen=True)
class Surroundings:
    """What all cameras of a fleet share."""

    outbox: Outbox
    topic: str
    settings: IngestSettings
    generation: Callable[[], int]
    starting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(4))
    """So many processes load their libraries at a time; waiting for a camera does not count."""


class Run(Protocol):
    """Something that reads one source: a process, or for drawn scenes this thread."""

    def parcels(self) -> Iterator[Parcel]:
        """OPENED, then frames. Raises SourceError."""

    def require_key(self) -> None:
        """Make the next frame a full one."""

    def close(self) -> None:
        """End it at once and free everything."""


class Supervisor:
    """Runs one camera definition in a thread of its own, from `start` to `stop`."""

    def __init__(
        self, camera: Camera, surroundings: Surroundings, before: Supervisor | None = None
    ) -> None:
        self.camera = camera
        self._with = surroundings
        self._before = before  # of the same camera: its session ends before this one begins
        self._lives = kind_of(camera.source) in ("stream", "device")  # and is tried again for ever
        self._stop = threading.Event()
        self._ends: Ends = "all"
        self._lock = threading.Lock()  # a process is killed either before it starts or after
        self._child: Child | None = None
        self._publisher: Publisher | None = None
        self._state: State = "starting"
        self._error: str | None = None
        self._facts: Facts | None = None
        self._reconnects = self._frames = self._dropped = 0
        self._recent: deque[float] = deque(maxlen=64)  # when the last frames came
        self._up_since = 0.0
        self._thread = threading.Thread(target=self._live, name=f"camera-{camera.id}", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self, ends: Ends = "all") -> None:
        """Stop capturing now; returns at once."""
        with self._lock:
            self._ends = ends
            self._stop.set()
            if self._child is not None:
                self._child.kill()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread is over; true if it is."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def status(self) -> CameraStatus:
        """A snapshot, from any thread."""
        recent, publisher = list(self._recent), self._publisher
        rate = 0.0
        if self._state == "up" and len(recent) > 1:
            rate = (len(recent) - 1) / max(time.monotonic() - recent[0], 1e-3)
        frames, dropped = (publisher.published, publisher.dropped) if publisher else (0, 0)
        return CameraStatus(
            self.camera.id, redact(self.camera.source), self._state, rate, self._frames + frames,
            self._dropped + dropped, self._reconnects, self._error, self._facts,
        )  # fmt: skip

    # --- in the thread ----------------------------------------------------------------------------

    def _live(self) -> None:
        if self._before is not None:
            self._before.join()
            self._before = None
        attempt = 0
        while not self._stop.is_set():
            try:
                self._run()
            except SourceError as error:
                self._troubled(error)
                if self._stop.is_set() or not self._lives:
                    return
            except Exception as error:
                log.exception("camera %s: a bug ends its capture", self.camera.id)
                self._became("failed", f"{type(error).__name__}: {error}")
                return
            else:
                if not self._stop.is_set():
                    self._became("ended", None)
                return
            steady = self._up_since and time.monotonic() - self._up_since > _STEADY_SECONDS
            attempt = 0 if steady else attempt + 1
            self._wait(attempt)

    def _wait(self, attempt: int) -> None:
        settings = self._with.settings
        longest = min(settings.retry_seconds * 2.0 ** min(attempt, 30), settings.max_retry_seconds)
        if not self._stop.wait(longest * random.uniform(0.5, 1)):
            self._reconnects += 1
            metrics.reconnects_total.labels(self.camera.id).inc()

    def _run(self) -> None:
        """One capture run to the end of the source. Raises SourceError."""
        self._up_since = 0.0
        self._recent.clear()
        run = self._started()
        publisher = Publisher(
            self.camera, self._with.topic, self._with.outbox, self._stop, run.require_key
        )
        self._publisher = publisher
        reason = "lost"
        try:
            for parcel in run.parcels():
                if self._stop.is_set():
                    break
                self._take(parcel, publisher)
            reason = "end"
        except SourceError as error:
            self._troubled(error)  # at once: closing the session may have to wait for room
            raise
        finally:
            run.close()
            if self._stop.is_set():
                reason = "stopped"
            live = self._facts is not None and self._facts.live
            if self._ends == "all" or (self._ends == "live" and live):
                recording = None if self._lives else session_of(self.camera, None, 0)
                publisher.end(reason, recording, self._with.settings.flush_timeout_seconds)
            self._publisher = None
            self._frames += publisher.published
            self._dropped += publisher.dropped

    def _started(self) -> Run:
        opened = Opened(self.camera, self._with.settings.secrets_folder)
        order = Order(
            camera=self.camera,
            address=opened.address,
            generation=self._with.generation(),
            settings=self._with.settings,
        )
        if kind_of(self.camera.source) == "synthetic":
            return Recorder(order)
        with self._with.starting:
            with self._lock:
                if self._stop.is_set():
                    raise SourceError("stopped before it began")
                self._child = child = Child(order, opened.redact)
            try:
                child.started()
            except SourceError:
                child.close()
                raise
        return child

    def _take(self, parcel: Parcel, publisher: Publisher) -> None:
        if parcel.kind is Kind.OPENED:
            self._facts = FACTS.validate_json(parcel.payload)
            # A loop without pace is for tests: it wants every frame, as a file does.
            publisher.may_drop = self._facts.live and (
                self._with.settings.pace or self._facts.kind in ("stream", "device")
            )
            return
        publisher.frame(parcel)
        self._recent.append(time.monotonic())
        if not self._up_since:
            self._up_since = self._recent[-1]
            self._became("up", None)

    def _troubled(self, error: SourceError) -> None:
        if not self._stop.is_set():  # else it is no trouble but our own doing
            self._became("down" if self._lives else "failed", str(error))

    def _became(self, state: State, error: str | None) -> None:
        if (state, error) != (self._state, self._error):
            level = logging.WARNING if error else logging.INFO
            log.log(level, "camera %s is %s%s", self.camera.id, state, f": {error}" * bool(error))
        self._state, self._error = state, error
        if state == "ended":
            metrics.camera_up.remove(
                self.camera.id
            )  # or it would be taken for a camera that is down
        else:
            metrics.camera_up.labels(self.camera.id).set(state == "up")
