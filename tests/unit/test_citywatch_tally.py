from __future__ import annotations

from alerting.events import FramePlace, IncidentData
from citywatch.tally import Tally, prediction_fields
from ingest.sources import Facts
from ingest.supervisor import CameraStatus, State
from shared.messages import NANOSECONDS, EndOfStream, Frame, FrameReference, Prediction

S = NANOSECONDS


def frame(index: int, camera: str = "a", session: str = "file-0-0", **more: object) -> Frame:
    live = session.startswith("live")
    return Frame(camera, session, index, index * S // 15, live, (), "jpeg", 8, 8, b"", **more)  # type: ignore[arg-type]


def prediction(last: int, camera: str = "a", session: str = "file-0-0") -> Prediction:
    at = FrameReference(0, 0)
    return Prediction(
        "street", camera, session, last - 29, last, 0, last * S // 15,
        {"normal": 0.25, "fighting": 0.75}, 0.75, (), 0, "f", (at, at),
    )  # fmt: skip


def incident(state: str, camera: str = "a", label: str = "fighting") -> IncidentData:
    place = FramePlace(partition=0, offset=0)
    return IncidentData(
        id=f"{camera}:{label}", lane="street", camera_id=camera, session="file-0-0", label=label,
        state=state, started_at=2.0, ended_at=None if state == "open" else 5.0, peak_score=0.9,
        evidence="synthetic", reason=None, frames=(place, place), fingerprint="f",
    )  # type: ignore[arg-type] # fmt: skip


def status(
    state: State, camera: str = "a", error: str | None = None, facts: Facts | None = None
) -> CameraStatus:
    return CameraStatus(camera, "x.mp4", state, 0.0, 0, 0, 0, error, facts)


def end(reason: str = "end", session: str = "file-0-0", **more: object) -> EndOfStream:
    return EndOfStream("a", session, 9, 0, reason, **more)  # type: ignore[arg-type]


def test_every_drop_is_counted_once_with_its_reason() -> None:
    tally = Tally(["a"])
    tally.take(frame(0), 0)
    tally.take(frame(4, dropped_before={"bus_full": 3}), 0)
    tally.take(end(dropped_before={"bus_full": 1, "awaiting_key": 2}), 0)
    assert tally.dropped == {"bus_full": 4, "awaiting_key": 2}
    assert tally.summary(2.0) == {
        "type": "summary", "sources": 1, "frames": 2, "dropped": 6, "predictions": 0,
        "incidents": 0, "seconds": 2.0, "fps": 1.0, "failed": [],
    }  # fmt: skip


def test_over_when_every_recording_has_ended() -> None:
    tally = Tally(["a", "b"])
    tally.take(frame(0), 0)
    tally.take(end(), 0)
    assert not tally.over
    tally.note([status("down", "b", "cannot be opened")])
    assert tally.over, "what could never be opened gives nothing more"
    assert tally.failed == ["b"]


def test_a_live_camera_that_was_lost_is_not_over() -> None:
    tally = Tally(["a"])
    tally.take(frame(0, session="live-1-0"), 0)
    tally.take(end("lost", "live-1-0"), 0)
    tally.note([status("down")])
    assert not tally.over
    tally.take(frame(0, session="live-1-900"), 0)
    assert tally.cameras["a"].end is None
    tally.take(end("lost", "live-1-0"), 0)  # late news of the session before
    assert tally.cameras["a"].end is None


def test_incidents_open_and_close() -> None:
    tally = Tally(["a"])
    tally.take(incident("open"), 0)
    assert list(tally.cameras["a"].open) == ["a:fighting"]
    tally.take(incident("closed"), 0)
    assert not tally.cameras["a"].open
    assert tally.summary(1)["incidents"] == 1


def test_what_comes_twice_counts_once() -> None:
    tally = Tally(["a"])
    again = [prediction(29), prediction(34), prediction(29), prediction(34), prediction(39)]
    assert [tally.take(p, 0) for p in again] == [True, True, False, False, True]
    moves = [incident("open"), incident("open"), incident("closed"), incident("open")]
    assert [tally.take(i, 0) for i in moves] == [True, False, True, False]
    assert (tally.predictions, tally.summary(1)["incidents"]) == (3, 1)
    assert tally.take(prediction(29, session="live-1-0"), 0), "another session begins anew"


def test_latency_is_measured_on_live_cameras_alone() -> None:
    tally = Tally(["a"])
    tally.take(frame(0), 0)
    tally.take(prediction(29), 99 * S)
    assert tally.latency(0.5) is None
    tally.take(frame(0, session="live-1-0"), 0)
    for milliseconds in range(100):
        late = prediction(29 + 5 * milliseconds, session="live-1-0")
        tally.take(late, late.ended_at + milliseconds * 1_000_000)
    assert tally.latency(0.5) == 0.05
    assert tally.latency(0.99) == 0.099


def test_progress_of_a_recording_with_a_stated_start() -> None:
    tally = Tally(["a"])
    tally.note([status("up", facts=Facts("file", False, 8, 8, 25.0, "h264", 100))])
    start = 1_700_000_000 * S
    first = Frame("a", f"file-0-{start}", 0, start + 1 * S, False, (), "jpeg", 8, 8, b"")
    tally.take(first, 0)
    assert tally.cameras["a"].progress == 0.25


def test_fields_that_tools_rely_on() -> None:
    fields = prediction_fields(prediction(44))
    assert fields == {
        "type": "prediction", "id": "street:a:file-0-0:44", "camera_id": "a", "started_at": 0.0,
        "ended_at": 44 * S // 15 / S, "label": "fighting", "score": 0.75,
        "probabilities": {"normal": 0.25, "fighting": 0.75},
    }  # fmt: skip
