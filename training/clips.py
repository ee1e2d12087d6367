"""From a clip to network inputs, through the code that serves (EVALUATION 11).

Pictures come from ingest's sources, become frames in ingest's capture (sampling by time stamp,
size, motion, static gating, JPEG) and inputs in the featurizer's `Inputs`: what a model learns
from and is judged by is what it will meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from featurizer.inputs import Image, Inputs, still_input
from ingest.capture import capture
from ingest.pictures import Picture
from ingest.settings import IngestSettings
from ingest.sources import open_source
from ingest.synthetic import SyntheticSource
from shared.bundle import Input
from shared.cameras import Camera
from shared.errors import SourceError
from shared.messages import EndOfStream, Frame, Motion, Session
from training.events import Event
from training.manifest import Clip

Disturbance = Callable[[Iterable[Picture]], Iterator[Picture]]
"""What may happen to the pictures of a camera before they are sampled (`training/disturb.py`)."""


class Step(NamedTuple):
    """One sampled frame of a clip; `image` is None where the step is missing."""

    slot: int
    captured_at: int
    image: Image | None
    motion: Motion


def pictures(clip: Clip) -> Iterator[Picture]:
    """The clip's pictures, its first at time 0. Raises SourceError."""
    return iter(open_source(clip.source))


def frames(
    clip: Clip, fps: float, settings: IngestSettings, disturbance: Disturbance | None = None
) -> Iterator[Frame | EndOfStream]:
    """The messages that ingest would send of this clip."""
    source = pictures(clip)
    camera = Camera(id="training", source=clip.source, fps=fps)
    disturbed = source if disturbance is None else disturbance(source)
    return capture(disturbed, camera, Session(0, 0, live=False), settings)


def steps(sent: Iterable[Frame | EndOfStream], description: Input) -> Iterator[Step]:
    """The network inputs of a clip's messages, as the featurizer makes them.

    A missing step has no image.
    """
    inputs = Inputs(description)
    still = still_input(description)
    picture: Image | None = None
    last: Image | None = None
    for frame in sent:
        if isinstance(frame, EndOfStream):
            return
        unchanged = frame.encoding == "unchanged"
        if not unchanged:
            picture = decode(frame, description)
        if picture is None:
            raise SourceError(f"{frame.camera_id}: an unchanged frame without a full one before it")
        given = frame.captured_at, picture, frame.motion, frame.index
        if description.of_motion and unchanged and inputs.stands(*given):
            last = still
        elif description.of_motion or not unchanged:
            last = inputs.take(*given)
        yield Step(frame.index, frame.captured_at, last, frame.motion)


@lru_cache(maxsize=4096)
def script(source: str) -> tuple[Event, ...]:
    """What happens when in a drawn scene: its script is the ground truth."""
    events = SyntheticSource(source).script.events
    return tuple(Event(e.label.replace(" ", "_"), e.start, e.end) for e in events)


def decode(frame: Frame, description: Input) -> Image:
    """The frame's picture: grey if only motion is wanted, else BGR."""
    mode = cv2.IMREAD_GRAYSCALE if description.of_motion else cv2.IMREAD_COLOR
    data = np.frombuffer(frame.data, np.uint8)
    return np.asarray(cv2.imdecode(data, mode), np.uint8)
