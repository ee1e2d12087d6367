"""Features of clips, cached one file a clip, so that a killed run goes on where it stood.

A file's name is a digest of everything that decides its content: the video's bytes (or the drawn
scene's address), how inputs are made, ingest's settings, the backbone's weights, the disturbance.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track as progress

from shared.bundle import Input
from shared.messages import NANOSECONDS
from training.clips import Step, steps
from training.manifest import Clip
from training.recordings import Recordings

Extract = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float16]]
"""uint8 (N, H, W, 3) to float16 (N, D): the featurizer's extractor."""

BATCH = 32
_LAYOUT = 2


@dataclass(frozen=True)
class Track:
    """What the classifier would receive of one clip, one row a sampled frame.

    `index` (F,) slots, `seconds` (F,) since the clip's begin, `vectors` (F, D) float16 with rows
    of zeros where `present` (F,) is false, `energy` (F,) share of the picture that moves.
    """

    index: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.float16]
    present: npt.NDArray[np.bool_]
    energy: npt.NDArray[np.float32]

    @property
    def duration(self) -> float:
        """Seconds from the first sampled frame to the last."""
        return float(self.seconds[-1] - self.seconds[0]) if len(self.seconds) else 0.0


class Cache:
    """Tracks in a folder, for one way of making inputs and one backbone."""

    def __init__(self, folder: Path, description: Input, fingerprint: str) -> None:
        self.folder = folder / "features"
        self.recordings = Recordings(folder / "frames", description.fps)
        self._description = description
        self._key = json.dumps([_LAYOUT, description.model_dump_json(), fingerprint])
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, clip: Clip, disturbance: str = "plain") -> Path:
        """Where the clip's track is or will be."""
        text = json.dumps([self._key, self.recordings.key(clip, disturbance)])
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"

    def track(self, clip: Clip, extract: Extract, disturbance: str = "plain") -> Track:
        """The clip's track, read or made. Raises SourceError if the clip cannot be read."""
        path = self.path(clip, disturbance)
        if path.is_file():
            with np.load(path) as file:
                return Track(**{name: file[name] for name in Track.__dataclass_fields__})
        sent = self.recordings.messages(clip, disturbance)
        made = make(steps(sent, self._description), extract)
        part = path.with_suffix(f".{os.getpid()}.part.npz")
        np.savez(part, **vars(made))
        part.replace(path)  # a killed run leaves no half file under the final name
        return made

    def tracks(
        self, clips: Sequence[Clip], extract: Extract, disturbance: str | None = None
    ) -> list[Track]:
        """The tracks of all clips, with a progress bar; each disturbed as it says, or all alike."""
        return [
            self.track(clip, extract, disturbance or clip.disturbance)
            for clip in progress(clips, description="features", transient=True)
        ]


def make(steps_: Iterable[Step], extract: Extract) -> Track:
    """Run the extractor over a clip's steps, in batches."""
    taken = list(steps_)
    rows = [i for i, step in enumerate(taken) if step.image is not None]
    parts = []
    for begin in range(0, len(rows), BATCH):
        batch = [taken[i].image for i in rows[begin : begin + BATCH]]
        parts.append(extract(np.stack([image for image in batch if image is not None])))
    found = np.concatenate(parts) if parts else np.zeros((0, 1), np.float16)
    vectors = np.zeros((len(taken), found.shape[1]), np.float16)
    vectors[rows] = found
    present = np.zeros(len(taken), np.bool_)
    present[rows] = True
    return Track(
        np.array([step.slot for step in taken], np.int64),
        np.array([step.captured_at / NANOSECONDS for step in taken], np.float64),
        vectors,
        present,
        np.array([step.motion.energy for step in taken], np.float32),
    )
