"""`--annotate`: the video as it was seen, with region, score, label and incidents drawn in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from alerting.incidents import Rules, SessionState, advance
from citywatch.tally import Seen
from citywatch.view import clock
from shared.bundle import NORMAL
from shared.cameras import Camera
from shared.errors import InvalidInput
from shared.messages import NANOSECONDS, Frame, Prediction

_WAIT = 150
"""Frames held back for the prediction on them, at most; where none comes they go out without."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _GREY, _RED, _AMBER, _GREEN = (
    (255, 255, 255), (150, 150, 150), (60, 60, 230), (40, 170, 240), (110, 190, 90),
)  # fmt: skip


class Annotator:
    """Writes one video a camera: OUT.mp4, with more than one camera OUT-<camera>.mp4."""

    def __init__(self, path: Path, cameras: Sequence[Camera], rules: Rules) -> None:
        if not path.parent.is_dir():
            raise InvalidInput(f"{path}: there is no folder {path.parent}")
        one = len(cameras) == 1
        self._films = {
            camera.id: _Film(
                path if one else path.with_stem(f"{path.stem}-{camera.id}"), camera.fps, rules
            )
            for camera in cameras
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for film in self._films.values():
            film.close()

    def take(self, seen: Seen) -> None:
        """Frames wait for the prediction that covers them, so that both are drawn together."""
        film = self._films.get(seen.camera_id)
        if film is not None:
            film.take(seen)

    def tick(self) -> None:
        """Nothing to do between messages."""


class _Film:
    """One camera's video. Each frame shows what was known by then: causal, as an operator sees it.

    Incidents come from alerting's own state machine, fed here with the same predictions: those on
    the anomaly topic arrive when alerting gets round to them, too late to know which frame is due.
    """

    def __init__(self, path: Path, fps: float, rules: Rules) -> None:
        self._path = path
        self._fps = fps
        self._rules = rules
        self._limits = {rule.label: rule.open_score for rule in rules.labels}
        self._writer: Any = None
        self._waiting: deque[Frame] = deque()
        self._now: Prediction | None = None
        self._state = SessionState()
        self._image: np.ndarray | None = None
        self._index = -1
        self._session = ""

    def take(self, seen: Seen) -> None:
        if isinstance(seen, Frame):
            self._waiting.append(seen)
            while len(self._waiting) > _WAIT:
                self._write(self._waiting.popleft())
        elif isinstance(seen, Prediction):
            while self._waiting and self._waiting[0].captured_at < seen.ended_at:
                self._write(self._waiting.popleft())
            if self._now is not None and self._now.session != seen.session:
                self._state = SessionState()
            self._now = seen
            self._state, _ = advance(self._state, seen, seen.ended_at, self._rules)

    def close(self) -> None:
        while self._waiting:
            self._write(self._waiting.popleft())
        if self._writer is not None:
            self._writer.release()

    def _write(self, frame: Frame) -> None:
        image = self._picture(frame)
        if image is None:
            return
        height, width = image.shape[:2]
        if self._writer is None:
            size = (width // 2 * 2, height // 2 * 2)
            self._writer = cv2.VideoWriter(
                str(self._path), cv2.VideoWriter.fourcc(*"mp4v"), self._fps, size
            )
            if not self._writer.isOpened():
                raise InvalidInput(f"{self._path}: this video cannot be written")
            self._size = size
        if frame.session != self._session:
            self._session, self._index = frame.session, frame.index - 1
        drawn = self._drawn(frame, image.copy())
        # A dropped frame leaves its slot: the picture stands, so that time stays true.
        for _ in range(min(frame.index - self._index, int(self._fps * 10))):
            self._writer.write(drawn[: self._size[1], : self._size[0]])
        self._index = frame.index

    def _picture(self, frame: Frame) -> np.ndarray | None:
        if frame.encoding == "jpeg":
            image = cv2.imdecode(np.frombuffer(frame.data, np.uint8), cv2.IMREAD_COLOR)
            self._image = None if image is None else np.asarray(image)
        elif frame.encoding == "raw":
            flat = np.frombuffer(frame.data, np.uint8)
            self._image = flat.reshape(frame.height, frame.width, 3)
        return self._image  # `unchanged`: the last one still stands

    def _drawn(self, frame: Frame, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        unit = max(width / 640, 0.45)  # text and lines grow with the picture
        if frame.motion.energy > 0:
            left, top, wide, high = frame.motion.region
            corner = round(left * width), round(top * height)
            opposite = round((left + wide) * width), round((top + high) * height)
            cv2.rectangle(image, corner, opposite, _GREY, 1, cv2.LINE_AA)
        strip = round(30 * unit)
        image[-strip:] = (image[-strip:] * 0.35).astype(np.uint8)
        base = height - round(10 * unit)
        _text(image, clock(frame.captured_at / NANOSECONDS), (round(8 * unit), base), unit)
        if self._now is not None:
            self._score(image, self._now, unit, base, strip)
        if self._state.open:
            image[:strip] = _RED
            names = ", ".join(sorted({i.label.replace("_", " ") for i in self._state.open}))
            _text(image, f"INCIDENT: {names}", (round(8 * unit), round(21 * unit)), 1.1 * unit)
            cv2.rectangle(image, (0, 0), (width - 1, height - 1), _RED, max(round(3 * unit), 2))
        return image

    def _score(
        self, image: np.ndarray, now: Prediction, unit: float, base: int, strip: int
    ) -> None:
        limit = self._limits.get(now.label, 0.5)
        colour = _RED if now.score >= limit else _AMBER if now.score >= limit / 2 else _GREEN
        left, wide = round(120 * unit), round(180 * unit)
        top, bottom = image.shape[0] - round(0.66 * strip), image.shape[0] - round(0.34 * strip)
        cv2.rectangle(image, (left, top), (left + wide, bottom), _GREY, 1)
        cv2.rectangle(image, (left, top), (left + round(now.score * wide), bottom), colour, -1)
        label = "normal" if now.label == NORMAL else now.label.replace("_", " ")
        _text(image, f"{now.score:.2f} {label}", (left + wide + round(10 * unit), base), unit)


def _text(image: np.ndarray, text: str, at: tuple[int, int], unit: float) -> None:
    cv2.putText(image, text, at, _FONT, 0.5 * unit, _WHITE, max(round(unit), 1), cv2.LINE_AA)
