"""When a picture was taken: from what a file states, or from what a stream states and our clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from shared.messages import NANOSECONDS

_MILLISECOND = NANOSECONDS // 1000
_USUAL_RATE = 25.0  # where a file states none
_SLEW = 1 / 64  # share of the difference taken over with each picture, at most 1 ms
_FAR_BEHIND = NANOSECONDS  # no jitter, no drift: a backlog, or a stream that stood still
_STAYS = 8  # pictures that tell the one from the other: a backlog shrinks from each to the next


class Clock(Protocol):
    """Turns a picture's stated position into its time."""

    def time(self, position_ms: float) -> int:
        """Nanoseconds, never less than at the picture before. Ask once per picture, in order."""


class FileClock:
    """Times since the first picture of a file.

    Containers that store milliseconds round 1/15 s to 0.067 s, which would put pictures in wrong
    slots: a position within a millisecond of number / rate is taken as exactly that. A file
    without positions, or whose positions stand still, is timed by number / rate alone.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps or _USUAL_RATE
        self._number = -1
        self._first = 0.0
        self._last = 0

    def time(self, position_ms: float) -> int:
        self._number += 1
        exact = self._number / self._fps * 1000
        if self._number == 0:
            self._first = position_ms if math.isfinite(position_ms) else 0.0
            return 0
        stated = position_ms - self._first
        if not math.isfinite(stated) or stated <= 0 or abs(stated - exact) <= 1:
            stated = exact
        self._last = max(self._last, round(stated * _MILLISECOND))
        return self._last


class StreamClock:
    """Wall-clock times of a live stream, without the jitter of the network.

    The stream's own positions tell how far apart pictures are, our clock when they are. The offset
    between the two is the least that was seen, for the network can only delay; it rises slowly, so
    that the camera's clock may drift. A backlog after a stall keeps the times at which it was
    taken; a stream that stays behind has been standing still, and begins anew.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._offset = 0.0  # our clock minus the stream's, nanoseconds
        self._position = -math.inf
        self._behind: list[float] = []  # offsets of the last pictures, while far too large
        self._last = 0

    def time(self, position_ms: float) -> int:
        now = self._now()
        stated = position_ms * _MILLISECOND if math.isfinite(position_ms) else -math.inf
        if stated <= self._position or stated == -math.inf:
            at = now  # no positions, or they began again
            self._offset = now - stated if math.isfinite(stated) else 0.0
        else:
            first = self._position == -math.inf
            self._follow(now - stated, first)
            at = round(stated + self._offset)
        self._position = stated
        self._last = max(self._last, at)
        return self._last

    def _follow(self, offset: float, first: bool) -> None:
        self._behind = [*self._behind, offset] if offset - self._offset > _FAR_BEHIND else []
        stays = (
            len(self._behind) >= _STAYS and self._behind[-1] >= self._behind[0] - _FAR_BEHIND / 8
        )
        if first or offset < self._offset or stays:
            self._offset = offset
            self._behind = []
        elif not self._behind:
            self._offset += min((offset - self._offset) * _SLEW, _MILLISECOND)
        self._behind = self._behind[-_STAYS:]
