"""From the records of a running pipeline to whoever looks on."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from alerting.events import from_json
from alerting.stage import decode_prediction
from citywatch.standalone import Standalone
from citywatch.tally import Seen, Tally
from shared.bus import Record
from shared.codec import decode
from shared.errors import InvalidMessage
from shared.messages import Frame
from shared.service import now_ns


class Observer(Protocol):
    """Sees every message in turn."""

    def take(self, seen: Seen) -> None:
        """One message."""

    def tick(self) -> None:
        """Called often, messages or not."""


def follow(
    house: Standalone,
    tally: Tally,
    observers: Sequence[Observer],
    stop: threading.Event,
    seconds: float | None = None,
) -> float:
    """Watch until `stop`, for `seconds`, or until every source is over.

    Returns the seconds that it took, from the start of the cameras to the last message. Raises
    what a stage died of.
    """
    begun = last = time.monotonic()
    for records in house.follow():
        if records:
            last = time.monotonic()
        for seen in _messages(house, records):
            if tally.take(seen, now_ns()):
                for observer in observers:
                    observer.take(seen)
        tally.note(house.statuses())
        for observer in observers:
            observer.tick()
        late = seconds is not None and time.monotonic() - begun >= seconds
        if stop.is_set() or late or tally.over:
            house.finish()
    return last - begun


def _messages(house: Standalone, records: Sequence[Record]) -> list[Seen]:
    """Decoded; frames before the predictions on them, and those before their incidents."""
    order = (house.topics.frames, house.topics.predictions(house.lane), house.topics.anomalies)
    messages: list[Seen] = []
    for topic in order:
        for record in records:
            if record.partition.topic == topic:
                with suppress(InvalidMessage):  # counted and kept aside by the stage that reads it
                    messages.append(_message(record, order))
    return messages


def _message(record: Record, order: tuple[str, str, str]) -> Seen:
    frames, predictions, _ = order
    if record.partition.topic == frames:  # whose ends are passed over: they come again below
        return decode(record.value, Frame)
    if record.partition.topic == predictions:
        return decode_prediction(record)
    return from_json(record.value).incident
