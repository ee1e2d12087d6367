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


@dataclass(frozen=True, slots=True)
class Step:
    """One covered step. A vector that covers several steps is held once."""

    vector: Vector
    source: int  # offset of the record that the vector came from
    filled: bool
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

    Holds references to at most `length` vectors: 30 of 1280 float16 numbers are 77 kB.
    """

    def __init__(self, length: int, stride: int, max_gap: int) -> None:
        self._length, self._stride, self._max_gap = length, stride, max_gap
        self._steps: deque[Step] = deque(maxlen=length)
        self._last: Features | None = None  # the newest record taken
        self._vector_step = -1  # the step of the last vector, for same_as
        self._missing = 0  # length of the run of missing steps up to the last step

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
            self._cover(features, features.vector, offset)
        elif self._steps and features.same_as == self._vector_step:
            self._missing = 0
            self._cover(features, self._steps[-1].vector, self._steps[-1].source)
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
        return self._steps[min(first - start, len(self._steps) - 1)].source

    def _cover(self, at: Features, vector: Vector, source: int, *, filled: bool = False) -> None:
        self._steps.append(Step(vector, source, filled, at.index, at.captured_at, at.frame))

    def _miss(self, at: Features) -> None:
        self._missing += 1
        if self._missing > self._max_gap:
            self._steps.clear()
        elif self._steps:
            last = self._steps[-1]
            self._cover(at, last.vector, last.source, filled=True)

    def _ended(self, step: int, motion: Motion) -> list[Completed]:
        if (step + 1) % self._stride or len(self._steps) < self._length:
            return []
        steps = self._steps
        features = np.stack([s.vector for s in steps])
        return [Completed(features, steps[0], steps[-1], sum(s.filled for s in steps), motion)]


def _between(earlier: Features, later: Features, step: int) -> Features:
    """A step without a record, at its place in time between two records."""
    share = (step - earlier.step) / (later.step - earlier.step)
    return Features(
        earlier.lane, earlier.camera_id, earlier.session,
        earlier.index + round(share * (later.index - earlier.index)), step,
        earlier.captured_at + round(share * (later.captured_at - earlier.captured_at)),
        earlier.fingerprint, earlier.frame, missing="absent",
    )  # fmt: skip
