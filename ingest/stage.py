"""The registry loop: the cameras of the partitions that we are assigned are those we capture.

Ingest has no worker and no stage in the sense of the other services: its input is a table of
cameras, and its work goes on between two records. It commits nothing; on every assignment, and now
and then, it reads the cameras topic from the beginning.

What ends a capture:
- its definition is removed or changed: the session is closed, reason `stopped`;
- the process stops: so are live sessions. A recording that another worker begins again, with the
  same session and ids, is left without a word: its end would close an incident in the middle;
- its partition goes to another worker, or may have gone, for no poll has succeeded for one session
  time-out: nothing is written, for we write only to what we own, and the new owner's session, of a
  later generation, takes over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ingest.fleet import Fleet
from ingest.outbox import Outbox
from ingest.registry import Registry
from ingest.settings import IngestSettings
from ingest.supervisor import CameraStatus, Ends, Surroundings
from shared.bus import Bus
from shared.errors import Transient
from shared.settings import Configuration, KafkaSettings
from shared.topics import Topics

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.25
_MAX_RECORDS = 1000
_AWAY_SECONDS = 1.0  # the bus reports silence only after a session time-out; a blip is forgiven


def build_worker(bus: Bus, configuration: Configuration, stop: threading.Event) -> IngestWorker:
    """The loop of the ingest service on this bus."""
    topics = Topics(configuration.get(KafkaSettings).prefix)
    return IngestWorker(bus, topics, configuration.get(IngestSettings), stop)


class IngestWorker:
    """Follows the cameras topic and keeps the fleet as it says."""

    def __init__(
        self,
        bus: Bus,
        topics: Topics,
        settings: IngestSettings,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._ends: Ends = "live" if bus.lasting else "all"
        self._stop = stop
        self._clock = clock
        self._consumer = bus.consumer(topics.group("ingest"), [topics.cameras], start="beginning")
        self._outbox = Outbox(bus)
        self._registry = Registry()
        self._generation = 0
        self._fleet = Fleet(
            Surroundings(self._outbox, topics.frames, settings, lambda: self._generation)
        )
        self._read_anew_at = clock() + settings.reload_seconds
        self._away_since: float | None = None
        self.healthy = threading.Event()  # set while we are a member and know our cameras

    def statuses(self) -> list[CameraStatus]:
        """How each camera fares; from any thread."""
        return self._fleet.statuses()

    def run(self) -> None:
        """Loop until stopped; then stop capturing, close the sessions, and flush."""
        try:
            while not self._stop.is_set():
                self.turn()
        except BaseException:  # fenced, for one: another worker has our cameras already
            self._fleet.abandon([status.id for status in self.statuses()])
            raise
        finally:
            self._close()

    def turn(self) -> None:
        """One round: poll, look at what is ours, reconcile, supervise."""
        try:
            self._poll()
        except Transient as error:
            self._away(error)
        else:
            self._away_since = None
            if self._registry.complete and self._generation > 0:
                self._fleet.reconcile(self._registry.cameras())
                self.healthy.set()
        self._outbox.tend()
        self._fleet.tend()

    def _poll(self) -> None:
        consumer, registry = self._consumer, self._registry
        records = consumer.poll(_MAX_RECORDS, _POLL_SECONDS)
        lost = consumer.take_lost()
        self._fleet.abandon(registry.lost(lost))
        registry.assigned(consumer.assigned())
        self._generation = consumer.generation()
        for record in records:
            registry.take(record)
        came_back = lost & registry.partitions
        registry.caught_up({p for p, left in consumer.lag().items() if not left} - came_back)
        if self._clock() >= self._read_anew_at:
            self._read_anew_at = self._clock() + self._settings.reload_seconds
            registry.read_anew()
            came_back = registry.partitions
        if came_back:
            consumer.rewind(came_back, to_beginning=True)

    def _away(self, error: Transient) -> None:
        """The bus does not answer: our partitions may be another's before we hear of it."""
        self.healthy.clear()
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
        captured = [status.id for status in self.statuses()]
        if captured and now - self._away_since >= _AWAY_SECONDS:
            log.warning("captures stop: %s", error)
            self._fleet.abandon(captured)
        self._stop.wait(_POLL_SECONDS)

    def _close(self) -> None:
        self.healthy.clear()
        patience = self._settings.flush_timeout_seconds
        self._fleet.close(patience, self._ends)
        left = self._outbox.flush(patience)
        if left:
            log.warning("%d frames were not acknowledged in %g s", left, patience)
        self._outbox.close()
        self._consumer.close()
