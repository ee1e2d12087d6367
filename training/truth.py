"""What truly happens when in a clip."""

from __future__ import annotations

import numpy as np

from training.clips import script
from training.events import Event
from training.features import Track
from training.manifest import Clip


def events_of(clip: Clip, track: Track | None = None) -> list[Event] | None:
    """What happens when in a clip; None if that is not known.

    From the script of a drawn scene, or from frame labels (whose frames are taken as evenly spread
    over the track).
    """
    if clip.drawn:
        return list(script(clip.source))
    if clip.frame_labels is None or track is None:
        return None
    flags = np.array([0, *clip.frame_labels, 0])
    begins, ends = np.flatnonzero(np.diff(flags) == 1), np.flatnonzero(np.diff(flags) == -1)
    per_frame = track.duration / max(len(clip.frame_labels) - 1, 1)
    return [
        Event(clip.label, float(begin * per_frame), float((end - 1) * per_frame))
        for begin, end in zip(begins, ends, strict=True)
    ]
