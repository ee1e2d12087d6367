"""`citywatch subscribe`: follow the incidents of a deployment on Kafka."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from alerting.subscribe import follow
from citywatch.configuration import sections
from citywatch.view import incident_line
from shared.service import connect, stop_on_signals
from shared.settings import Configuration, KafkaSettings, ServiceSettings
from shared.topics import Topics


def subscribe(
    cameras: Sequence[str],
    labels: Sequence[str],
    json: bool,
    config: Path | None,
    settings: Sequence[str],
) -> int:
    """Print incidents as they open and close, until Ctrl-C; returns the exit code."""
    configuration = Configuration(config, settings).refuse_unknown(*sections())
    kafka = configuration.get(KafkaSettings)
    timeout = configuration.get(ServiceSettings).start_timeout_seconds
    stop = stop_on_signals()
    bus = connect(kafka, None, timeout, stop)
    if bus is None:
        return 0
    console = Console(highlight=False)
    try:
        for event in follow(bus, Topics(kafka.prefix), stop=stop):
            incident = event.incident
            if cameras and incident.camera_id not in cameras:
                continue
            if labels and incident.label not in labels:
                continue
            if json:
                print(jsonlib.dumps(incident.as_json(), separators=(",", ":")))
                sys.stdout.flush()
            else:
                console.print(incident_line(incident))
    finally:
        bus.close()
    return 0
