"""What a benchmark says: ours beside a peer's, measured in turns within one run."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Rounds = dict[str, list[float]]
LOAD_BEFORE = round(os.getloadavg()[0], 1)
"""What else the machine was doing as this process began: above 0.5, and figures are of little use
beyond their ratios; above its cores, not even those.
"""


@dataclass(frozen=True)
class Claim:
    """One line of the table: figures of every round, in order; pairs of one round belong together.

    `peers` is absent where a claim is a figure of ours alone (a latency). A ratio is the median of
    ours over the median of the peer's; its spread is that of the rounds' own ratios.
    """

    text: str
    unit: str
    ours: Sequence[float]
    peers: Sequence[float] = ()
    target: float | None = None
    at_most: bool = False
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The keys that scripts may rely on."""
        ours = statistics.median(self.ours)
        peer = statistics.median(self.peers) if self.peers else None
        value = ours / peer if peer else None
        pairs = [o / p for o, p in zip(self.ours, self.peers, strict=False) if p]
        reached = value if value is not None else ours
        met = None
        if self.target is not None:
            met = reached <= self.target if self.at_most else reached >= self.target
        return {
            "claim": self.text,
            "ours": _short(ours),
            "peer": _short(peer),
            "ratio": _short(value),
            "target": self.target,
            "unit": self.unit,
            "runs": len(self.ours),
            "at_most": self.at_most,
            "met": met,
            "ours_range": [_short(min(self.ours)), _short(max(self.ours))],
            "ratio_range": [_short(min(pairs)), _short(max(pairs))] if pairs else None,
            "note": self.note,
            "load_before": LOAD_BEFORE,
        }


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int) -> Rounds:
    """Each side once a round, so that a machine that slows down slows all of them."""
    found: Rounds = {name: [] for name in sides}
    for number in range(rounds):
        for name, measure in sides.items():
            found[name].append(measure())
            print(f"round {number + 1}  {name:24} {found[name][-1]:10.2f}", flush=True)
    return found


def report(*claims: Claim) -> None:
    """A table for people, then one JSON line, the last."""
    described = [claim.to_json() for claim in claims]
    for row in described:
        peer = "" if row["peer"] is None else f" / {row['peer']:g} = {row['ratio']:g}"
        aim = "" if row["target"] is None else (
            f" (target {'≤' if row['at_most'] else '≥'} {row['target']:g})"
        )  # fmt: skip
        print(f"{row['claim']}: {row['ours']:g}{peer} {row['unit']}{aim}")
    print(json.dumps({"claims": described}))


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
