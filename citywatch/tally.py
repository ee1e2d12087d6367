"""What has happened so far, counted from the records themselves. Pure: no clock, no output."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alerting.events import IncidentData
from ingest.supervisor import CameraStatus
from shared.messages import NANOSECONDS, EndOfStream, Frame, Prediction, Session

Seen = Frame | EndOfStream | Prediction | IncidentData
"""What the front door reads from the bus."""

_KEPT = 100_000  # latencies and incidents of a run that never ends


@dataclass
class CameraTally:
    """One camera's numbers."""

    camera_id: str
    session: str = ""
    live: bool = False
    frames: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    predictions: int = 0
    begun_at: int = 0
    last_frame_at: int = 0
    duration: float | None = None
    last: Prediction | None = None
    open: dict[str, IncidentData] = field(default_factory=dict)
    end: EndOfStream | None = None
    state: str = "starting"
    error: str | None = None

    @property
    def progress(self) -> float | None:
        """Share of a recording that has been read, 0..1; None if its length is not known."""
        if self.live or not self.duration:
            return None
        return min((self.last_frame_at - self.begun_at) / NANOSECONDS / self.duration, 1.0)

    @property
    def over(self) -> bool:
        """Whether no more will come: a recording at its end, or what could never be opened."""
        if self.live:
            return False
        return self.end is not None or (self.state == "down" and not self.frames)

    @property
    def failed(self) -> bool:
        """Whether the source cannot be read now, or could not be to its end."""
        return self.state in ("failed", "down")


class Tally:
    """All cameras' numbers."""

    def __init__(self, camera_ids: Iterable[str]) -> None:
        self.cameras = {camera_id: CameraTally(camera_id) for camera_id in camera_ids}
        self.incidents: dict[str, IncidentData] = {}
        self.incident_count = 0
        self._latencies: deque[float] = deque(maxlen=_KEPT)

    def take(self, seen: Seen, now: int) -> bool:
        """Count one message; `now` (ns since the epoch) tells the latency of a live camera.

        False if it was counted before: delivery is at least once, and the first content counts.
        """
        camera = self.cameras.setdefault(seen.camera_id, CameraTally(seen.camera_id))
        if self._repeats(camera, seen):
            return False
        match seen:
            case Frame():
                if camera.end is not None and camera.end.session != seen.session:
                    camera.end = None  # a live camera came back
                camera.frames += 1
                if camera.session != seen.session:
                    camera.session = seen.session
                    camera.begun_at = Session.parse(seen.session).started_at
                camera.live = seen.live
                camera.last_frame_at = seen.captured_at
                camera.dropped.update(seen.dropped_before)
            case EndOfStream():
                camera.dropped.update(seen.dropped_before)
                if camera.session in ("", seen.session):
                    camera.end = seen
            case Prediction():
                camera.predictions += 1
                camera.last = seen
                if camera.live:
                    self._latencies.append((now - seen.ended_at) / NANOSECONDS)
            case IncidentData():
                self.incident_count += seen.id not in self.incidents
                self.incidents[seen.id] = seen
                if len(self.incidents) > _KEPT:
                    del self.incidents[next(iter(self.incidents))]
                if seen.state == "open":
                    camera.open[seen.id] = seen
                else:
                    camera.open.pop(seen.id, None)
        return True

    def _repeats(self, camera: CameraTally, seen: Seen) -> bool:
        if isinstance(seen, Prediction):
            last = camera.last
            return (
                last is not None
                and last.session == seen.session
                and seen.last_index <= last.last_index
            )
        if isinstance(seen, IncidentData):
            known = self.incidents.get(seen.id)
            return known is not None and known.state in (seen.state, "closed")
        return False

    def note(self, statuses: Iterable[CameraStatus]) -> None:
        """Keep the newest word of ingest on each camera."""
        for status in statuses:
            camera = self.cameras.setdefault(status.id, CameraTally(status.id))
            camera.state, camera.error = status.state, status.error
            facts = status.facts
            if facts is not None and not facts.live and facts.frames and facts.fps:
                camera.duration = facts.frames / facts.fps

    @property
    def frames(self) -> int:
        """Frames sampled and published."""
        return sum(camera.frames for camera in self.cameras.values())

    @property
    def predictions(self) -> int:
        """Windows classified."""
        return sum(camera.predictions for camera in self.cameras.values())

    @property
    def dropped(self) -> Counter[str]:
        """Frames sampled and not published, by reason."""
        return sum((camera.dropped for camera in self.cameras.values()), Counter())

    @property
    def failed(self) -> list[str]:
        """Cameras whose source could not be read, or not to its end."""
        return [camera.camera_id for camera in self.cameras.values() if camera.failed]

    @property
    def over(self) -> bool:
        """Whether no more will come from any camera."""
        return all(camera.over for camera in self.cameras.values())

    def latency(self, share: float) -> float | None:
        """Seconds from capture to prediction that this share of live windows kept within."""
        ordered = sorted(self._latencies)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None

    def summary(self, seconds: float) -> dict[str, Any]:
        """The last line of `--json`; `seconds` since the cameras were started."""
        return {
            "type": "summary",
            "sources": len(self.cameras),
            "frames": self.frames,
            "dropped": sum(self.dropped.values()),
            "predictions": self.predictions,
            "incidents": self.incident_count,
            "seconds": round(seconds, 3),
            "fps": round(self.frames / seconds, 1) if seconds > 0 else 0.0,
            "failed": self.failed,
        }


def prediction_fields(prediction: Prediction) -> Mapping[str, Any]:
    """A prediction as `--json` prints it."""
    return {
        "type": "prediction",
        "id": prediction.id,
        "camera_id": prediction.camera_id,
        "started_at": prediction.started_at / NANOSECONDS,
        "ended_at": prediction.ended_at / NANOSECONDS,
        "label": prediction.label,
        "score": round(prediction.score, 6),
        "probabilities": {name: round(p, 6) for name, p in prediction.probabilities.items()},
    }
