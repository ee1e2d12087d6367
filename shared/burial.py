"""Putting records aside: dead letters, and how many of them are too many."""

from __future__ import annotations

import logging
import time
from collections import deque

from shared import metrics
from shared.bus import Output, Record, dead_letter
from shared.errors import TooManyDeadLetters

log = logging.getLogger(__name__)


class Burial:
    """Makes dead letters, at most `per_minute` of them."""

    def __init__(self, name: str, topic: str, per_minute: int) -> None:
        self._name = name
        self._topic = topic
        self._limit = per_minute
        self._times: deque[float] = deque()

    def letter(self, record: Record, reason: str, error: Exception | None = None) -> Output:
        """The record's dead letter; raises TooManyDeadLetters."""
        where = f"{record.partition.topic}/{record.partition.number} offset {record.offset}"
        log.warning("%s: %s is put aside: %s", self._name, where, reason, exc_info=error)
        now = time.monotonic()
        self._times.append(now)
        while self._times[0] < now - 60:
            self._times.popleft()
        if len(self._times) > self._limit:
            raise TooManyDeadLetters(
                f"{self._name}: more than {self._limit} dead letters within a minute; look at "
                f"{self._topic} before starting again"
            )
        metrics.dead_letters_total.labels(self._name).inc()
        return dead_letter(self._topic, record, reason)
