"""The metrics of a scored set of clips: clip, frame and event level, with intervals.

Everything that decides a number is the code that serves: sources, capture, inputs, extractor,
window rules, network, incident machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from shared.bundle import NORMAL
from shared.errors import InvalidInput
from training import learnt, metrics
from training.bootstrap import Interval, Statistic, interval, of_rows
from training.events import RATES, Event, Outcome, delay_metrics, join, match
from training.scored import Scored
from training.scores import decide, frame_scores
from training.truth import events_of


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


def _data(scored: Scored) -> dict[str, Any]:
    counts = {name: sum(c.label == name for c in scored.clips) for name in scored.names}
    windows = scored.windows
    return {
        "clips": counts,
        "groups": len(set(scored.groups)),
        "learnt_from": learnt.known(scored.bundle.folder, scored.clips),
        "drawn": sum(clip.drawn for clip in scored.clips),
        "hours": scored.hours,
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
    """At the bundle's thresholds, and recall at given rates with all thresholds moved together.

    One false alarm more or less is `rate_step_per_hour`: what lies under it says none at all.
    """
    known = [
        (number, events)
        for number, (clip, track) in enumerate(zip(scored.clips, scored.tracks, strict=True))
        if (events := events_of(clip, track)) is not None
    ]
    if not known:
        return None
    outcome = _outcome(scored, known, 0.0)
    result: dict[str, Any] = {
        "events": len(outcome.delays),
        "hits": outcome.hits,
        "recall": outcome.recall,
        "right_label": outcome.right_label,
        "false_alarms": outcome.false_alarms,
        "camera_hours": outcome.hours,
        "false_alarms_per_hour": outcome.false_alarms_per_hour,
        "rate_step_per_hour": 1 / outcome.hours if outcome.hours else None,
        "drawn_only": all(scored.clips[number].drawn for number, _ in known),
        "delay": delay_metrics(outcome),
    }
    if outcome.false_alarms == 0:
        result["rate_bound_per_hour"] = outcome.rate_bound
    result["recall_at_rate"] = _recall_at_rates(partial(_outcome, scored, known))
    return result


def _recall_at_rates(outcome_at: Callable[[float], Outcome]) -> dict[str, float]:
    """Largest recall among thresholds (all labels moved alike) that keep to each rate.

    0 where none does: only a threshold that nothing reaches would.
    """
    outcomes = [outcome_at(shift) for shift in np.linspace(-6, 10, 33)]
    return {
        f"{rate:g}": max((o.recall for o in outcomes if o.false_alarms_per_hour <= rate), default=0)
        for rate in RATES
    }


def _outcome(scored: Scored, known: Sequence[tuple[int, list[Event]]], shift: float) -> Outcome:
    return join(
        [
            match(
                events,
                scored.alarms(number, shift),
                scored.tracks[number].duration / 3600,
            )
            for number, events in known
        ]
    )  # fmt: skip
