"""The knobs of the classifier: table `[classifier]`, variables `CITYWATCH_CLASSIFIER_*`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from shared.settings import WorkerSettings


class ClassifierSettings(WorkerSettings):
    """Which network runs, and when a silent camera's window is let go."""

    section: ClassVar[str] = "classifier"

    bundle: Path = Field(Path("models/street"), description="folder of the model bundle")
    lane: str | None = Field(None, description="the bundle's name if absent")
    backend: Literal["openvino", "torch"] = Field("openvino", description="what runs it, on a CPU")
    threads: int = Field(1, ge=1, description="of openvino; windows are cheap beside frames")
    idle_timeout_seconds: float = Field(
        60.0, gt=0, description="silence after which a camera's window is let go; above the "
        "longest gap that a window forgives, plus the largest delay of ingest",
    )  # fmt: skip
