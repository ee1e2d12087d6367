"""The knobs of ingest: table `[ingest]`, variables `CITYWATCH_INGEST_*`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from shared.settings import Section

Decoder = Literal["auto", "software", "vaapi", "nvdec"]


class IngestSettings(Section):
    """How pictures become frames, and how captures are watched over."""

    section: ClassVar[str] = "ingest"

    long_side: int = Field(640, ge=64, le=1920, description="of the pictures sent, in pixels")
    pictures: Literal["jpeg", "grey"] = Field(
        "jpeg", description="jpeg: colour, for people and every lane; grey: bare luminance, within "
        "one process and for models of motion",
    )  # fmt: skip
    jpeg_quality: int = Field(85, ge=30, le=100)
    static_gating: bool = Field(True, description="send `unchanged` where nothing moves")
    key_interval_seconds: float = Field(
        1.0, gt=0, description="a full picture at least this often: twice in a window of 2 s"
    )
    decoder: Decoder = Field(
        "auto",
        description="auto: what the machine has, else software; nvdec: H.264 only, and needs an "
        "OpenCV whose FFmpeg has it, which the one on PyPI does not",
    )
    decoder_threads: int = Field(
        0, ge=0, le=64, description="per camera; 0: one for a live camera, two for a recording"
    )
    open_timeout_seconds: float = Field(10, gt=0, description="for a camera to answer")
    read_timeout_seconds: float = Field(5, gt=0, description="without a picture: opened again")
    retry_seconds: float = Field(1, gt=0, description="first wait before a camera is tried again")
    max_retry_seconds: float = Field(30, gt=0, description="longest wait between two tries")
    pace: bool = Field(True, description="loops and endless drawn cameras run at their own speed")
    secrets_folder: Path | None = Field(None, description="one file per secret, named as it")
    reload_seconds: float = Field(3600, gt=0, description="the camera list is read anew this often")
    flush_timeout_seconds: float = Field(10, gt=0, description="for the last frames, at shutdown")
