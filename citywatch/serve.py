"""`citywatch serve`: a site's cameras in one process, for good, without Kafka."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from alerting.events import IncidentData
from alerting.settings import AlertingSettings
from citywatch.cameras import tables
from citywatch.configuration import lane_and_bundle, resolve, served
from citywatch.follow import follow
from citywatch.standalone import Standalone
from citywatch.tally import Seen, Tally
from citywatch.view import incident_line
from shared.cameras import Camera
from shared.errors import InvalidInput, InvalidSettings
from shared.health import HealthServer
from shared.logs import start_logging
from shared.service import stop_on_signals
from shared.settings import ServiceSettings

log = logging.getLogger(__name__)


class Log:
    """Writes incidents to the log as they open and close."""

    def take(self, seen: Seen) -> None:
        """One line for an incident, none for the rest."""
        if isinstance(seen, IncidentData):
            log.info("incident %s", incident_line(seen).plain.strip())

    def tick(self) -> None:
        """Nothing to do between messages."""


def serve(file: Path, settings: Sequence[str], stop: threading.Event | None = None) -> int:
    """Watch the file's cameras until SIGTERM or Ctrl-C; returns the exit code."""
    cameras = [Camera.from_table(table) for table in tables(file)]
    _distinct(cameras)
    configuration = resolve(file, settings, fixed=["alerting.store=sqlite"], defaults=served(file))
    lane, _ = lane_and_bundle(configuration)
    service = configuration.get(ServiceSettings)
    start_logging(service, configuration.get(AlertingSettings))
    stop = stop or stop_on_signals()
    tally = Tally(camera.id for camera in cameras)
    house = Standalone(configuration, lane, cameras)
    with HealthServer(service, lambda: house.healthy) as health, house:
        log.info(
            "%d cameras, lane %s, incidents in %s, metrics and health on http://%s:%d",
            len(cameras), lane, configuration.get(AlertingSettings).sqlite_file, service.host,
            health.port,
        )  # fmt: skip
        follow(house, tally, [Log()], stop)
    log.info("stopped; everything in hand is worked off")
    return 0


def _distinct(cameras: Sequence[Camera]) -> None:
    ids = [camera.id for camera in cameras]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise InvalidSettings(f"[[cameras]] id: {', '.join(twice)} stands twice")
    for camera in cameras:
        if camera.secret is None and "{secret}" in camera.source:
            raise InvalidInput(f"[[cameras]] {camera.id}: its source needs a secret, none is named")
