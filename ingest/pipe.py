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

    def pack(self) -> bytes:
        """Header and payload."""
        return _HEADER.pack(self.kind, self.index, self.at, len(self.payload)) + self.payload


class Unpacker:
    """Makes parcels of whatever pieces a pipe gives."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Parcel]:
        """The parcels that are complete now. ValueError if the bytes make no sense."""
        rest = self._rest
        rest += data
        parcels, begin = [], 0
        while len(rest) - begin >= _HEADER.size:
            kind, index, at, size = _HEADER.unpack_from(rest, begin)
            end = begin + _HEADER.size + size
            if len(rest) < end:
                break
            parcels.append(Parcel(Kind(kind), index, at, bytes(rest[begin + _HEADER.size : end])))
            begin = end
        del rest[:begin]
        return parcels


class Order(BaseModel):
    """What a capture process is told to do. Holds credentials: never logged, never shown."""

    model_config = ConfigDict(frozen=True)

    camera: Camera
    address: str
    generation: int = 0
    settings: IngestSettings
