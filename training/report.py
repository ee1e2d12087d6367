"""The report: one HTML file that needs nothing beside it, and the figures as PNG."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from shared.bundle import NORMAL
from training import figures
from training.scored import Scored
from training.scores import frame_scores
from training.truth import events_of

_TIMELINES = 6
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       color: #1f2328; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d0d7de; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
td, th { border: 1px solid #d0d7de; padding: .25rem .6rem; text-align: right; }
td:first-child, th:first-child { text-align: left; } th { background: #f6f8fa; }
.warn { background: #fff8c5; border: 1px solid #d4a72c; padding: .5rem 1rem; }
img { max-width: 100%; } .note { color: #59636e; }
.figures { display: grid; grid-template-columns: repeat(2, 1fr); gap: .5rem; }
figure { margin: 0; } figure.wide { grid-column: 1 / -1; }
@media (max-width: 45rem) { .figures { grid-template-columns: 1fr; } }
"""

_WORDS = {
    "micro_auc": "AUC, all frames joined",
    "micro_ap": "average precision, all frames joined",
    "macro_auc": "AUC, mean over videos",
    "abnormal_auc": "AUC, abnormal videos alone",
    "recall": "recall at the bundle's thresholds",
    "right_label": "hits with the right label",
    "rate_step_per_hour": "one false alarm, per camera-hour",
    "rate_bound_per_hour": "none seen shows only: under (3 / hours)",
    "delay.median_seconds": "delay, median, seconds",
    "delay.p90_seconds": "delay, 90th percentile, seconds",
    "recall_at_rate.0.1": "recall at 0.1 false alarms per camera-hour",
    "recall_at_rate.1": "recall at 1 false alarm per camera-hour",
    "recall_at_rate.10": "recall at 10 false alarms per camera-hour",
}
"""Names of the JSON that do not explain themselves."""


def write(folder: Path, scored: Scored, metrics: Mapping[str, Any]) -> Path:
    """Write `report.html` and `figures/*.png` into the folder; `metrics` as in metrics.json."""
    drawn = figures_of(scored, metrics)
    paths = [figures.save(figure, folder / "figures" / f"{name}.png") for name, figure in drawn]
    page = folder / "report.html"
    page.write_text(_page(scored, metrics, paths), encoding="utf-8")
    return page


def figures_of(scored: Scored, metrics: Mapping[str, Any]) -> list[tuple[str, Figure]]:
    """Named figures: curves of the labels that occur, confusion, calibration, timelines."""
    truth, scores, names = scored.truth, scored.scores, scored.names
    positive = metrics["positive"]
    shown = [positive] if positive else [n for n in names if n != NORMAL]
    curves = {
        name: ((truth == names.index(name)).astype(int), scores[:, names.index(name)])
        for name in shown
        if 0 < np.sum(truth == names.index(name)) < len(truth)
    }
    result: list[tuple[str, Figure]] = []
    if curves:
        result.append(("roc", figures.roc(curves)))
        result.append(("precision_recall", figures.precision_recall(curves)))
    clip = metrics["clip"]
    labels = [f"not {positive}", positive] if positive else list(names)
    result.append(("confusion", figures.confusion(clip["confusion"], labels)))
    for name, (flags, values) in curves.items():
        result.append((f"calibration_{name}", figures.reliability(flags, values, name)))
    with_events = [
        (number, events)
        for number, (clip_, track) in enumerate(zip(scored.clips, scored.tracks, strict=True))
        if (events := events_of(clip_, track))
    ]
    for number, events in with_events[:_TIMELINES]:
        track = scored.tracks[number]
        line = frame_scores(scored.probabilities, scored.windows, track, number, names)
        title = f"{scored.clips[number].label}, clip {number}"
        figure = figures.timeline(track.seconds, line, events, title)
        result.append((f"timeline_{number:04d}", figure))
    return result


