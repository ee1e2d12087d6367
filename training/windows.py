"""Windows of tracks, by the serving rules, and what each of them shows.

Windows end at fixed multiples of the stride; short runs of missing steps are filled with the last
vector; a longer one restarts the window (`classifier/window.py`). A clip too short for one window
gets one that is filled at its start with the first vector (EVALUATION 11).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classifier.window import Window
from shared.bundle import Classifier
from shared.messages import NANOSECONDS, Features, FrameReference
from training.events import Event
from training.features import Track

IN_EVENT = 12
"""Steps of a window (0.8 s at 15 fps) that an event must fill for the window to show it."""


_RADIX = 1024


@dataclass(frozen=True)
class Windows:
    """Windows of many clips, in order.

    `rows` (W, T) are row numbers of the clip's track; `clip` (W,) is the clip's number; `last`
    (W,) the window's last step; `padded` (W,) says that it was filled, its clip being too short.
    """

    clip: npt.NDArray[np.intp]
    rows: npt.NDArray[np.intp]
    last: npt.NDArray[np.int64]
    padded: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.clip)

    def take(self, chosen: npt.NDArray[np.intp]) -> Windows:
        """Some of the windows."""
        return Windows(self.clip[chosen], self.rows[chosen], self.last[chosen], self.padded[chosen])

    def vectors(self, tracks: Sequence[Track]) -> npt.NDArray[np.float16]:
        """(W, T, D)."""
        return np.stack(
            [tracks[c].vectors[rows] for c, rows in zip(self.clip, self.rows, strict=True)]
        )

    def energy(self, tracks: Sequence[Track]) -> npt.NDArray[np.float32]:
        """(W, T)."""
        return np.stack(
            [tracks[c].energy[rows] for c, rows in zip(self.clip, self.rows, strict=True)]
        )

    def ends(self, tracks: Sequence[Track]) -> npt.NDArray[np.float64]:
        """(W,) seconds of the clip at which each window ends."""
        return np.array(
            [tracks[c].seconds[rows[-1]] for c, rows in zip(self.clip, self.rows, strict=True)]
        )


def cut(tracks: Sequence[Track], rules: Classifier, stride: int | None = None) -> Windows:
    """All windows of the tracks; `stride` other than the rules' is for training only."""
    step = stride or rules.stride
    clips: list[int] = []
    found: list[list[int]] = []
    ends: list[int] = []
    padded: list[bool] = []
    for number, track in enumerate(tracks):
        own = list(_of_track(track, rules, step))
        if own:
            found += [window for window, _ in own]
            ends += [last for _, last in own]
            clips += [number] * len(own)
            padded += [False] * len(own)
        elif (rows := np.flatnonzero(track.present)).size:
            last = rows[-rules.window :].tolist()
            found.append([last[0]] * (rules.window - len(last)) + last)
            ends.append(int(track.index[last[-1]]))
            clips.append(number)
            padded.append(True)
    return Windows(
        np.array(clips, np.intp),
        np.array(found, np.intp).reshape(len(found), rules.window),
        np.array(ends, np.int64),
        np.array(padded, np.bool_),
    )


def _of_track(track: Track, rules: Classifier, stride: int) -> Iterator[tuple[list[int], int]]:
    """Row numbers and last step of each window, from the window that serves.

    It is given row numbers in place of vectors, each as two numbers that float16 holds exactly.
    """
    window = Window(rules.window, stride, rules.max_gap)
    for row, (step, at) in enumerate(zip(track.index, track.seconds, strict=True)):
        there = bool(track.present[row])
        features = Features(
            "training", "clip", "file-0-0", int(step), int(step), round(at * NANOSECONDS), "",
            FrameReference(0, row), np.array(divmod(row, _RADIX), np.float16) if there else None,
            missing=None if there else "history",
        )  # fmt: skip
        for done in window.take(features, row):
            rows = done.features.astype(np.intp) @ np.array([_RADIX, 1])
            yield rows.tolist(), done.last.index


def targets(
    windows: Windows,
    tracks: Sequence[Track],
    labels: Sequence[int],
    events: Sequence[Sequence[Event] | None],
    names: Sequence[str],
) -> npt.NDArray[np.intp]:
    """(W,) what each window shows, -1 where that is open.

    A clip without events has its label throughout. Else a window shows the event that fills enough
    of it, normal if no event touches it, and is left open in between; so is the time right after
    an event, when smoke, wrecks and people on the ground remain.
    """
    normal = list(names).index("normal")
    result = np.empty(len(windows), np.intp)
    for i, (clip, rows) in enumerate(zip(windows.clip, windows.rows, strict=True)):
        own = events[clip]
        if own is None:
            result[i] = labels[clip]
            continue
        seconds = tracks[clip].seconds[rows]
        result[i] = normal
        for event in own:
            inside = int(np.sum((seconds >= event.onset) & (seconds <= event.offset)))
            after = seconds[-1] > event.onset
            if inside >= IN_EVENT:
                result[i] = list(names).index(event.label)
            elif after and result[i] == normal:
                result[i] = -1
    return result
