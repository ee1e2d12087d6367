"""The messages that flow between the services: frozen, and complete once they exist.

`shared/codec.py` turns them into bytes and back. Times are integers, nanoseconds since the Unix
epoch; for a file the epoch is the file's first frame, unless the operator states when it began.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

NANOSECONDS = 1_000_000_000
CAMERA_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SESSION = re.compile(r"(live|file)-([0-9]{1,10})-([0-9]{1,19})")

Region = tuple[float, float, float, float]
"""Left, top, width and height as fractions of the picture, each in 0..1."""

WHOLE: Region = (0.0, 0.0, 1.0, 1.0)


def slot(captured_at: int, started_at: int, fps: float) -> int:
    """Index of the sampling slot in which a time stamp lies: floor((t - start) * fps).

    Ingest uses it with the camera's rate and the featurizer with the lane's. A millisecond is
    forgiven, for containers cut time stamps to microseconds or even milliseconds (Matroska): the
    second frame of a 15 fps file, 0.13333 s stored as 0.133, lies in slot 2 and not in slot 1.
    """
    return int(((captured_at - started_at) / NANOSECONDS + 1e-3) * fps)


@dataclass(frozen=True, slots=True, order=True)
class Session:
    """One capture run of one camera.

    Live sessions are ordered by (generation of the ingest group, start time), so that a reader can
    tell a newer capture from a late message of an older one. File sessions are not ordered: a
    recording scored twice gives the same session, hence the same prediction ids.
    """

    generation: int
    started_at: int
    live: bool = field(compare=False)

    def __str__(self) -> str:
        return f"{'live' if self.live else 'file'}-{self.generation}-{self.started_at}"

    @classmethod
    def parse(cls, text: str) -> Session:
        """Read what `str()` wrote; ValueError for anything else."""
        match = _SESSION.fullmatch(text)
        if match is None:
            raise ValueError(f"not a session: {text[:80]!r}")
        return cls(int(match[2]), int(match[3]), match[1] == "live")


@dataclass(frozen=True, slots=True)
class Motion:
    """Where a frame differs from the ones before it.

    `energy` is the share of the picture that moves, 0..1; `region` is the box, half the frame wide
    and high, that holds most of the motion, smoothed over time.
    """

    energy: float = 0.0
    region: Region = WHOLE


@dataclass(frozen=True, slots=True)
class FrameReference:
    """Where a frame lies in the frames topic: what evidence is cut from."""

    partition: int
    offset: int


Encoding = Literal["jpeg", "raw", "grey", "unchanged"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One sampled picture of one camera.

    `index` counts sampling slots since the session began, before any drop: what was lost leaves a
    visible gap, and `dropped_before` says how many frames were lost since the last one, by reason.
    `data` is a JPEG, or height x width x 3 BGR bytes (`raw`), or height x width bytes of luminance
    0..255 (`grey`: within one process), or empty (`unchanged`: the picture of index `same_as` still
    stands).
    """

    camera_id: str
    session: str
    index: int
    captured_at: int
    live: bool
    lanes: tuple[str, ...]
    encoding: Encoding
    height: int
    width: int
    data: bytes
    motion: Motion = Motion()
    same_as: int | None = None
    dropped_before: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EndOfStream:
    """A session is over. Travels through every topic, so that windows and incidents close.

    `index` is the slot after the last one sampled; `reason` is `end`, `stopped` or `lost`.
    """

    camera_id: str
    session: str
    index: int
    ended_at: int
    reason: str
    lanes: tuple[str, ...] = ()
    dropped_before: Mapping[str, int] = field(default_factory=dict)


Vector = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Features:
    """What the backbone says of one frame (or clip): exactly one of vector, same_as, missing.

    `index` is the lane's sampling slot, `step` counts vectors and is what windows count (a clip
    network gives one vector per 16 frames). `same_as` is the step whose vector still holds;
    `missing` is the reason why there is none (`shed`, `corrupt`, `history`, ...).
    """

    lane: str
    camera_id: str
    session: str
    index: int
    step: int
    captured_at: int
    fingerprint: str
    frame: FrameReference
    vector: Vector | None = None
    same_as: int | None = None
    missing: str | None = None
    motion: Motion = Motion()


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the temporal network says of one window of one camera.

    `score` is 1 - P(normal). `attention` has one weight per step of the window, oldest first.
    `gaps` counts the steps that were filled with the vector before them. `frames` are the first
    and the last frame of the window.
    """

    lane: str
    camera_id: str
    session: str
    first_index: int
    last_index: int
    started_at: int
    ended_at: int
    probabilities: Mapping[str, float]
    score: float
    attention: tuple[float, ...]
    gaps: int
    fingerprint: str
    frames: tuple[FrameReference, FrameReference]
    motion: Motion = Motion()

    @property
    def id(self) -> str:
        """The same for every replay of the same window: whoever receives twice keeps the first."""
        return f"{self.lane}:{self.camera_id}:{self.session}:{self.last_index}"

    @property
    def label(self) -> str:
        """The most probable label."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])


Message = Frame | EndOfStream | Features | Prediction
