"""The parent's end of a capture process: start it, listen with a time limit, kill it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import time
from collections import deque
from collections.abc import Callable, Iterator

from ingest.nursery import birth
from ingest.pipe import KEY_PLEASE, Kind, Order, Parcel, Unpacker
from shared.errors import SourceError

_START_SECONDS = 60.0  # for a process to load its libraries on a busy machine
_GRACE_SECONDS = 2.0  # the decoder's own time limits come first: they can say more
_PIPE_BYTES = 1 << 20  # room for a second of frames: fewer switches between the processes
_AT_ONCE = 16  # parcels: whoever asks must not wait for a source that never pauses
_NOISE = re.compile(r"backend is generally available|Failed to initialize VideoCapture|^\s*$")
_ORIGIN = re.compile(r"^(\[[^]]*\] *)+(global [\w.]+:\d+ \w+ *)?")


class Child:
    """One run of `ingest.capture_process`, in a process of its own."""

    def __init__(self, order: Order, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._settings = order.settings
        self._name = redact(order.address)
        self._process = birth()
        self._down, self._up = self._process.down, self._process.up
        self._words = self._process.words
        for fd in (self._up, self._words):
            os.set_blocking(fd, False)
        fcntl.fcntl(self._up, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._poll = select.poll()
        self._poll.register(self._up, select.POLLIN)
        self._poll.register(self._words, select.POLLIN)
        self._unpacker = Unpacker()
        self._early: list[Parcel] = []  # what came along with the first sign of life
        self._said: deque[str] = deque(maxlen=4)
        self._half_line = ""
        with contextlib.suppress(BrokenPipeError):  # dead already: `parcels` will say so
            os.write(self._down, order.model_dump_json().encode() + b"\n")
        os.set_blocking(self._down, False)

    def started(self) -> None:
        """Wait until the process has loaded its libraries. Raises SourceError if it cannot."""
        self._early = self._receive(_START_SECONDS, "the capture process did not start")

    def parcels(self) -> Iterator[Parcel]:
        """OPENED and frames until the source's end.

        Raises SourceError with the source's trouble, or that it was silent for too long, or that
        the process died. While nobody asks for the next parcel no clock runs.
        """
        limit = self._settings.open_timeout_seconds
        while True:
            received, self._early = self._early, []
            if not received:
                received = self._receive(limit + _GRACE_SECONDS, f"no answer in {limit:g} s")
            for parcel in received:
                if parcel.kind is Kind.END:
                    return
                if parcel.kind is Kind.TROUBLE:
                    raise self._trouble(parcel.payload.decode(errors="replace"))
                if parcel.kind is Kind.OPENED:
                    limit = self._settings.read_timeout_seconds
                if parcel.kind is not Kind.ALIVE:
                    yield parcel

    def require_key(self) -> None:
        """Ask for a full frame."""
        with contextlib.suppress(OSError):  # gone, or asked so often that the pipe is full
            os.write(self._down, KEY_PLEASE)

    def kill(self) -> None:
        """End the process at once. May be called from any thread, and twice."""
        self._process.kill()

    def close(self) -> None:
        """Kill, wait, free the pipes."""
        self._process.close()

    def _receive(self, timeout: float, silence: str) -> list[Parcel]:
        """At least one parcel. Raises SourceError after `timeout` seconds, or at the end."""
        until = time.monotonic() + timeout
        parcels: list[Parcel] = []
        while not parcels:
            left = until - time.monotonic()
            if left <= 0:
                raise self._trouble(f"{self._name}: {silence}")
            for fd, _ in self._poll.poll(left * 1000):
                if fd == self._up:
                    parcels += self._read()
                    continue
                data = os.read(fd, _PIPE_BYTES)
                self._listen(data)
                if not data:
                    self._poll.unregister(fd)
        return parcels

    def _read(self) -> list[Parcel]:
        """The parcels that are there now."""
        parcels: list[Parcel] = []
        with contextlib.suppress(BlockingIOError):
            while len(parcels) < _AT_ONCE:
                data = os.read(self._up, self._unpacker.wanted)
                if not data and not parcels:
                    status = self._process.wait()
                    raise self._trouble(f"{self._name}: the capture process died ({status})")
                if not data:
                    break  # met again, and reported, when nothing is left to hand out
                parcel = self._unpacker.feed(data)
                if parcel is not None:
                    parcels.append(parcel)
        return parcels

    def _trouble(self, text: str) -> SourceError:
        """The error, with the last words of the decoder, which often say why."""
        self.kill()
        self._process.wait()
        with contextlib.suppress(OSError):  # nothing more was said
            self._listen(os.read(self._words, _PIPE_BYTES))
        return SourceError("; ".join(dict.fromkeys([self._redact(text), *self._said])))

    def _listen(self, data: bytes) -> None:
        *lines, self._half_line = (self._half_line + data.decode(errors="replace")).split("\n")
        for line in lines:
            words = self._redact(_ORIGIN.sub("", line)).strip()[:300]
            if words and not _NOISE.search(line):
                self._said.append(words)
