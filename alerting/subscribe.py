"""Following the anomaly topic: what `citywatch subscribe` prints."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator

from alerting.events import IncidentEvent, from_json
from shared.bus import Bus, Consumer, Start
from shared.errors import InvalidMessage
from shared.topics import Topics

log = logging.getLogger(__name__)

_REMEMBERED = 10_000  # ids by which repetitions are known


def follow(
    bus: Bus,
    topics: Topics,
    *,
    camera_id: str | None = None,
    label: str | None = None,
    start: Start = "end",
    stop: threading.Event | None = None,
) -> Iterator[IncidentEvent]:
    """Events of incidents, each id once, from the end of the topic (or its beginning) on.

    The position is taken before this returns. Ends when `stop` is set; another program's events in
    the topic are passed over with a warning.
    """
    consumer = bus.consumer(None, [topics.anomalies], start)
    return _follow(consumer, camera_id, label, stop or threading.Event())


def _follow(
    consumer: Consumer, camera_id: str | None, label: str | None, stop: threading.Event
) -> Iterator[IncidentEvent]:
    seen: OrderedDict[str, None] = OrderedDict()
    try:
        while not stop.is_set():
            for record in consumer.poll(500, 1.0):
                try:
                    event = from_json(record.value)
                except InvalidMessage as error:
                    log.warning("%s offset %d: %s", record.partition, record.offset, error)
                    continue
                if event.id in seen:
                    continue
                seen[event.id] = None
                if len(seen) > _REMEMBERED:
                    seen.popitem(last=False)
                incident = event.incident
                if camera_id in (None, incident.camera_id) and label in (None, incident.label):
                    yield event
    finally:
        consumer.close()
