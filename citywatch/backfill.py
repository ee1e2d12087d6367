"""`citywatch backfill`: a recording through the live path of a deployment, as its camera's.

Its frames are a session of their own, named after the stated start: the same recording gives the
same prediction ids whenever it is scored, and an incident that is known is not recorded again.
They wait for room and are never shed; no more of them are ahead of the slowest lane than it takes
in `LEAD_SECONDS`, for the live cameras of the same partition stand in line behind them, and would
be shed in their place if it were for long.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from alerting.events import IncidentData
from citywatch.answers import Incidents, LaneAnswers
from citywatch.configuration import lane_and_bundle
from citywatch.deployment import Deployment
from citywatch.jsonlines import print_json
from citywatch.sources import cameras_of, ends
from citywatch.tally import prediction_fields
from citywatch.view import incident_line
from ingest.addresses import Opened
from ingest.child import Child
from ingest.outbox import Outbox
from ingest.pipe import Kind, Order
from ingest.publisher import Publisher
from ingest.recorder import FACTS, session_of
from ingest.settings import IngestSettings
from shared.cameras import Camera
from shared.errors import InvalidInput, SourceError, Transient, Unavailable

LEAD = 500
"""Frames that may be ahead of the slowest lane, at most, ..."""
LEAST = 50
"""... and at any rate."""
LEAD_SECONDS = 2.0
_STILL_THERE_SECONDS = 10.0
"""However long the line: after so long a frame goes out, or the session would count as silent."""
_LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Wish:
    """What the command line asks for."""

    recording: str
    camera_id: str
    start: str
    lanes: tuple[str, ...] = ()
    patience_seconds: float = 120.0
    json: bool = False


def backfill(there: Deployment, wish: Wish, stop: threading.Event) -> int:
    """Publish, wait, print the summary; returns the exit code.

    Raises InvalidInput for what cannot be read at all, Unavailable if the services of a lane do
    not work.
    """
    camera = _camera(there, wish)
    lanes = wish.lanes or camera.lanes or (lane_and_bundle(there.configuration)[0],)
    with _Run(there, camera, lanes, wish, stop) as run:
        run.publish()
        run.wait()
    return run.report()


def _camera(there: Deployment, wish: Wish) -> Camera:
    """The recording as a camera: rate and lanes are the registered camera's, if there is one."""
    if not ends(wish.recording):
        raise InvalidInput(f"{wish.recording}: not a recording; name a file or a folder")
    recording = cameras_of([wish.recording], start=wish.start)[0]
    if recording.start_seconds > time.time():
        raise InvalidInput(f"--start {wish.start}: lies in the future")
    table = recording.model_dump() | {"id": wish.camera_id, "lanes": wish.lanes}
    known = there.cameras().get(wish.camera_id)
    if known is not None:
        table |= {"fps": known.fps, "lanes": wish.lanes or known.lanes}
    return Camera.from_table(table)


