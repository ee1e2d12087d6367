"""From the parcels of one camera to records: what may wait waits, what may not is dropped."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from ingest.outbox import Outbox
from ingest.pipe import Kind, Parcel
from shared import metrics
from shared.bus import Output
from shared.cameras import Camera
from shared.codec import decode, encode
from shared.messages import Encoding, EndOfStream, Frame, Session

BUS_FULL = "bus_full"
AWAITING_KEY = "awaiting_key"
"""Reasons of drops: no room on the bus; an unchanged frame whose full one was dropped."""

_RETRY_SECONDS = 0.005  # a file asks the bus for room this often


class Publisher:
    """Publishes one session of one camera.

    Every sampled frame is published, or counted in `dropped_before` of the next one.
    """

    def __init__(
        self,
        camera: Camera,
        topic: str,
        outbox: Outbox,
        stop: threading.Event,
        key_please: Callable[[], None],
    ) -> None:
        self._camera = camera
        self._topic = topic
        self._outbox = outbox
        self._stop = stop
        self._key_please = key_please
        self._session: str | None = None
        self._encoding: Encoding = "jpeg"  # of full frames, by the first one
        self._next_index = 0
        self._last_at = 0
        self._dropped: Counter[str] = Counter()
        self._awaiting_key = False
        self.may_drop = False  # once the source is known to be live
        self.published = 0
        self.dropped = 0

    def frame(self, parcel: Parcel) -> None:
        """Publish a FULL or UNCHANGED parcel, or drop it."""
        if self._session is None:
            first = decode(parcel.payload, Frame)
            self._session, self._encoding = first.session, first.encoding
        self._next_index, self._last_at = parcel.index + 1, parcel.at
        if self._awaiting_key and parcel.kind is Kind.UNCHANGED:
            self._drop(AWAITING_KEY)
            return
        payload = parcel.payload
        if self._dropped:
            message = decode(payload, Frame)
            payload = encode(replace(message, dropped_before=dict(self._dropped)))
        if self._sent(Output(self._topic, self._camera.id, payload)):
            self._awaiting_key = False
            self._dropped.clear()
            self.published += 1
            encoding = self._encoding if parcel.kind is Kind.FULL else "unchanged"
            metrics.frames_total.labels(self._camera.id, encoding).inc()
            return
        self._drop(BUS_FULL)
        self._awaiting_key = True
        self._key_please()

    def end(self, reason: str, recording: Session | None, patience_seconds: float) -> None:
        """Close the session.

        `recording` is the session of a file, which has one even if not one frame came; a live run
        without a picture was none.
        """
        if self._session is None:
            if recording is None:
                return
            self._session, self._last_at = str(recording), recording.started_at
        message = EndOfStream(
            self._camera.id, self._session, self._next_index, self._last_at, reason,
            self._camera.lanes, dict(self._dropped),
        )  # fmt: skip
        output = Output(self._topic, self._camera.id, encode(message))
        patience = threading.Event()  # the end is worth waiting for, even when stopping
        for _ in range(int(patience_seconds / _RETRY_SECONDS) + 1):
            if self._outbox.offer(output):
                return
            patience.wait(_RETRY_SECONDS)

    def _sent(self, output: Output) -> bool:
        while not self._outbox.offer(output):
            if self.may_drop or self._stop.wait(_RETRY_SECONDS):
                return False
        return True

    def _drop(self, reason: str) -> None:
        self._dropped[reason] += 1
        self.dropped += 1
        metrics.dropped_total.labels(self._camera.id, reason).inc()
