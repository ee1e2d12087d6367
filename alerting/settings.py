"""The knobs of alerting: table `[alerting]`, variables `CITYWATCH_ALERTING_*`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from shared.settings import Section

Score = Field(None, ge=0, le=1)


class LabelSettings(BaseModel):
    """Thresholds of one label that differ from the bundle's: `[alerting.labels.fighting]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    open_score: float | None = Score
    close_score: float | None = Score


class AlertingSettings(Section):
    """When incidents open and close, and where they are kept."""

    section: ClassVar[str] = "alerting"

    bundle: Path = Field(Path("models/street"), description="whose labels and thresholds hold")
    lane: str | None = Field(None, description="default: the bundle's name")
    store: Literal["redis", "sqlite"] = Field("redis", description="redis|sqlite")
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="may hold user and password"
    )
    sqlite_file: str = Field(":memory:", description="of the embedded store; :memory: for none")
    durability_window_seconds: float = Field(
        2.0, ge=0, description="what Redis may lose when it dies; commits stay that far behind"
    )
    silence_seconds: float = Field(
        30.0, gt=0, description="in event time: then a session's incidents close"
    )
    session_days: float = Field(8.0, gt=0, description="a session is remembered this long in Redis")
    incident_days: float = Field(90.0, gt=0, description="an incident can be listed this long")

    open_score: float | None = Field(None, ge=0, le=1, description="of all labels; else bundle's")
    close_score: float | None = Field(None, ge=0, le=1, description="of all labels; else bundle's")
    open_after_seconds: float | None = Field(None, ge=0, description="else the bundle's")
    close_after_seconds: float | None = Field(None, ge=0, description="else the bundle's")
    cooldown_seconds: float | None = Field(None, ge=0, description="else the bundle's")
    adaptive_quantile: float | None = Field(
        None, ge=0.5, lt=1, description="open_score is at least this quantile of a camera's own "
        "recent scores, such as 0.99; else the same for all cameras",
    )  # fmt: skip
    adaptive_half_life_seconds: float = Field(
        3600.0, ge=60, description="in event time: after that a score counts half"
    )
    labels: Mapping[str, LabelSettings] = Field({}, description="tables of thresholds, by label")