class _Run:
    """One recording on its way."""

    def __init__(
        self,
        there: Deployment,
        camera: Camera,
        lanes: tuple[str, ...],
        wish: Wish,
        stop: threading.Event,
    ) -> None:
        self._settings = there.configuration.get(IngestSettings)
        self._camera, self._wish, self._stop = camera, wish, stop
        self._session = session_of(camera, None, 0)
        session = str(self._session)
        self._lanes = [LaneAnswers(there, name, camera.id, session) for name in lanes]
        self._incidents = Incidents(there, lanes, camera.id, session)
        self._outbox = Outbox(there.bus)
        self._topic = there.topics.frames
        self._frames = 0
        self._end_index = 0
        self._trouble: str | None = None
        self._stopped = False
        self._begun = self._next_look = self._heard = time.monotonic()
        screen = Console(stderr=True, highlight=False)
        out = Console(highlight=False)
        # On one terminal, lines and bars must pass through one console to keep apart.
        self._lines = None if wish.json else screen if out.is_terminal else out
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            console=screen, disable=not screen.is_terminal, transient=True,
        )  # fmt: skip
        self._read = self._progress.add_task("read", total=None)
        self._bars = [self._progress.add_task(name, total=None) for name in lanes]

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
        self._outbox.flush(1.0 if kind is None else 0.0)
        self._outbox.close()

    def publish(self) -> None:
        """Frame after frame to the end of the recording, or as far as it can be read."""
        opened = Opened(self._camera, self._settings.secrets_folder)
        order = Order(camera=self._camera, address=opened.address, settings=self._settings)
        child = Child(order, opened.redact)
        publisher = Publisher(
            self._camera, self._topic, self._outbox, self._stop, child.require_key
        )
        reason = "stopped"
        try:
            child.started()
            self._send(child, publisher)
            if not self._stop.is_set():
                reason = "end"
        except SourceError as error:
            if not publisher.published:
                raise InvalidInput(str(error)) from None
            self._trouble, reason = str(error), "lost"
        finally:
            child.close()
            self._frames = publisher.published
            if self._frames:
                patience = self._settings.flush_timeout_seconds
                publisher.end(reason, self._session, patience)
        if not self._frames and not self._stop.is_set():
            raise InvalidInput(f"{self._wish.recording}: not one picture in it")

    def _send(self, child: Child, publisher: Publisher) -> None:
        for parcel in child.parcels():
            if parcel.kind is Kind.OPENED:
                self._expect(parcel.payload)
                continue
            patience = time.monotonic() + _STILL_THERE_SECONDS
            while not self._stop.is_set() and self._far_ahead() and time.monotonic() < patience:
                self._look()
                self._stop.wait(_LOOK_SECONDS / 5)
            if self._stop.is_set():
                return
            publisher.frame(parcel)
            self._heard = time.monotonic()
            self._end_index = parcel.index + 1
            for lane in self._lanes:
                lane.published(parcel.at)
            self._frames = publisher.published
            if time.monotonic() >= self._next_look:
                self._look()

    def wait(self) -> None:
        """Until every lane has scored everything and alerting has dealt with it."""
        self._heard = time.monotonic()
        while self._frames and not self._stop.is_set():
            self._outbox.tend()
            self._look()
            with suppress(Transient):
                if all(lane.over(self._end_index) for lane in self._lanes):
                    break
            self._stop.wait(_LOOK_SECONDS / 5)
        self._stopped = self._stop.is_set()
        with suppress(Transient):
            while (found := self._incidents.look()) is not None:
                self._show(found)

    def report(self) -> int:
        """Print the summary; returns the exit code."""
        seconds = time.monotonic() - self._begun
        lanes = {
            lane.name: {"predictions": lane.windows, "incidents": self._incidents.opened[lane.name]}
            for lane in self._lanes
        }
        if self._wish.json:
            print_json(
                {
                    "type": "summary", "sources": 1, "frames": self._frames, "dropped": 0,
                    "predictions": sum(lane["predictions"] for lane in lanes.values()),
                    "incidents": sum(lane["incidents"] for lane in lanes.values()),
                    "seconds": round(seconds, 3), "fps": round(self._frames / seconds, 1),
                    "session": str(self._session), "lanes": lanes,
                }
            )  # fmt: skip
        else:
            assert self._lines is not None
            self._lines.print(
                f"{self._frames:,} frames of {self._camera.id} in {seconds:.1f} s, session "
                f"{self._session}"
            )
            for name, counts in lanes.items():
                self._lines.print(
                    f"{name}: {counts['predictions']:,} windows, new incidents: "
                    f"{counts['incidents'] or 'none'}"
                )
        if self._trouble:
            print(f"read up to here only: {self._trouble}", file=sys.stderr)
        if self._stopped:
            print("stopped; the same command again scores the rest", file=sys.stderr)
        return 1 if self._trouble or self._stopped else 0

    def _far_ahead(self) -> bool:
        return any(
            lane.ahead >= min(LEAD, max(LEAST, lane.takes(LEAD_SECONDS))) for lane in self._lanes
        )

    def _look(self) -> None:
        """Take what has come, at most every quarter of a second; raises Unavailable."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        before = sum(lane.moved for lane in self._lanes)
        with suppress(Transient):  # Kafka is away: no news is no news
            for prediction in (p for lane in self._lanes for p in lane.look()):
                if self._wish.json:
                    print_json(prediction_fields(prediction))
            self._show(self._incidents.look() or [])
        sys.stdout.flush()  # for a reader at the other end of a pipe
        if sum(lane.moved for lane in self._lanes) != before:
            self._heard = now
        if now - self._heard > self._wish.patience_seconds:
            raise Unavailable(self._silence())
        self._progress.update(self._read, completed=self._frames)
        for bar, lane in zip(self._bars, self._lanes, strict=True):
            self._progress.update(bar, completed=self._frames - lane.unseen)

    def _silence(self) -> str:
        """Who is waited for in vain."""
        silent = [
            f"{'alerting' if lane.ended(self._end_index) else 'featurizer and classifier'} of lane "
            f"{lane.name}"
            for lane in self._lanes
        ]
        return (
            f"nothing heard for {self._wish.patience_seconds:g} s: does the {', '.join(silent)} "
            "run? What is published stays; the same command again scores it all"
        )

    def _expect(self, facts: bytes) -> None:
        """Tell the bars how many frames there may be."""
        known = FACTS.validate_json(facts)
        if known.frames and known.fps:
            total = round(known.frames / known.fps * min(self._camera.fps, known.fps))
            for bar in (self._read, *self._bars):
                self._progress.update(bar, total=total)

    def _show(self, incidents: list[IncidentData]) -> None:
        for incident in incidents:
            if self._lines is None:
                print_json(incident.as_json())
            else:
                self._lines.print(incident_line(incident))
