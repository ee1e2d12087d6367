"""What must stay quiet: footage in which nothing happens, plain and disturbed (EVALUATION 12)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.bundle import Bundle
from training.disturb import DISTURBANCES
from training.features import Extract
from training.manifest import Clip
from training.scored import Scored, score
from training.scores import alarming


def quiet(
    bundle: Bundle, clips: Sequence[Clip], extract: Extract, cache: Path
) -> dict[str, dict[str, Any]]:
    """For plain footage and each disturbance: the share of windows over the threshold."""
    names = ["plain", *DISTURBANCES]
    return {name: row(score(bundle, clips, extract, cache, name)) for name in names}


def row(scored: Scored) -> dict[str, Any]:
    """One line of the table: all clips together, the worst of them, and each alone."""
    over = alarming(scored.probabilities, scored.bundle.description.labels)
    clips, shares = [], []
    for number, (clip, track) in enumerate(zip(scored.clips, scored.tracks, strict=True)):
        own = over[scored.windows.clip == number]
        if len(own):
            shares.append(float(own.mean()))
        clips.append(
            {
                "clip": clip.name,
                "seconds": round(track.duration, 1),
                "windows": len(own),
                "alarming": int(own.sum()),
                "share": float(own.mean()) if len(own) else None,
                "incidents": len(scored.alarms(number)),
            }
        )
    hours = scored.hours
    return {
        "windows": len(over),
        "share": float(over.mean()) if len(over) else None,
        "worst_clip": max(shares, default=None),
        "incidents": sum(clip["incidents"] for clip in clips),
        "hours": hours,
        "rate_bound_per_hour": 3 / hours if hours else None,
        "clips": clips,
    }
