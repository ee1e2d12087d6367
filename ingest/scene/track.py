"""Motion by key frames: what every performer of an act follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ingest.scene.view import Array


class Track:
    """Rows of numbers at rising times, joined smoothly; absent outside them."""

    def __init__(self, times: Sequence[float], rows: Sequence[Array] | Array) -> None:
        self._times = np.asarray(times, dtype=np.float64)
        self._rows = np.asarray(rows, dtype=np.float64)
        if len(self._times) != len(self._rows) or (np.diff(self._times) < 0).any():
            raise ValueError("times must rise and have a row each")
        self.start, self.end = float(self._times[0]), float(self._times[-1])

    def at(self, time: float) -> Array | None:
        """The row at `time` in seconds, (K,); None before the first and after the last."""
        if not self.start <= time <= self.end:
            return None
        after = int(np.searchsorted(self._times, time, side="right"))
        if after >= len(self._times):
            last: Array = self._rows[-1]
            return last
        before = after - 1
        share = (time - self._times[before]) / (self._times[after] - self._times[before])
        row: Array = self._rows[before] + share * (self._rows[after] - self._rows[before])
        return row