def _page(scored: Scored, metrics: Mapping[str, Any], paths: Sequence[Path]) -> str:
    data, clip = metrics["data"], metrics["clip"]
    bundle = scored.bundle
    parts = [
        f"<h1>Evaluation of {_text(bundle.name)}</h1>",
        f"<p class=note>Bundle {bundle.fingerprint}, version {_text(bundle.description.version)}. "
        f"{sum(data['clips'].values())} clips in {data['groups']} groups, "
        f"{data['hours']:.2f} camera-hours, {data['drawn']} of the clips drawn. "
        "Intervals: 95 %, bootstrap over groups.</p>",
        "<h2>Clips</h2>",
        _table(
            ["", "value", "low", "high"],
            [
                [name, value["value"], value["low"], value["high"]]
                for name, value in metrics["intervals"].items()
            ],
        ),
    ]
    if data["learnt_from"]:
        parts.insert(
            2,
            f"<p class=warn>The bundle has learnt from {data['learnt_from']} of these clips: the "
            "numbers say how well it remembers, not how well it recognises.</p>",
        )
    labels = clip.get("labels") or metrics["clip_labels"]["labels"]
    parts.append(
        _table(
            ["label", "clips", "precision", "recall", "F1", "AUC"],
            [[name, *row.values()] for name, row in labels.items() if row["clips"]],
        )
    )
    filled = len(data["clips_filled_at_start"])
    if filled:
        parts.append(
            f"<p class=note>{filled} clips are shorter than a window and were filled at their "
            "start with their first vector.</p>"
        )
    if metrics.get("motion"):
        parts.append(
            f"<p class=note>Six numbers of motion energy and no network reach an AUC of "
            f"{metrics['motion']['auc']:.3f} on these clips, held out by group: where that is "
            "much, the clips are too easy.</p>"
        )
    for title, key in (("Frames", "frame"), ("Events", "event"), ("Cost", "cost")):
        if metrics.get(key):
            parts.append(f"<h2>{title}</h2>")
            parts.append(_table(["", "value"], list(_flat(metrics[key]))))
        if key == "event" and metrics.get(key):
            parts.append(_about_events(metrics[key]))
    if metrics.get("quiet"):
        parts += _quiet(metrics["quiet"])
    parts.append("<h2>Figures</h2>")
    parts += ["<div class=figures>", *(_image(path) for path in paths), "</div>"]
    body = "\n".join(parts)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{_text(bundle.name)}</title>"
        f"<style>{_STYLE}</style><body>{body}</body></html>\n"
    )


def _about_events(event: Mapping[str, Any]) -> str:
    drawn = (
        "All of this footage is drawn: the rates say how heads compare, not what a camera will do. "
        if event["drawn_only"]
        else ""
    )
    return (
        f"<p class=note>{drawn}An alarm is an incident that the state machine opens; it hits an "
        "event from its onset until 2 s after its end. Delays count missed events as endless: a "
        "dash says that so many were missed. Recall at a rate is with all thresholds moved alike; "
        "a rate under that of one false alarm means none.</p>"
    )


def _quiet(table: Mapping[str, Any]) -> list[str]:
    rows = [
        [name, row["windows"], row["share"], row["worst_clip"], row["incidents"], row["hours"],
         row["rate_bound_per_hour"]]
        for name, row in table.items()
    ]  # fmt: skip
    columns = ["footage", "windows", "share alarming", "worst clip", "incidents", "hours",
               "3 / hours"]  # fmt: skip
    return ["<h2>What must stay quiet</h2>", _table(columns, rows)]


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[list[Any]]:
    rows: list[list[Any]] = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            rows += _flat(item, f"{name}.")
        else:
            rows.append([_WORDS.get(name, name.replace("_", " ").replace("delay.", "")), item])
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = "".join(f"<th>{_text(name)}</th>" for name in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{_text(_number(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{cells}</tr>{lines}</table>"


def _number(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return (
        f"{cell:.3f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else cell
    )


def _image(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    wide = " class=wide" if path.stem.startswith("timeline") else ""
    return (
        f"<figure{wide}><img alt='{_text(path.stem)}' src='data:image/png;base64,{data}'></figure>"
    )


def _text(value: object) -> str:
    return html.escape(str(value))
