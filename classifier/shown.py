"""What an operator sees of the cameras of a lane: newest scores, and who has left the domain.

A gauge a camera, and of scores one histogram a label: a histogram for each of ten thousand cameras
would be half a million series.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classifier import drift
from classifier.inference import Numbers
from shared import metrics
from shared.bundle import Bundle
from shared.bus import Partition
from shared.messages import Prediction

HALF_LIFE = 60.0
"""Seconds of windows after which an old distance counts half."""


@dataclass(slots=True)
class _Camera:
    """Where its windows come from, how many there were, and their distances' average."""

    partition: Partition
    windows: int = 0
    distance: float = 0.0


class Shown:
    """Puts predictions into the metrics, and takes out cameras that are no more.

    The average is exponential, over windows: a camera's first ones count alike, so that it does not
    begin at zero.
    """

    def __init__(self, bundle: Bundle, lane: str) -> None:
        self._lane = lane
        self._drift = drift.read(bundle)
        description = bundle.description
        seconds = description.classifier.stride / description.input.fps
        self._weight = 1 - 0.5 ** (seconds / HALF_LIFE)
        self._scores = [metrics.label_score.labels(lane, name) for name in bundle.label_names]
        self._cameras: dict[str, _Camera] = {}

    def take(
        self,
        of: Sequence[tuple[Partition, Prediction]],
        windows: npt.NDArray[np.float16],
        probabilities: Numbers,
    ) -> None:
        """Predictions (N) with the partitions of their features, windows (N, T, D), (N, labels)."""
        for histogram, values in zip(self._scores, probabilities.T, strict=True):
            for value in values:
                histogram.observe(value)
        far = None if self._drift is None else self._drift.relative(drift.summed_up(windows))
        for i, (partition, prediction) in enumerate(of):
            camera_id = prediction.camera_id
            metrics.predictions_total.labels(self._lane, prediction.label).inc()
            metrics.score.labels(self._lane, camera_id).set(prediction.score)
            camera = self._cameras.setdefault(camera_id, _Camera(partition))
            if far is not None:
                camera.windows += 1
                weight = max(self._weight, 1 / camera.windows)
                camera.distance += weight * (float(far[i]) - camera.distance)
                metrics.domain_distance.labels(self._lane, camera_id).set(camera.distance)

    def gone(self, camera_id: str) -> None:
        """A camera that is no more must not show its last score for ever."""
        self._cameras.pop(camera_id, None)
        for gauge in (metrics.score, metrics.domain_distance):
            with contextlib.suppress(KeyError):
                gauge.remove(self._lane, camera_id)

    def forget(self, partitions: Collection[Partition]) -> None:
        """Their cameras are another worker's to show."""
        for camera_id in [
            c for c, camera in self._cameras.items() if camera.partition in partitions
        ]:
            self.gone(camera_id)
