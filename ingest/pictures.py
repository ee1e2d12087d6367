"""What every source gives: decoded pictures with the time at which they were taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ingest.addresses import Kind
from shared.errors import SourceError

Image = npt.NDArray[np.uint8]
"""Height x width x 3, BGR; or height x width, grey."""

Wanted = Callable[[int], bool]
"""Whether a picture of this time will be used: pixels are converted only then."""

_MISSING_TOLERATED = 0.9  # share of the frames that a file promises; containers round


class Picture(NamedTuple):
    """One picture of a camera; `captured_at` in nanoseconds since the epoch, never decreasing."""

    captured_at: int
    image: Image


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a source once it is open. Sizes in pixels; `fps` 0 where unknown."""

    kind: Kind
    live: bool
    width: int = 0
    height: int = 0
    fps: float = 0.0
    codec: str = ""
    frames: int = 0
    """How many pictures there are; 0: unknown, or no end."""


def check_end(name: str, facts: Facts, decoded: int, given: int) -> None:
    """Raise SourceError if the end of the pictures is not the end of the source."""
    if facts.live:
        raise SourceError(f"{name}: gives no more pictures")
    if not given:
        raise SourceError(f"{name}: not one picture in it can be decoded")
    if decoded < facts.frames * _MISSING_TOLERATED:
        raise SourceError(f"{name}: damaged or cut off: {decoded} of {facts.frames} frames read")
