"""Pictures to network inputs, as a bundle's `Input` describes. Serving and training both use it.

A network input is uint8 (size, size, 3). `rgb`: the picture. `difference`: |grey(t) - grey(t - d)|
for three distances d, as channels. `flow`: how far each pixel has come since t - d, across and
down, and the difference, for one d. A step without a picture close enough to t - d has no input,
for a longer distance would look like violence. All are cut from the whole picture or from the
region that moves.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from shared.bundle import Input
from shared.messages import Motion

Image = npt.NDArray[np.uint8]
_MILLISECOND = 1_000_000  # nanoseconds
_NO_FLOW = 128


class Box(NamedTuple):
    """A cut, in pixels."""

    left: int
    top: int
    width: int
    height: int

    def of(self, picture: Image) -> Image:
        """The part of the picture inside the box (a view)."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]


def box(description: Input, motion: Motion, height: int, width: int) -> Box:
    """Where the network looks: `region_share` of each side around the centre of the motion."""
    if description.region == "whole":
        return Box(0, 0, width, height)
    wide = max(1, round(description.region_share * width))
    high = max(1, round(description.region_share * height))
    left, top, region_width, region_height = motion.region
    x = round((left + region_width / 2) * width - wide / 2)
    y = round((top + region_height / 2) * height - high / 2)
    return Box(min(max(x, 0), width - wide), min(max(y, 0), height - high), wide, high)


def grey(picture: Image) -> Image:
    """Grey (H, W) of a BGR picture; a grey one as it is."""
    if picture.ndim == 2:
        return picture
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def resized(image: Image, size: int) -> Image:
    """(size, size, 3). Averages where it shrinks below half, so that small motion survives.

    Down to half bilinear passes over no pixel, and takes a quarter of an area mean's time; the
    features of a half's area mean have a cosine of 0.9997 to those.
    """
    height, width = image.shape[:2]
    far = max(height, width) > 2 * size
    method = cv2.INTER_AREA if far else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method), np.uint8)


class _Past(NamedTuple):
    captured_at: int
    picture: Image  # grey, whole
    offset: int


class Inputs:
    """Makes the inputs of one camera's session, picture by picture in order of time.

    Keeps as many earlier pictures as the longest distance asks for. `offset` names the record that
    a picture came from; `oldest_needed` is the smallest one that the next input may need.
    """

    def __init__(self, description: Input) -> None:
        self._description = description
        self._past: deque[_Past] = deque()
        distances = description.distances_ms
        self._distances = tuple(round(d * _MILLISECOND) for d in distances)
        self._tolerance = round(description.tolerance_ms * _MILLISECOND)
        self._reach = max(self._distances, default=0) + self._tolerance
        self._moved_at = -self._reach  # when a cell last moved from one picture to the next

    def take(
        self, captured_at: int, picture: Image, motion: Motion, offset: int = 0
    ) -> Image | None:
        """The input of this picture (BGR, or grey if only motion is wanted).

        None: an earlier picture is absent or not at the right distance (reason `history`).
        """
        if self._description.kind == "rgb":
            return self._rgb(picture, motion)
        now = grey(picture)
        image = self._of_motion(captured_at, now, motion)
        self._note(captured_at, now, motion, offset)
        return image

    def stands(self, captured_at: int, picture: Image, motion: Motion, offset: int = 0) -> bool:
        """Whether this unchanged picture (motion only) has the input `still_input`.

        It has unless something moved within reach of the distances: where a movement has just
        ended, the difference to a picture before its end is what has to be seen. Then `take`.
        """
        if motion.energy > 0 or captured_at - self._moved_at <= self._reach:
            return False
        self._note(captured_at, grey(picture), motion, offset)
        return True

    def _note(self, captured_at: int, picture: Image, motion: Motion, offset: int) -> None:
        if motion.energy > 0:
            self._moved_at = captured_at
        if self._past and self._past[-1].picture.shape != picture.shape:
            self._past.clear()  # the camera changed its resolution
        self._past.append(_Past(captured_at, picture, offset))
        while self._past[0].captured_at < captured_at - self._reach:
            self._past.popleft()

    def oldest_needed(self) -> int | None:
        """Smallest offset among the pictures kept; None if there are none."""
        return min((past.offset for past in self._past), default=None)

    def _rgb(self, picture: Image, motion: Motion) -> Image:
        cut = box(self._description, motion, *picture.shape[:2]).of(picture)
        small = resized(cut, self._description.size)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)

    def _of_motion(self, captured_at: int, now: Image, motion: Motion) -> Image | None:
        earlier = [self._nearest(captured_at - distance) for distance in self._distances]
        cut = box(self._description, motion, *now.shape)
        own = cut.of(now)
        pasts = [cut.of(past) for past in earlier if past is not None and past.shape == now.shape]
        if len(pasts) < len(earlier):
            return None
        size = self._description.size
        if self._description.kind == "flow":
            return flow(resized(pasts[0], size), resized(own, size))
        channels = [cv2.absdiff(own, past) for past in pasts]
        return resized(np.asarray(cv2.merge(channels), np.uint8), size)

    def _nearest(self, wanted: int) -> Image | None:
        best = min(self._past, key=lambda past: abs(past.captured_at - wanted), default=None)
        if best is None or abs(best.captured_at - wanted) > self._tolerance:
            return None
        return best.picture


def flow(before: Image, now: Image) -> Image:
    """(H, W, 3) of two grey pictures (H, W): flow across, flow down, absolute difference.

    Flow in pixels, u, is written as 128 + 40 sign(u) ln(1 + 2 |u|): a twentieth of a pixel shows,
    and ten pixels still fit. Dense inverse search (Kroeger et al., ECCV 2016) with OpenCV's `FAST`
    preset: without its refinement fights are recognised no better than by differences
    (docs/experiments.md, 16).
    """
    pair = np.ascontiguousarray(before), np.ascontiguousarray(now)
    # A flow handed in would be taken for a first guess.
    moved = _searches.of(now.shape).calc(*pair, None)  # type: ignore[call-overload]
    steps = np.abs(moved)
    steps *= 2.0
    np.log1p(steps, out=steps)
    steps *= 40.0
    np.copysign(steps, moved, out=steps)
    steps += _NO_FLOW
    np.clip(steps, 0, 255, out=steps)
    return np.asarray(cv2.merge([steps.astype(np.uint8), cv2.absdiff(now, before)]), np.uint8)


class _Searches(threading.local):
    """A search has buffers, so each thread has its own; and the size of a picture that is too
    small for its settings changes them for good, so each size has, too.
    """

    def __init__(self) -> None:
        self._of: dict[tuple[int, ...], cv2.DISOpticalFlow] = {}

    def of(self, shape: tuple[int, ...]) -> cv2.DISOpticalFlow:
        if shape not in self._of:
            cv2.setNumThreads(1)  # the other cores are the network's
            self._of[shape] = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        return self._of[shape]


_searches = _Searches()


def still_input(description: Input) -> Image:
    """The input of a picture that does not differ from those before it."""
    image = np.zeros((description.size, description.size, 3), np.uint8)
    if description.kind == "flow":
        image[..., :2] = _NO_FLOW
    return image
