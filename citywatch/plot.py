"""`--plot`: scores over time, a row a camera, incidents shaded."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Self

from alerting.events import IncidentData
from citywatch.tally import Seen, Tally
from shared.bundle import NORMAL, Bundle
from shared.errors import InvalidInput
from shared.messages import NANOSECONDS, Prediction

_COLOURS = ("#c44e52", "#dd8452", "#8172b3", "#937860", "#da8bc3", "#8c8c8c", "#ccb974", "#64b5cd")
_YEAR = 366 * 86400


class Timeline:
    """Gathers predictions and incidents, and draws them at the end."""

    def __init__(self, path: Path, tally: Tally, bundle: Bundle) -> None:
        if not path.parent.is_dir():
            raise InvalidInput(f"{path}: there is no folder {path.parent}")
        if path.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise InvalidInput(f"{path}: write a .png, .svg or .pdf")
        self._path = path
        self._tally = tally
        self._labels = [name for name in bundle.label_names if name != NORMAL]
        self._open = [x.open_score for x in bundle.description.labels if x.name != NORMAL]
        self._points: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._draw()

    def take(self, seen: Seen) -> None:
        """Keep the point; incidents are in the tally."""
        if isinstance(seen, Prediction):
            self._points[seen.camera_id].append((seen.ended_at / NANOSECONDS, seen.score))

    def tick(self) -> None:
        """Nothing to do between messages."""

    def _draw(self) -> None:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
        from matplotlib.patches import Patch

        names = list(self._tally.cameras)
        colours = dict(zip(self._labels, _COLOURS * 9, strict=False))
        figure, axes = plt.subplots(
            len(names), 1, figsize=(11, 1.1 + 1.7 * len(names)), sharex=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        first = min((p[0][0] for p in self._points.values() if p), default=0.0)
        origin = first if first > _YEAR else 0.0  # live: seconds since the first window
        for axis, name in zip(axes[:, 0], names, strict=True):
            points = sorted(self._points[name])
            axis.step([t - origin for t, _ in points], [s for _, s in points], where="post",
                      color="#30507a", linewidth=1.4)  # fmt: skip
            for limit in set(self._open):
                axis.axhline(limit, color="#999999", linewidth=0.8, linestyle=(0, (4, 4)))
            last = points[-1][0] if points else 0.0
            for event in self._tally.incidents.values():
                if event.camera_id == name:
                    self._shade(axis, event, last, origin, colours)
            axis.set_ylim(-0.03, 1.03)
            axis.set_yticks([0, 0.5, 1])
            axis.set_title(name, loc="left", fontsize=10, fontweight="bold")
            axis.spines[["top", "right"]].set_visible(False)
            axis.margins(x=0.01)
        axes[-1, 0].set_xlabel("seconds")
        figure.supylabel("score: 1 - P(normal)", fontsize=10)
        seen = sorted({event.label for event in self._tally.incidents.values()})
        if seen:
            handles = [Patch(color=colours.get(label, "#c44e52"), alpha=0.35,
                             label=label.replace("_", " ")) for label in seen]  # fmt: skip
            figure.legend(
                handles=handles, loc="outside upper right", ncols=len(handles), frameon=False,
                title="incidents", title_fontsize=9, fontsize=9,
            )  # fmt: skip
        figure.savefig(self._path, dpi=130)
        plt.close(figure)

    @staticmethod
    def _shade(axis, event: IncidentData, last: float, origin: float, colours) -> None:  # type: ignore[no-untyped-def]
        begin = event.started_at - origin
        end = (last if event.ended_at is None else event.ended_at) - origin
        axis.axvspan(begin, max(end, begin), color=colours.get(event.label, "#c44e52"), alpha=0.3,
                     linewidth=0)  # fmt: skip
