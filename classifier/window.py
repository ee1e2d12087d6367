"""The window of one camera's session: pure, no clock, no bus.

Steps advance one by one. A step is *covered* by its vector, by `same_as` the last vector, or, while
a run of missing steps is at most `max_gap` long, by the last vector again. One missing step more,
and the window restarts at the next vector. A window ends at step e if (e + 1) is a multiple of the
stride and all steps from e - length + 1 to e are covered. All of this follows from the records'
content alone, so a replay gives the same windows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.messages import Features, FrameReference, Motion, Vector

_Step = tuple[int, bool, int, int, int, int]
"""One covered step, but for its vector: the offset of the record that the vector came from, whether
it fills a gap, index, captured_at, partition and offset of the frame. A bare tuple of numbers, for
the garbage collector passes those over: ten thousand cameras hold 300,000 of them.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """The first or last step of a window."""

    index: int
    captured_at: int
    frame: FrameReference


@dataclass(frozen=True, slots=True)
class Completed:
    """A window that ended. `features` is float16 (length, D), oldest first."""

    features: npt.NDArray[np.float16]
    first: Step
    last: Step
    gaps: int
    motion: Motion


class Window:
    """Takes one session's features in order of arrival and gives the windows that end.

    Vectors are copied into a ring of `length` rows, the row of a step being step mod length: 30 of
    1280 float16 numbers are 77 kB, in one piece, whatever else the process allocates between them.
    """

    def __init__(self, length: int, stride: int, max_gap: int) -> None:
        self._length, self._stride, self._max_gap = length, stride, max_gap
        self._steps: deque[_Step] = deque(maxlen=length)
        self._ring: npt.NDArray[np.float16] | None = None  # (length, D) while any step is covered
        self._last: Features | None = None  # the newest record taken
        self._vector_step = -1  # the step of the last vector, for same_as
        self._missing = 0  # length of the run of missing steps up to the last step
        self.pin: int | None = None
        """What was last noted of `oldest_needed`; for `pins.py`."""

    @property
    def is_open(self) -> bool:
        """Whether any step is covered."""
        return bool(self._steps)

    def take(self, features: Features, offset: int) -> list[Completed]:
        """Advance to this record's step; steps at or before the last one are passed over."""
        last = self._last
        if last is not None and features.step <= last.step:
            return []
        completed: list[Completed] = []
        if last is not None:
            for step in range(last.step + 1, features.step):
                if not self._steps:
                    break  # nothing to fill with
                self._miss(_between(last, features, step))
                completed += self._ended(step, last.motion)
        self._last = features
        if features.vector is not None:
            self._vector_step, self._missing = features.step, 0
            self._cover(features, offset, features.vector)
        elif self._steps and features.same_as == self._vector_step:
            self._missing = 0
            self._cover(features, self._steps[-1][0])
        else:
            self._miss(features)
        return completed + self._ended(features.step, features.motion)

    def oldest_needed(self) -> int | None:
        """Offset of the record with the vector of the next window's first step; None: nothing.

        Where that step is still to come, it is the last vector's record: a gap may repeat it.
        """
        if not self._steps or self._last is None:
            return None
        start = self._last.step - len(self._steps) + 1  # first step held
        end = max(self._last.step + 1, start + self._length - 1)
        end += -(end + 1) % self._stride  # the next multiple of the stride
        first = end - self._length + 1
        return self._steps[min(first - start, len(self._steps) - 1)][0]

    def _cover(
        self, at: Features, source: int, vector: Vector | None = None, *, filled: bool = False
    ) -> None:
        """By this vector, or by that of the step before."""
        if self._ring is None:
            assert vector is not None
            self._ring = np.empty((self._length, len(vector)), np.float16)
        before = self._ring[(at.step - 1) % self._length]
        self._ring[at.step % self._length] = before if vector is None else vector
        frame = at.frame
        step = source, filled, at.index, at.captured_at, frame.partition, frame.offset
        self._steps.append(step)

    def _miss(self, at: Features) -> None:
        self._missing += 1
        if self._missing > self._max_gap:
            self._steps.clear()
            self._ring = None
        elif self._steps:
            self._cover(at, self._steps[-1][0], filled=True)

    def _ended(self, step: int, motion: Motion) -> list[Completed]:
        if (step + 1) % self._stride or len(self._steps) < self._length or self._ring is None:
            return []
        steps = self._steps
        features = np.roll(self._ring, -((step + 1) % self._length), axis=0)  # a copy
        gaps = sum(filled for _, filled, *_ in steps)
        return [Completed(features, _step(steps[0]), _step(steps[-1]), gaps, motion)]


def _step(step: _Step) -> Step:
    _, _, index, captured_at, partition, offset = step
    return Step(index, captured_at, FrameReference(partition, offset))


def _between(earlier: Features, later: Features, step: int) -> Features:
    """A step without a record, at its place in time between two records."""
    share = (step - earlier.step) / (later.step - earlier.step)
    return Features(
        earlier.lane, earlier.camera_id, earlier.session,
        earlier.index + round(share * (later.index - earlier.index)), step,
        earlier.captured_at + round(share * (later.captured_at - earlier.captured_at)),
        earlier.fingerprint, earlier.frame, missing="absent",
    )  # fmt: skip
