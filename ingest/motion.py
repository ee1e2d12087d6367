"""How much of the picture moves, and where.

The picture is reduced to 64 x 64 grey cells. A cell moves where it differs from the frame before
by more than noise explains. The map of moving cells is smoothed over time (at 15 fps an
exponential mean of 0.8 old and 0.2 new), and the box of half the picture's width and height that
holds most of it is the region. Causal: only the past is used.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ingest.pictures import Image
from shared.messages import Motion, Region

CELLS = 64
BOX = CELLS // 2
THRESHOLD = 10
"""Grey levels. A cell is the mean of some 50 pixels, so camera noise of 10 levels moves it by 2."""

Thumbnail = npt.NDArray[np.uint8]
"""64 x 64 grey cells."""

_DECAY = 0.8  # of the smoothed map and centre, per 1/15 s
_QUIET = 2.0  # smoothed moving cells in the best box below which the region stays where it is


def grey(image: Image) -> Image:
    """Height x width of a BGR picture; a grey one as it is."""
    if image.ndim == 2:
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def thumbnail(image: Image) -> Thumbnail:
    """The picture as 64 x 64 grey cells, each the mean of the pixels under it.

    Halving by means of 2 x 2 first is four times faster than one area mean from full size.
    """
    small = grey(image)
    height, width = small.shape
    while min(height, width) >= 2 * CELLS:
        height, width = height // 2, width // 2
        small = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
    return np.asarray(cv2.resize(small, (CELLS, CELLS), interpolation=cv2.INTER_AREA), np.uint8)


def moving(before: Thumbnail, now: Thumbnail) -> Thumbnail:
    """1 where a cell moved, else 0; 64 x 64."""
    difference = cv2.absdiff(before, now)
    return np.asarray(cv2.threshold(difference, THRESHOLD, 1, cv2.THRESH_BINARY)[1], np.uint8)


class MotionMeter:
    """Follows the motion of one camera. Give it every sampled frame, in order."""

    def __init__(self, fps: float = 15.0) -> None:
        self._decay = _DECAY ** (15.0 / fps)
        self._before: Thumbnail | None = None
        self._map = np.zeros((CELLS, CELLS), np.float32)
        self._centre = np.array((0.5, 0.5))  # x, y as fractions of the picture

    def update(self, image: Image) -> Motion:
        """The motion at this frame."""
        return self.follow(thumbnail(image))

    def follow(self, now: Thumbnail) -> Motion:
        """As `update`, from a thumbnail that the caller has made already."""
        before, self._before = self._before, now
        if before is None:
            return Motion(0.0, self._region())
        cells = moving(before, now)
        cv2.accumulateWeighted(cells, self._map, 1 - self._decay)
        found = _best_box(self._map)
        if found is not None:
            self._centre = self._decay * self._centre + (1 - self._decay) * found
        return Motion(cv2.countNonZero(cells) / cells.size, self._region())

    def _region(self) -> Region:
        x, y = np.clip(self._centre - 0.25, 0.0, 0.5)
        return float(x), float(y), 0.5, 0.5


def _best_box(smoothed: npt.NDArray[np.float32]) -> npt.NDArray[np.float64] | None:
    """Centre (x, y) of the box that holds most motion; None where there is next to none.

    Where many boxes hold the same (small motion fits into all that reach it) their mean is taken,
    so that what moves lies in the middle of the box and not at its edge.
    """
    total = cv2.integral(smoothed)
    sums = total[BOX:, BOX:] - total[BOX:, :-BOX] - total[:-BOX, BOX:] + total[:-BOX, :-BOX]
    most = sums.max()
    if most < _QUIET:
        return None
    rows, columns = np.nonzero(sums >= 0.98 * most)
    return np.array((columns.mean(), rows.mean())) / CELLS + 0.25
