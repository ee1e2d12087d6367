"""When a picture was taken: from what a file states, or from what a stream states and our clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from shared.messages import NANOSECONDS

_MILLISECOND = NANOSECONDS // 1000
_USUAL_RATE = 25.0  # where a file states none
_REANCHOR = NANOSECONDS  # a stream that is this far off has jumped, not drifted
_SLEW = 1 / 64  # share of the difference to our clock that is taken over with each picture


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

    The stream's own positions tell how far apart pictures are, our clock when they are: the
    offset between the two follows slowly, so that the camera's clock may drift, and anew where
    the stream jumps by more than a second.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._offset: float | None = None  # our clock minus the stream's, nanoseconds
        self._position = -math.inf
        self._last = 0

    def time(self, position_ms: float) -> int:
        now = self._now()
        stated = position_ms * _MILLISECOND
        if not math.isfinite(stated) or stated <= self._position:
            self._offset = None  # no positions, or they began again
            at = now
        else:
            difference = now - stated
            if self._offset is None or abs(difference - self._offset) > _REANCHOR:
                self._offset = difference
            else:
                self._offset += (difference - self._offset) * _SLEW
            at = round(stated + self._offset)
        self._position = stated if math.isfinite(stated) else -math.inf
        self._last = max(self._last, at)
        return self._last
