"""A bundle's answers on a set of clips: what every number of a report is computed from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alerting.incidents import Rules
from alerting.settings import AlertingSettings
from classifier.network import load_classifier
from shared.bundle import Bundle, Description, Label
from training import manifest
from training.alarms import alarms
from training.events import Alarm
from training.features import Cache, Extract, Track
from training.fit import Probabilities, predict
from training.manifest import Clip
from training.scores import clip_scores
from training.windows import Windows, cut


@dataclass(frozen=True)
class Scored:
    """Clips with their tracks, windows and the windows' probabilities (W, L)."""

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

    @property
    def hours(self) -> float:
        """Camera-hours of all clips."""
        return sum(track.duration for track in self.tracks) / 3600

    def alarms(self, clip: int, shift: float = 0.0) -> list[Alarm]:
        """The incidents that a clip opens, all open_scores moved by `shift` in log-odds."""
        rows = np.flatnonzero(self.windows.clip == clip)
        description = self.bundle.description
        labels = tuple(_moved(label, shift) for label in description.labels)
        moved: Description = description.model_copy(update={"labels": labels})
        return alarms(
            self.probabilities[rows],
            self.windows.ends(self.tracks)[rows],
            self.windows.last[rows],
            self.names,
            Rules.of(moved, AlertingSettings()),
        )


def score(
    bundle: Bundle,
    clips: Sequence[Clip],
    extract: Extract,
    cache: Path,
    disturbance: str = "plain",
) -> Scored:
    """Run the bundle over the clips. Raises InvalidInput for labels that it does not know."""
    manifest.refuse_unknown(clips, bundle.label_names)
    features = Cache(cache, bundle.description.input, bundle.backbone_fingerprint)
    tracks = features.tracks(clips, extract, disturbance)
    windows = cut(tracks, bundle.description.classifier)
    probabilities = np.zeros((0, len(bundle.label_names)), np.float32)
    if len(windows):
        probabilities = predict(load_classifier(bundle), windows.vectors(tracks))
    return Scored(bundle, clips, tracks, windows, probabilities)


def _moved(label: Label, shift: float) -> Label:
    if not shift:
        return label
    odds = label.open_score / max(1 - label.open_score, 1e-6) * math.exp(shift)
    opens = odds / (1 + odds)
    return label.model_copy(
        update={"open_score": opens, "close_score": min(label.close_score, opens)}
    )
