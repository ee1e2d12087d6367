"""The oldest offset that the windows of each partition need, kept up to date as they move.

Asking every window after every batch would cost ten thousand cameras forty microseconds a message.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from itertools import count

from classifier.window import Window
from shared.bus import Partition
from shared.sessions import Sessions

_Entry = tuple[int, int, tuple[str, str], Window]
"""Offset, a number against ties, the session's key, its window."""


class Pins:
    """A heap per partition. Entries are checked against the truth when they come to the top.

    An entry stands while its session still has that window, and that window that pin.
    """

    def __init__(self, sessions: Sessions[Window]) -> None:
        self._sessions = sessions
        self._heaps: dict[Partition, list[_Entry]] = {}
        self._number = count()

    def note(self, partition: Partition, key: tuple[str, str], window: Window) -> None:
        """Call after `window` has taken a record; key: camera id and session."""
        offset = window.oldest_needed()
        if offset == window.pin:
            return
        window.pin = offset
        if offset is not None:
            heap = self._heaps.setdefault(partition, [])
            heapq.heappush(heap, (offset, next(self._number), key, window))
            if len(heap) > 2 * len(self._sessions) + 64:  # a quiet camera holds up the top
                heap[:] = filter(self._stands, heap)
                heapq.heapify(heap)

    def oldest(self) -> Iterator[tuple[Partition, int]]:
        """Each partition with its smallest pin; those without one are left out."""
        for partition, heap in self._heaps.items():
            while heap and not self._stands(heap[0]):
                heapq.heappop(heap)
            if heap:
                yield partition, heap[0][0]

    def forget(self, partitions: Collection[Partition]) -> None:
        """Their sessions are gone."""
        for partition in partitions:
            self._heaps.pop(partition, None)

    def _stands(self, entry: _Entry) -> bool:
        offset, _, key, window = entry
        return window.pin == offset and self._sessions.get(*key) is window
