"""One run of one camera: from its order to parcels, wherever those go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from pydantic import TypeAdapter

from ingest.capture import Shutter
from ingest.pipe import Kind, Order, Parcel
from ingest.playback import Playback
from ingest.sources import Facts, Source, open_source
from shared.cameras import Camera
from shared.codec import encode
from shared.messages import NANOSECONDS, Session

ALIVE_SECONDS = 0.5
"""A source that gives pictures is reported alive this often, however few are sampled."""

FACTS = TypeAdapter(Facts)


class Recorder:
    """Reads one source to its end.

    `alive` is called now and then while pictures come of which none is sampled.
    """

    def __init__(self, order: Order, alive: Callable[[], None] = lambda: None) -> None:
        self._order = order
        self._alive = alive
        self._shutter: Shutter | None = None
        self._live = False
        self._alive_until = 0.0

    def parcels(self) -> Iterator[Parcel]:
        """OPENED, then the frames. Raises SourceError."""
        source = self._open()
        self._live = source.facts.live
        yield Parcel(Kind.OPENED, payload=FACTS.dump_json(source.facts))
        for picture in source.pictures(self._wanted):
            frame = self._started(picture.captured_at).take(picture)
            if frame is not None:
                kind = Kind.UNCHANGED if frame.encoding == "unchanged" else Kind.FULL
                yield Parcel(kind, frame.index, frame.captured_at, encode(frame))

    def require_key(self) -> None:
        """Frames were lost on their way: the next one must be full. From any thread."""
        if self._shutter is not None:
            self._shutter.require_key()

    def close(self) -> None:
        """Nothing to free: a source ends with its iterator."""

    def _open(self) -> Source:
        camera, settings = self._order.camera, self._order.settings

        def opened(start: int) -> Source:
            return open_source(self._order.address, settings, start, camera.fps, small=True)

        if camera.loop:
            source = opened(0)
            return (
                source
                if source.facts.live
                else Playback(source, lambda: opened(0), pace=settings.pace)
            )
        source = opened(start_of(camera))
        if source.facts.kind == "synthetic" and not source.facts.frames:
            return Playback(opened(0), None, pace=settings.pace)
        return source

    def _wanted(self, at: int) -> bool:
        now = time.monotonic()
        if now > self._alive_until:
            self._alive_until = now + ALIVE_SECONDS
            self._alive()
        return self._started(at).wanted(at)

    def _started(self, at: int) -> Shutter:
        if self._shutter is None:
            order = self._order
            session = session_of(order.camera, at if self._live else None, order.generation)
            self._shutter = Shutter(order.camera, session, order.settings)
        return self._shutter


def start_of(camera: Camera) -> int:
    """When the first picture of a recording was taken; nanoseconds, 0 unless stated."""
    return round(camera.start_seconds * NANOSECONDS)


def session_of(camera: Camera, first_at: int | None, generation: int) -> Session:
    """The session whose first picture was taken at `first_at`; of a recording where that is None.

    A live session begins half a slot before its first picture: a camera whose rate is the sampled
    one then stays in the middle of its slots, where jitter does no harm.
    """
    if first_at is None:
        return Session(0, start_of(camera), live=False)
    return Session(generation, first_at - round(0.5 / camera.fps * NANOSECONDS), live=True)
