"""What scores a camera usually has: thresholds may follow them, for cameras differ.

Counts of scores by label in 50 bins, halved after each half-life of event time. Whole numbers and
event time alone: a replay counts alike, to the last digit, and a label takes some 150 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BINS = 50
CAP = 1 - 1 / BINS
"""A score in the last bin counts on every camera, whatever is usual there."""
_BEYOND = 2
"""Windows that must lie beyond a quantile before it is believed."""


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Which share of a camera's windows must lie below its open_score; half-life in nanoseconds."""

    quantile: float
    half_life: int


@dataclass(frozen=True, slots=True)
class Habits:
    """By label, how many windows had a score in each of the bins; last halved at, nanoseconds."""

    halved_at: int
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def after(self, scores: Mapping[str, float], at: int, half_life: int) -> Habits:
        """With one more window, at that event time."""
        lives = max(at - self.halved_at, 0) // half_life
        counts = {}
        for label, score in scores.items():
            own = list(self.counts.get(label, (0,) * BINS))
            if lives:
                own = [count >> lives for count in own]
            own[_bin(score)] += 1
            counts[label] = tuple(own)
        return Habits(self.halved_at + lives * half_life, counts)

    def usual(self, label: str, quantile: float) -> float | None:
        """The score below which that share of the label's windows lies, at most CAP.

        It is the upper edge of a bin. None while too few windows have been seen to tell.
        """
        counts = self.counts.get(label, ())
        total = sum(counts)
        if total * (1 - quantile) < _BEYOND:
            return None
        below = 0
        for number, count in enumerate(counts):
            below += count
            if below >= quantile * total:
                return min((number + 1) / BINS, CAP)
        raise AssertionError("all of the counts are at least a share of them")


def _bin(score: float) -> int:
    return min(max(int(score * BINS), 0), BINS - 1)
