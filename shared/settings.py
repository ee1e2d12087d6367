"""Settings: command line > environment > TOML file > default, resolved once, unknown keys refused.

A section is a frozen class; its table in `citywatch.toml` is `[section]`, its variables are
`CITYWATCH_SECTION_KEY`, its command line form is `--set section.key=value`. Nothing else in the
project reads the environment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from shared.errors import InvalidSettings

PREFIX = "CITYWATCH_"
S = TypeVar("S", bound="Section")


class Section(BaseModel):
    """Base of every settings class."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
    section: ClassVar[str]


class ServiceSettings(Section):
    """What every process has."""

    section: ClassVar[str] = "service"

    host: str = Field("127.0.0.1", description="address that serves metrics and health")
    port: int = Field(0, ge=0, le=65535, description="its port; 0: none is opened")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    log_json: bool = Field(False, description="one JSON object a line, for log collectors")
    start_timeout_seconds: float = Field(
        30, gt=0, description="how long to wait for Kafka or Redis at start before giving up"
    )


class KafkaSettings(Section):
    """Where Kafka is, and how topics are made there."""

    section: ClassVar[str] = "kafka"

    bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port, comma-separated")
    prefix: str = Field("citywatch", pattern="^[A-Za-z0-9._-]+$", description="of all topics")
    partitions: int = Field(16, ge=1, le=10_000, description="of every topic, fixed at creation")
    replication_factor: int = Field(1, ge=1, description="of new topics")
    security_protocol: str = Field("PLAINTEXT", pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$")
    username: str | None = Field(None, description="for SASL SCRAM-SHA-512")
    password: SecretStr | None = None
    ssl_cafile: Path | None = None
    linger_ms: int = Field(10, ge=0, description="how long a batch waits for company")
    batch_bytes: int = Field(512 << 10, ge=16 << 10, description="largest batch per partition")
    buffer_bytes: int = Field(64 << 20, ge=1 << 20, description="unacknowledged bytes at most")
    fetch_bytes: int = Field(8 << 20, ge=1 << 16, description="per partition and fetch, at most")
    session_timeout_seconds: float = Field(10, ge=6, description="silence that costs membership")


class WorkerSettings(Section):
    """How the worker loop batches. Part of each service's own section."""

    section: ClassVar[str] = "worker"

    max_records: int = Field(256, ge=1, description="records in a batch, at most")
    max_wait_seconds: float = Field(0.02, ge=0, description="a batch waits for company, at most")
    in_flight: int = Field(2, ge=0, description="batches whose outputs may be unacknowledged")
    decode_threads: int = Field(0, ge=0, description="0: decode in the worker's own thread")
    delivery_timeout_seconds: float = Field(30, gt=0, description="then outputs are sent again")
    commit_interval_seconds: float = Field(1.0, ge=0)
    max_dead_letters_per_minute: int = Field(1000, ge=1, description="beyond it the worker stops")


class Configuration:
    """The three sources of settings, read once; `get` makes a section of them."""

    def __init__(
        self,
        file: Path | None = None,
        overrides: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.file = file
        self.tables: dict[str, Any] = _read(file) if file else {}
        self._overrides = dict(_override(text) for text in overrides)
        self._environment = os.environ if environment is None else environment

    def get(self, kind: type[S]) -> S:
        """Resolve one section; raises InvalidSettings naming the key, the place and the fault."""
        name = kind.section
        table = self.tables.get(name, {})
        if not isinstance(table, dict):
            raise InvalidSettings(f"{self.file}: [{name}] must be a table")
        prefix = f"{PREFIX}{name.upper()}_"
        environment = {
            key.removeprefix(prefix).lower(): value
            for key, value in self._environment.items()
            if key.startswith(prefix)
        }
        overrides = {
            key: value for (section, key), value in self._overrides.items() if section == name
        }
        values = table | environment | overrides
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            key = str(problem["loc"][0])
            where = (
                f"--set {name}.{key}" if key in overrides
                else prefix + key.upper() if key in environment
                else f"{self.file}: [{name}] {key}"
            )  # fmt: skip
            known = ", ".join(sorted(kind.model_fields))
            hint = f"; known keys: {known}" if problem["type"] == "extra_forbidden" else ""
            raise InvalidSettings(f"{where}: {problem['msg']}{hint}") from None

    def refuse_unknown(self, *known: type[Section]) -> Self:
        """Raise InvalidSettings for a table, variable or override of no known section."""
        sections = {kind.section for kind in known}
        for table in self.tables.keys() - sections - {"cameras"}:
            names = ", ".join(sorted(sections))
            raise InvalidSettings(f"{self.file}: unknown table [{table}]; known: {names}, cameras")
        for section, key in self._overrides:
            if section not in sections:
                raise InvalidSettings(f"--set {section}.{key}: no such section")
        return self


def redacted(settings: Section) -> dict[str, Any]:
    """The settings as they may be shown: secrets as stars."""
    return settings.model_dump(mode="json")


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except FileNotFoundError:
        raise InvalidSettings(f"{file}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidSettings(f"{file}: {error}") from None


def _override(text: str) -> tuple[tuple[str, str], str]:
    name, equals, value = text.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and section and key):
        raise InvalidSettings(f"--set {text}: write it as section.key=value")
    return (section, key), value
