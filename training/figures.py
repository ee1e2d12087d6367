"""Figures of a report, as PNG (EVALUATION 10). Matplotlib without a screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from training.events import Event
from training.metrics import Scores, Truth, auc, calibration

_SIZE = (5.0, 4.0)
_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df")


def roc(curves: dict[str, tuple[Truth, Scores]]) -> Figure:
    """True against false positive rate, one curve a label."""
    figure, axes = _figure("false positive rate", "true positive rate", "ROC")
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=0.8)
    for (name, (truth, scores)), colour in zip(curves.items(), _COLOURS, strict=False):
        x, y, _ = roc_curve(truth, scores)
        axes.plot(x, y, color=colour, label=f"{name}, AUC {auc(truth, scores):.3f}")
    axes.legend(loc="lower right", fontsize=8)
    return figure


def precision_recall(curves: dict[str, tuple[Truth, Scores]]) -> Figure:
    """Precision against recall, one curve a label."""
    figure, axes = _figure("recall", "precision", "Precision and recall")
    for (name, (truth, scores)), colour in zip(curves.items(), _COLOURS, strict=False):
        precision, recall, _ = precision_recall_curve(truth, scores)
        axes.plot(recall, precision, color=colour, label=name)
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower left", fontsize=8)
    return figure


def reliability(truth: Truth, scores: Scores, name: str) -> Figure:
    """Share of positives against score: on the diagonal a score means what it says."""
    figure, axes = _figure("score", "share of positives", f"Calibration of {name}")
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=0.8)
    points = calibration(truth, scores)
    axes.plot([p["score"] for p in points], [p["positives"] for p in points], "o-",
              color=_COLOURS[0])  # fmt: skip
    for point in points:
        place = point["score"], point["positives"]
        axes.annotate(f"{point['clips']:.0f}", place, (5, 4), textcoords="offset points",
                      fontsize=7, color="#59636e")  # fmt: skip
    axes.set(xlim=(-0.03, 1.06), ylim=(-0.03, 1.08))
    axes.text(0.02, 1.02, "numbers: clips", fontsize=7, color="#59636e")
    return figure


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Figure:
    """Rows are the truth, columns the answer."""
    figure, axes = _figure("answer", "truth", "Confusion")
    counts = np.asarray(matrix, float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=9)
    return figure


def timeline(
    seconds: npt.NDArray[np.float64],
    scores: npt.NDArray[np.floating],
    events: Sequence[Event],
    title: str,
) -> Figure:
    """Score over time with what truly happened shaded."""
    figure, axes = _figure("seconds", "1 - P(normal)", title, (7.0, 2.2))
    axes.plot(seconds, scores, color=_COLOURS[0], linewidth=1)
    for event in events:
        axes.axvspan(event.onset, event.offset, color=_COLOURS[1], alpha=0.2, linewidth=0)
        axes.text(event.onset, 1.02, event.label, fontsize=7, color=_COLOURS[1])
    axes.set_ylim(0, 1.1)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def _figure(x: str, y: str, title: str, size: tuple[float, float] = _SIZE) -> tuple[Figure, Any]:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=10)
    return figure, axes
