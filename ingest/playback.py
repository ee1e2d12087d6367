"""Recordings and drawn scenes played as if they were live cameras."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from ingest.pictures import Picture
from ingest.sources import Source, Wanted
from shared.errors import SourceError
from shared.messages import NANOSECONDS

_TOO_LATE = NANOSECONDS
"""Beyond it time is skipped, as a camera that is read too slowly loses pictures."""


class Playback:
    """Plays a source on the wall clock at its own speed, again and again where `again` opens it.

    The source's own times begin at 0.

    Without `pace` it runs as fast as it is read, its times running ahead of the clock.
    """

    def __init__(
        self,
        source: Source,
        again: Callable[[], Source] | None,
        *,
        pace: bool = True,
        now: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.facts = replace(source.facts, live=True)
        self._source = source
        self._again = again
        self._pace = pace
        self._now = now
        self._sleep = sleep
        self._origin = 0  # when the source's time 0 was, on the wall clock

    def __iter__(self) -> Iterator[Picture]:
        return self.pictures(lambda at: True)

    def pictures(self, wanted: Wanted) -> Iterator[Picture]:
        source = self._source
        self._origin = self._now()
        while True:
            last, step = -1, NANOSECONDS // 15
            try:
                for picture in source.pictures(lambda at: wanted(self._origin + at)):
                    if last >= 0:
                        step = picture.captured_at - last
                    last = picture.captured_at
                    self._wait(last)
                    yield Picture(self._origin + last, picture.image)
            except SourceError:
                if last < 0:  # damage at its end is no reason not to play the rest
                    raise
            if self._again is None or last < 0:
                return
            self._origin += last + step
            source = self._again()

    def _wait(self, since: int) -> None:
        """Sleep until the picture `since` the beginning is due; if that is long past, skip."""
        if not self._pace:
            return
        ahead = self._origin + since - self._now()
        if ahead > 0:
            self._sleep(ahead / NANOSECONDS)
        elif ahead < -_TOO_LATE:
            self._origin -= ahead
