"""All cameras of one worker: who is captured, and how each of them fares."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import get_args

from ingest.publisher import AWAITING_KEY, BUS_FULL
from ingest.supervisor import CameraStatus, Ends, Supervisor, Surroundings
from shared import metrics
from shared.cameras import Camera
from shared.messages import Encoding


class Fleet:
    """Starts, changes and stops captures. Used by one thread; `statuses` by any."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._running: dict[str, Supervisor] = {}
        self._leaving: dict[str, Supervisor] = {}  # stopped, their threads not over yet

    def reconcile(self, cameras: Mapping[str, Camera]) -> None:
        """Make these the cameras that are captured; what has not changed goes on undisturbed."""
        for name in self._running.keys() - cameras.keys():
            self._leave(name, "all")
        for name, camera in cameras.items():
            running = self._running.get(name)
            if running is not None and running.camera == camera:
                continue
            if running is not None:
                self._leave(name, "all")
            supervisor = Supervisor(camera, self._surroundings, self._leaving.get(name))
            self._running = {**self._running, name: supervisor}
            supervisor.start()

    def abandon(self, names: Collection[str]) -> None:
        """Stop without a word: these cameras are another worker's, who starts new sessions."""
        for name in self._running.keys() & set(names):
            self._leave(name, "none")

    def tend(self) -> None:
        """Forget what is over, and count; call it about once a second."""
        for name in [name for name, supervisor in self._leaving.items() if supervisor.join(0)]:
            del self._leaving[name]
            if name not in self._running:
                _forget(name)
        states = [status.state for status in self.statuses()]
        metrics.cameras.labels("up").set(states.count("up"))
        # A recording that came to its end is neither up nor down: nobody need be woken.
        metrics.cameras.labels("down").set(sum(s not in ("up", "ended") for s in states))

    def statuses(self) -> list[CameraStatus]:
        """One per camera, by id."""
        running = self._running  # replaced, never changed: other threads may look
        return [running[name].status() for name in sorted(running)]

    def close(self, timeout: float, ends: Ends) -> None:
        """Stop everything and wait at most `timeout` seconds until the last sessions are closed."""
        for name in list(self._running):
            self._leave(name, ends)
        until = time.monotonic() + timeout
        for supervisor in self._leaving.values():
            supervisor.join(max(until - time.monotonic(), 0))
        self.tend()

    def _leave(self, name: str, ends: Ends) -> None:
        supervisor = self._running[name]
        supervisor.stop(ends)
        self._running = {n: s for n, s in self._running.items() if n != name}
        self._leaving[name] = supervisor


def _forget(camera: str) -> None:
    """A camera that is gone has no metrics."""
    metrics.camera_up.remove(camera)
    metrics.reconnects_total.remove(camera)
    for encoding in get_args(Encoding):
        metrics.frames_total.remove(camera, encoding)
    for reason in (BUS_FULL, AWAITING_KEY):
        metrics.dropped_total.remove(camera, reason)
