"""What a capture process and its parent say to each other.

Down (the child's standard input): one line of JSON, the `Order`, which holds the credentials and
is therefore never on the command line; then a byte each time the parent wants a full frame. When
the pipe closes the child ends, so that none outlives its parent.

Up (the child's standard output): parcels, each a header and a payload.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from pydantic import BaseModel, ConfigDict

from ingest.settings import IngestSettings
from shared.cameras import Camera

KEY_PLEASE = b"k"
_HEADER = struct.Struct(">BqqI")


class Kind(IntEnum):
    """What is in a parcel."""

    ALIVE = 0
    """Nothing: the process runs, or the source gave pictures that were not sampled."""
    OPENED = 1
    """JSON of `Facts`: the source is open."""
    FULL = 2
    """An encoded Frame with its picture."""
    UNCHANGED = 3
    """An encoded Frame without."""
    END = 4
    """Nothing: the source is over."""
    TROUBLE = 5
    """Text: why the source cannot be read, or not any further."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """`index` and `at` are the frame's index and time, so that nobody has to decode it."""

    kind: Kind
    index: int = 0
    at: int = 0
    payload: bytes = b""

    def pack(self) -> tuple[bytes, bytes]:
        """Header and payload: a picture is not copied to be joined to its header."""
        return _HEADER.pack(self.kind, self.index, self.at, len(self.payload)), self.payload


class Unpacker:
    """Makes parcels of what a pipe gives. Read at most `wanted` bytes, feed them, and so on.

    Nothing is read beyond the part that is asked for, so that a payload which comes in one piece
    is never copied.
    """

    def __init__(self) -> None:
        self._header: tuple[Kind, int, int] | None = None
        self._pieces: list[bytes] = []
        self.wanted = _HEADER.size

    def feed(self, data: bytes) -> Parcel | None:
        """The parcel that is complete now. ValueError if the bytes make no sense."""
        if len(data) > self.wanted:
            raise ValueError(f"{len(data)} bytes, {self.wanted} were wanted")
        self._pieces.append(data)
        self.wanted -= len(data)
        if self.wanted:
            return None
        whole = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        if self._header is None:
            kind, index, at, size = _HEADER.unpack(whole)
            self._header = Kind(kind), index, at
            self.wanted = size
            if size:
                return None
            whole = b""
        parcel = Parcel(*self._header, whole)
        self._header, self.wanted = None, _HEADER.size
        return parcel


class Order(BaseModel):
    """What a capture process is told to do. Holds credentials: never logged, never shown."""

    model_config = ConfigDict(frozen=True)

    camera: Camera
    address: str
    generation: int = 0
    settings: IngestSettings
