"""What every source gives: decoded pictures with the time at which they were taken."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""Height x width x 3, BGR."""


class Picture(NamedTuple):
    """One picture of a camera; `captured_at` in nanoseconds since the epoch, never decreasing."""

    captured_at: int
    image: Image
