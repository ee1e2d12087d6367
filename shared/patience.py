"""Waiting that never stops polling, with longer waits while trouble lasts."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from shared.errors import BusClosed, CitywatchError

log = logging.getLogger(__name__)

SLICE = 0.25
"""Seconds; no wait lasts longer without a look at the bus and at the stop event."""

_FIRST, _LONGEST = 0.1, 10.0  # seconds of back-off


class Undone(CitywatchError):
    """Told to stop, and what is in hand cannot be finished in time: a restart repeats it."""


class Patience:
    """How a worker waits.

    `tick` is called at least every SLICE seconds of any wait: it keeps the group membership
    alive. Once `stop` is set, waiting goes on for at most `grace_seconds` more.
    """

    def __init__(
        self,
        name: str,
        stop: threading.Event,
        grace_seconds: float,
        tick: Callable[[], None],
        healthy: threading.Event,
    ) -> None:
        self._name = name
        self._stop = stop
        self._grace = grace_seconds
        self._tick = tick
        self._healthy = healthy
        self._attempt = 0
        self._deadline: float | None = None

    def ending(self) -> None:
        """From now on waiting goes on for `grace_seconds` at most."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._grace

    def tick(self) -> None:
        """Keep polling; raises Undone when told to stop too long ago."""
        if self._stop.is_set():
            self.ending()
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise Undone(f"not finished within {self._grace:g} s of being told to stop")
        self._tick()

    def back_off(self, trouble: object) -> None:
        """Wait with jitter, longer each time until `recovered`; cut short by the stop event."""
        self._healthy.clear()
        if isinstance(trouble, BusClosed):
            raise Undone(str(trouble)) from trouble
        wait = min(_FIRST * 2**self._attempt, _LONGEST) * random.uniform(0.5, 1)
        if self._attempt == 0:  # said once; the retries of one trouble say nothing new
            log.warning("%s: %s; trying again", self._name, trouble)
        self._attempt = min(self._attempt + 1, 16)
        until = time.monotonic() + wait
        stopping = self._stop.is_set()
        while (left := until - time.monotonic()) > 0:
            if stopping:
                time.sleep(min(left, SLICE))
            elif self._stop.wait(min(left, SLICE)):
                return
            self.tick()

    def recovered(self) -> None:
        """Records flow (again)."""
        if self._attempt:
            log.info("%s: records flow again", self._name)
        self._attempt = 0
        if not self._stop.is_set():
            self._healthy.set()
