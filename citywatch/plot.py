"""`--plot`: scores over time, a row a camera, incidents shaded."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Self

from alerting.events import IncidentData
from alerting.incidents import Rules
from citywatch.tally import Seen, Tally
from shared.errors import InvalidInput
from shared.messages import NANOSECONDS, Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#c44e52", "#dd8452", "#8172b3", "#4c9f70", "#da8bc3", "#937860", "#ccb974", "#64b5cd")


class Timeline:
    """Gathers predictions and incidents, and draws them at the end.

    Black is the score, a colour each label's probability; an incident of a label opens where that
    label's line stays above its dashes.
    """

    def __init__(self, path: Path, tally: Tally, rules: Rules) -> None:
        if not path.parent.is_dir():
            raise InvalidInput(f"{path}: there is no folder {path.parent}")
        if path.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise InvalidInput(f"{path}: write a .png, .svg or .pdf")
        self._path = path
        self._tally = tally
        names = [rule.label for rule in rules.labels]
        self._colours = dict(zip(names, _COLOURS * len(names), strict=False))
        self._limits = {rule.label: rule.open_score for rule in rules.labels}
        self._predictions: dict[str, list[Prediction]] = defaultdict(list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._draw()

    def take(self, seen: Seen) -> None:
        """Keep predictions; incidents are in the tally."""
        if isinstance(seen, Prediction):
            self._predictions[seen.camera_id].append(seen)

    def tick(self) -> None:
        """Nothing to do between messages."""

    def _draw(self) -> None:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
        from matplotlib.lines import Line2D

        names = list(self._tally.cameras)
        figure, axes = plt.subplots(
            len(names), 1, figsize=(11, 1.2 + 1.8 * len(names)), sharex=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        lengths = [(camera.last_frame_at - camera.begun_at) / NANOSECONDS
                   for camera in self._tally.cameras.values()]  # fmt: skip
        axes[-1, 0].set_xlim(0, max(*lengths, 1.0))
        for axis, name in zip(axes[:, 0], names, strict=True):
            self._row(axis, name)
        axes[-1, 0].set_xlabel("seconds")
        lines = [Line2D([], [], color="black", label="score: 1 - P(normal)")]
        lines += [Line2D([], [], color=colour, label=label.replace("_", " "))
                  for label, colour in self._colours.items()]  # fmt: skip
        figure.legend(handles=lines, loc="outside upper center", ncols=len(lines), frameon=False,
                      fontsize=9)  # fmt: skip
        figure.savefig(self._path, dpi=130)
        plt.close(figure)

    def _row(self, axis: Axes, name: str) -> None:
        predictions = sorted(self._predictions[name], key=lambda p: p.ended_at)
        begun = self._tally.cameras[name].begun_at / NANOSECONDS
        times = [p.ended_at / NANOSECONDS - begun for p in predictions]
        for label, colour in self._colours.items():
            axis.step(times, [p.probabilities[label] for p in predictions], where="post",
                      color=colour, linewidth=1.2)  # fmt: skip
        axis.step(times, [p.score for p in predictions], where="post", color="black", linewidth=1)
        for limit in set(self._limits.values()):
            axis.axhline(limit, color="#999999", linewidth=0.8, linestyle=(0, (4, 4)))
        for incident in self._tally.incidents.values():
            if incident.camera_id == name:
                self._shade(axis, incident, begun, times[-1] if times else 0.0)
        if not predictions:
            axis.text(0.5, 0.5, "no window was complete", transform=axis.transAxes, ha="center",
                      color="#888888")  # fmt: skip
        axis.set_ylim(-0.03, 1.03)
        axis.set_yticks([0, 0.5, 1])
        axis.set_title(name, loc="left", fontsize=10, fontweight="bold")
        axis.spines[["top", "right"]].set_visible(False)

    def _shade(self, axis: Axes, incident: IncidentData, begun: float, last: float) -> None:
        left = incident.started_at - begun
        right = last if incident.ended_at is None else incident.ended_at - begun
        colour = self._colours.get(incident.label, _COLOURS[0])
        axis.axvspan(left, max(right, left), color=colour, alpha=0.2, linewidth=0)
        text = incident.label.replace("_", " ")
        end = axis.get_xlim()[1]
        late = left > 0.9 * end  # else the text would leave the picture
        axis.text(left if not late else end, 1.04, text, color=colour, fontsize=8, va="bottom",
                  ha="right" if late else "left")  # fmt: skip
