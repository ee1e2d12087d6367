"""The knobs of the featurizer: table `[featurizer]`, variables `CITYWATCH_FEATURIZER_*`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from shared.settings import WorkerSettings


class FeaturizerSettings(WorkerSettings):
    """Which network runs where, and how frames are gathered for it."""

    section: ClassVar[str] = "featurizer"

    bundle: Path = Field(Path("models/street"), description="folder of the model bundle")
    lane: str | None = Field(None, description="the bundle's name if absent")
    backend: Literal["auto", "openvino", "torch", "reference"] = Field(
        "auto", description="auto: torch where there is a CUDA device, else openvino"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="of the torch backend")
    precision: Literal["auto", "f32", "bf16", "int8"] = Field(
        "auto", description="of openvino; auto: int8 where the bundle has it (training quantize) "
        "and the CPU is fast at it, bf16 on CPUs with AMX, else f32",
    )  # fmt: skip
    threads: int = Field(0, ge=0, description="of the network on a CPU; 0: one per core")
    batch: int = Field(64, ge=1, le=1024, description="images that enter the network together")
    max_frame_age_seconds: float = Field(
        30.0, gt=0, description="live frames that wait longer in the log, or for so long over a "
        "tenth of it, are shed, and their partition goes on with its newest; inf: never",
    )  # fmt: skip
    idle_timeout_seconds: float = Field(
        60.0, gt=0, description="silence after which a camera's earlier pictures are let go"
    )

    max_records: int = Field(64, ge=1, description="frames in a batch, at most")
    decode_threads: int = Field(2, ge=0, description="that decode JPEGs; 0: the worker's own")
