"""The one way of all cameras onto the bus: nothing accepted is lost, and nobody waits inside."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque

from shared.bus import Bus, Delivery, Output, Producer
from shared.errors import Fatal, Transient

log = logging.getLogger(__name__)

_FIRST_REST, _LONGEST_REST = 0.1, 5.0  # seconds before sending again


class Outbox:
    """A producer that many threads share.

    What was accepted and not acknowledged is sent again, per camera from the first such record
    on; until that is done nothing new is accepted, so that live cameras drop and files wait.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._producer: Producer = bus.producer()
        self._lock = threading.Lock()
        self._sent: deque[tuple[Output, Delivery]] = deque()
        self._again: deque[Output] = deque()
        self._attempt = 0
        self._rest_until = 0.0

    def offer(self, output: Output) -> bool:
        """Take the record if there is room for it now."""
        with self._lock:
            self._settle()
            return not self._again and self._send(output)

    def tend(self) -> None:
        """Look after what was sent; call it at least once a second."""
        with self._lock:
            self._settle()

    def flush(self, timeout: float) -> int:
        """Wait until everything is acknowledged; returns how many records are not, in time."""
        until = time.monotonic() + timeout
        while True:
            with self._lock:
                self._settle()
                left = len(self._sent) + len(self._again)
                oldest = self._sent[0][1] if self._sent else None
            if not left or time.monotonic() >= until:
                return left
            if oldest is not None:
                oldest.wait(0.05)
            else:
                time.sleep(0.01)

    def close(self) -> None:
        """Give up what is not acknowledged."""
        with self._lock:
            self._producer.close()

    # --- the caller holds the lock ----------------------------------------------------------------

    def _send(self, output: Output) -> bool:
        try:
            delivery = self._producer.send(output, timeout=0)
        except Transient:  # BusFull among them
            return False
        self._sent.append((output, delivery))
        return True

    def _settle(self) -> None:
        while self._sent and self._sent[0][1].done:
            error = self._sent[0][1].error
            if error is not None:
                self._start_over(error)
                break
            self._sent.popleft()
            self._attempt = 0
        if self._again and time.monotonic() >= self._rest_until:
            while self._again and self._send(self._again[0]):
                self._again.popleft()

    def _start_over(self, error: Exception) -> None:
        if not isinstance(error, Transient):
            raise Fatal(f"a frame can never be sent: {error}") from error
        broken: set[tuple[str, str | None]] = set()
        again = []
        for output, delivery in self._sent:
            if not delivery.done or delivery.error is not None:
                broken.add((output.topic, output.key))
            if (output.topic, output.key) in broken:
                again.append(output)
        self._sent.clear()
        self._again.extendleft(reversed(again))
        self._attempt += 1
        rest = min(_FIRST_REST * 2**self._attempt, _LONGEST_REST) * random.uniform(0.5, 1)
        self._rest_until = time.monotonic() + rest
        log.warning("%d frames not acknowledged, sending again: %s", len(again), error)
        self._producer.close()
        self._producer = self._bus.producer()
