"""The knobs of ingest: table `[ingest]`, variables `CITYWATCH_INGEST_*`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from shared.settings import Section


class IngestSettings(Section):
    """How pictures become frames, and how captures are watched over."""

    section: ClassVar[str] = "ingest"

    long_side: int = Field(640, ge=64, le=1920, description="of the pictures sent, in pixels")
    jpeg_quality: int = Field(85, ge=30, le=100)
    static_gating: bool = Field(True, description="send `unchanged` where nothing moves")
    key_interval_seconds: float = Field(
        1.0, gt=0, description="a full picture at least this often: twice in a window of 2 s"
    )
