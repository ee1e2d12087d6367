"""Which live frames are let go, so that what is seen stays new: the newest first.

A frame that waited in the log for longer than a tenth of `limit` is late. As soon as a frame has
waited for longer than `limit`, or a partition's frames have been late for that long, every
partition that is late jumps: what it holds at that moment is shed, and it goes on with the newest.
All of them together, for they stand in line for one reader. So

    no picture that waited for longer than `limit` goes through the network
    when the load falls, frames are late for no longer than `limit`
    gaps are few and long, not many and short: between them whole windows are seen

The second line is what ends a lag that neither grows nor shrinks; the rule is CoDel's (Nichols and
Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012), which keeps queues of routers short.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from shared.bus import Partition

_LATE = 0.1
"""Share of the limit beyond which a frame is late."""


@dataclass(slots=True)
class _Backlog:
    """How a partition fares. Seconds of the reader's clock."""

    seen_at: float
    late_since: float | None = None
    jump_to: float = 0.0  # what the broker took before is shed


class Shedding:
    """Says of each live frame whether it is shed. Any thread may ask."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit = limit_seconds
        self._backlogs: dict[Partition, _Backlog] = {}
        self._lock = threading.Lock()

    def __call__(self, partition: Partition, appended_at: float, now: float) -> bool:
        """Whether a frame that the broker took at `appended_at` is shed `now`, both in seconds."""
        with self._lock:
            backlog = self._backlogs.setdefault(partition, _Backlog(now))
            if now - backlog.seen_at > self._limit:
                backlog.late_since = None  # the partition was another's: what it was is over
            backlog.seen_at = now
            if appended_at < backlog.jump_to:
                return True
            age = now - appended_at
            if age <= self._limit * _LATE:
                backlog.late_since = None
                return False
            if backlog.late_since is None:
                backlog.late_since = now
            if age <= self._limit and now - backlog.late_since <= self._limit:
                return False
            self._jump(now)
            return True

    def _jump(self, now: float) -> None:
        for backlog in self._backlogs.values():
            if backlog.late_since is not None:
                backlog.jump_to, backlog.late_since = now, None
