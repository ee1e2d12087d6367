"""A bundle on a folder of clips: EVALUATION.md as one function.

Everything that decides a number is the code that serves: sources, capture, inputs, extractor,
window rules, network, incident machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track as progress

from alerting.incidents import Rules
from alerting.settings import AlertingSettings
from classifier.network import load_classifier
from shared.bundle import NORMAL, Bundle
from shared.errors import InvalidInput
from training import manifest, metrics
from training.alarms import alarms
from training.bootstrap import Interval, Statistic, interval, of_rows
from training.clips import script
from training.disturb import DISTURBANCES
from training.events import Event, Outcome, delay_metrics, join, match
from training.features import Cache, Extract, Track
from training.fit import Probabilities, predict
from training.manifest import Clip
from training.scores import clip_scores, decide, frame_scores, quiet_row
from training.windows import Windows, cut


@dataclass(frozen=True)
class Scored:
    """A bundle's answers on a set of clips, from which every number is computed."""

    bundle: Bundle
    clips: Sequence[Clip]
    tracks: Sequence[Track]
    windows: Windows
    probabilities: Probabilities

    @property
    def names(self) -> tuple[str, ...]:
        """Labels in the order of the probabilities' columns."""
        return self.bundle.label_names

    @property
    def truth(self) -> npt.NDArray[np.intp]:
        """(C,) label numbers."""
        return np.array([self.names.index(clip.label) for clip in self.clips], np.intp)

    @property
    def scores(self) -> Probabilities:
        """(C, L) clip scores."""
        return clip_scores(self.probabilities, self.windows, len(self.clips), self.names)

    @property
    def groups(self) -> list[str]:
        """(C,) groups."""
        return [clip.group for clip in self.clips]


def score(bundle: Bundle, clips: Sequence[Clip], extract: Extract, cache: Path) -> Scored:
    """Run the bundle over the clips. Raises InvalidInput for labels that it does not know."""
    manifest.refuse_unknown(clips, bundle.label_names)
    features = _cache(bundle, cache)
    tracks = features.tracks(clips, extract)
    windows = cut(tracks, bundle.description.classifier)
    vectors = windows.vectors(tracks) if len(windows) else None
    probabilities = (
        predict(load_classifier(bundle), vectors)
        if vectors is not None
        else np.zeros((0, len(bundle.label_names)), np.float32)
    )
    return Scored(bundle, clips, tracks, windows, probabilities)


def measure(scored: Scored, positive: str | None = None, draws: int = 1000) -> dict[str, Any]:
    """All metrics of `scored`, without cost and quiet table."""
    result: dict[str, Any] = {
        "labels": list(scored.names),
        "positive": positive,
        "data": _data(scored),
    }
    if positive is not None:
        result.update(_binary(scored, positive, draws))
        result["clip_labels"] = _several(scored, draws)["clip"]
    else:
        result.update(_several(scored, draws))
    result["frame"] = _frames(scored)
    result["event"] = _events(scored)
    return result


def quiet(
    bundle: Bundle, clips: Sequence[Clip], extract: Extract, cache: Path, *, disturbed: bool = True
) -> dict[str, Any]:
    """EVALUATION 12: the share of alarming windows on footage in which nothing happens."""
    features = _cache(bundle, cache)
    network = load_classifier(bundle)
    table: dict[str, Any] = {}
    for name in ["plain", *DISTURBANCES] if disturbed else ["plain"]:
        rows, hours, over = [], 0.0, 0
        for clip in progress(clips, description=f"quiet: {name}", transient=True):
            track = features.track(clip, extract, name)
            windows = cut([track], bundle.description.classifier)
            found = (
                predict(network, windows.vectors([track]))
                if len(windows)
                else np.zeros((0, len(bundle.label_names)), np.float32)
            )
            rows.append(quiet_row(clip.name, found, track.duration, bundle.description.labels))
            hours += track.duration / 3600
            over += len(_alarms(bundle, found, windows, [track], 0))
        shares = [row["share"] for row in rows if row["share"] is not None]
        count = sum(row["windows"] for row in rows)
        table[name] = {
            "windows": count,
            "share": sum(row["alarming"] for row in rows) / count if count else None,
            "worst_clip": max(shares, default=None),
            "incidents": over,
            "hours": hours,
            "rate_bound_per_hour": 3 / hours if hours else None,
            "clips": rows,
        }
    return table


def events_of(clip: Clip, track: Track | None = None) -> list[Event] | None:
    """What happens when in a clip; None if that is not known.

    From the script of a drawn scene, or from frame labels (whose frames are taken as evenly spread
    over the track).
    """
    if clip.drawn:
        return list(script(clip.source))
    if clip.frame_labels is None or track is None:
        return None
    flags = np.array([0, *clip.frame_labels, 0])
    begins, ends = np.flatnonzero(np.diff(flags) == 1), np.flatnonzero(np.diff(flags) == -1)
    per_frame = track.duration / max(len(clip.frame_labels) - 1, 1)
    return [
        Event(clip.label, float(begin * per_frame), float((end - 1) * per_frame))
        for begin, end in zip(begins, ends, strict=True)
    ]


def _cache(bundle: Bundle, folder: Path) -> Cache:
    return Cache(folder, bundle.description.input, bundle.backbone_fingerprint)


