"""Predictions, bundles and records for tests of what comes after the classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shared.bundle import Backbone, Description, Incidents, Input, Label
from shared.bus import Partition, Received, Record
from shared.messages import EndOfStream, FrameReference, Prediction

LIVE = "live-3-1000000000000000000"
FILE = "file-0-0"


def seconds(value: float) -> int:
    return round(value * 1_000_000) * 1000


def description(**times: float) -> Description:
    """Three labels: fighting was seen, explosion was only drawn; nine tenths open, half closes."""
    return Description(
        name="street",
        input=Input(fps=15, kind="rgb"),
        backbone=Backbone(),
        incidents=Incidents.model_validate(
            {
                "open_after_seconds": 1,
                "close_after_seconds": 2,
                "cooldown_seconds": 5,
                **times,
            }
        ),
        labels=(
            Label(name="normal", evidence="real"),
            Label(name="fighting", evidence="real", open_score=0.75, close_score=0.5),
            Label(name="explosion", evidence="synthetic", open_score=0.75, close_score=0.5),
        ),
    )


def bundle_folder(folder: Path) -> Path:
    """A bundle whose weights are empty files: enough for whoever reads only the description."""
    folder.mkdir(exist_ok=True)
    (folder / "bundle.toml").write_text(
        """
name = "street"
[input]
fps = 15.0
kind = "rgb"
[incidents]
open_after_seconds = 1.0
close_after_seconds = 2.0
cooldown_seconds = 5.0
[[labels]]
name = "normal"
evidence = "real"
[[labels]]
name = "fighting"
evidence = "real"
open_score = 0.75
close_score = 0.5
"""
    )
    for name in ("backbone.safetensors", "classifier.safetensors"):
        (folder / name).write_bytes(b"")
    return folder


def prediction(
    at: float,
    scores: Mapping[str, float] | float = 0.0,
    *,
    camera_id: str = "gate-3",
    session: str = FILE,
    index: int | None = None,
) -> Prediction:
    """One whose window ends `at` seconds; a bare number is the score of fighting."""
    given = dict(scores) if isinstance(scores, Mapping) else {"fighting": scores}
    last = round(at * 15) if index is None else index
    return Prediction(
        lane="street",
        camera_id=camera_id,
        session=session,
        first_index=max(last - 29, 0),
        last_index=last,
        started_at=max(seconds(at - 2), 0),
        ended_at=seconds(at),
        probabilities={"normal": max(1 - sum(given.values()), 0.0), **given},
        score=min(sum(given.values()), 1.0),
        attention=(),
        gaps=0,
        fingerprint="f" * 16,
        frames=(FrameReference(0, max(last - 29, 0)), FrameReference(0, last)),
    )


def end(at: float, *, camera_id: str = "gate-3", session: str = FILE) -> EndOfStream:
    return EndOfStream(camera_id, session, round(at * 15), seconds(at), "end")


class Log:
    """A partition of the predictions topic, appended to when the message says it happened."""

    def __init__(self, number: int = 0) -> None:
        self.partition = Partition("citywatch.street.predictions", number)
        self.received: list[Received] = []

    def add(self, *messages: Prediction | EndOfStream, appended_at: float | None = None) -> None:
        for message in messages:
            at = message.ended_at if appended_at is None else seconds(appended_at)
            record = Record(
                self.partition, len(self.received), message.camera_id, b"", (), at // 1_000_000
            )
            self.received.append(Received(record, message))

    def take(self, first: int = 0) -> list[Received]:
        return self.received[first:]