def _data(scored: Scored) -> dict[str, Any]:
    counts = {name: sum(c.label == name for c in scored.clips) for name in scored.names}
    windows = scored.windows
    return {
        "clips": counts,
        "groups": len(set(scored.groups)),
        "drawn": sum(clip.drawn for clip in scored.clips),
        "hours": sum(track.duration for track in scored.tracks) / 3600,
        "windows": len(windows),
        "clips_filled_at_start": [scored.clips[i].name for i in windows.clip[windows.padded]],
        "clips_without_window": [
            clip.name for i, clip in enumerate(scored.clips) if i not in set(windows.clip.tolist())
        ],
    }


def _several(scored: Scored, draws: int) -> dict[str, Any]:
    truth, scores = scored.truth, scored.scores
    answers = decide(scores, scored.bundle.description.labels)
    return {
        "clip": metrics.clip_metrics(truth, answers, scores, scored.names),
        "intervals": _intervals(
            scored.groups,
            {
                "clip.accuracy": of_rows(metrics.accuracy, truth, answers),
                "clip.balanced_accuracy": of_rows(metrics.balanced_accuracy, truth, answers),
                "clip.auc": of_rows(metrics.mean_auc, truth, scores),
            },
            draws,
        ),
    }


def _binary(scored: Scored, positive: str, draws: int) -> dict[str, Any]:
    if positive not in scored.names or positive == NORMAL:
        raise InvalidInput(f"--positive {positive}: one of {', '.join(scored.names)}, not normal")
    column = scored.names.index(positive)
    threshold = scored.bundle.description.labels[column].open_score
    truth = (scored.truth == column).astype(np.intp)
    scores = scored.scores[:, column]
    answers = (scores >= threshold).astype(np.intp)
    return {
        "clip": metrics.binary_metrics(truth, scores, threshold),
        "intervals": _intervals(
            scored.groups,
            {
                "clip.accuracy": of_rows(metrics.accuracy, truth, answers),
                "clip.balanced_accuracy": of_rows(metrics.balanced_accuracy, truth, answers),
                "clip.auc": of_rows(metrics.auc, truth, scores),
            },
            draws,
        ),
    }


def _intervals(
    groups: Sequence[str],
    statistics: Mapping[str, Statistic],
    draws: int,
) -> dict[str, Interval]:
    return {name: interval(groups, call, draws) for name, call in statistics.items()}


def _frames(scored: Scored) -> dict[str, Any] | None:
    truths, scores = [], []
    for number, (clip, track) in enumerate(zip(scored.clips, scored.tracks, strict=True)):
        events = events_of(clip, track)
        if events is None:
            continue
        truth = np.zeros(len(track.index), np.intp)
        for event in events:
            truth[(track.seconds >= event.onset) & (track.seconds <= event.offset)] = 1
        truths.append(truth)
        scores.append(
            frame_scores(scored.probabilities, scored.windows, track, number, scored.names)
        )
    return metrics.frame_metrics(truths, scores) if truths else None


def _events(scored: Scored) -> dict[str, Any] | None:
    """At the bundle's thresholds, and recall at given rates with all thresholds moved together."""
    known = [
        (number, events)
        for number, (clip, track) in enumerate(zip(scored.clips, scored.tracks, strict=True))
        if (events := events_of(clip, track)) is not None
    ]
    if not known:
        return None
    outcome = _outcome(scored, known, 0.0)
    result = {
        "events": len(outcome.delays),
        "hits": outcome.hits,
        "recall": outcome.recall,
        "right_label": outcome.right_label,
        "false_alarms": outcome.false_alarms,
        "camera_hours": outcome.hours,
        "false_alarms_per_hour": outcome.false_alarms_per_hour,
        "drawn_only": all(scored.clips[number].drawn for number, _ in known),
        "delay": delay_metrics(outcome),
    }
    if outcome.false_alarms == 0:
        result["rate_bound_per_hour"] = outcome.rate_bound
    result["recall_at_rate"] = _recall_at_rates(partial(_outcome, scored, known))
    return result


def _recall_at_rates(outcome_at: Callable[[float], Outcome]) -> dict[str, float | None]:
    """Largest recall among thresholds (all labels shifted alike) that keep to each rate."""
    outcomes = [outcome_at(shift) for shift in np.linspace(-0.45, 0.45, 19)]
    result: dict[str, float | None] = {}
    for rate in (0.1, 1.0, 10.0):
        kept = [o.recall for o in outcomes if o.false_alarms_per_hour <= rate]
        result[f"{rate:g}"] = max(kept, default=None)
    return result


def _outcome(scored: Scored, known: Sequence[tuple[int, list[Event]]], shift: float) -> Outcome:
    return join(
        [
            match(
                events,
                _alarms(
                    scored.bundle, scored.probabilities, scored.windows, scored.tracks, number,
                    shift,
                ),
                scored.tracks[number].duration / 3600,
            )
            for number, events in known
        ]
    )  # fmt: skip


def _alarms(
    bundle: Bundle,
    probabilities: Probabilities,
    windows: Windows,
    tracks: Sequence[Track],
    clip: int,
    shift: float = 0.0,
) -> list[Any]:
    rows = np.flatnonzero(windows.clip == clip)
    description = bundle.description
    moved = description.model_copy(
        update={
            "labels": tuple(
                label.model_copy(
                    update={
                        "open_score": min(max(label.open_score + shift, 0.01), 0.999),
                        "close_score": min(label.close_score, max(label.open_score + shift, 0.01)),
                    }
                )
                for label in description.labels
            )
        }
    )
    return alarms(
        probabilities[rows],
        windows.ends(tracks)[rows],
        windows.last[rows],
        bundle.label_names,
        Rules.of(moved, AlertingSettings()),
    )
