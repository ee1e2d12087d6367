"""Settings: command line > environment > TOML file > default, resolved once, unknown keys refused.

A section is a frozen class; its table in `citywatch.toml` is `[section]`, its variables are
`CITYWATCH_SECTION_KEY`, its command line form is `--set section.key=value`. Nothing else in the
project reads the environment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from shared.errors import InvalidSettings

PREFIX = "CITYWATCH_"
TABLES = frozenset(
    ["service", "worker", "kafka", "ingest", "featurizer", "classifier", "alerting", "cameras"]
)
"""Every table that a `citywatch.toml` may hold; a service passes over those of the others."""
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
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG|INFO|WARNING|ERROR"
    )
    log_json: bool = Field(False, description="one JSON object a line, for log collectors")
    start_timeout_seconds: float = Field(
        30, gt=0, description="how long Kafka or Redis may take to answer at start"
    )


class KafkaSettings(Section):
    """Where Kafka is, and how topics are made there."""

    section: ClassVar[str] = "kafka"

    bootstrap_servers: str = Field("127.0.0.1:9092", description="host:port, comma-separated")
    prefix: str = Field("citywatch", pattern="^[A-Za-z0-9._-]+$", description="of all topics")
    partitions: int = Field(16, ge=1, le=10_000, description="of every topic, fixed at creation")
    replication_factor: int = Field(1, ge=1, description="of new topics")
    security_protocol: str = Field(
        "PLAINTEXT",
        pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$",
        description="PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL",
    )
    username: str | None = Field(None, description="for SASL SCRAM-SHA-512")
    password: SecretStr | None = Field(None, description="for SASL SCRAM-SHA-512")
    ssl_cafile: Path | None = Field(None, description="certificates that brokers are checked by")
    linger_ms: int = Field(20, ge=0, description="how long a batch waits for company")
    batch_bytes: int = Field(512 << 10, ge=16 << 10, description="largest batch per partition")
    buffer_bytes: int = Field(64 << 20, ge=1 << 20, description="unacknowledged bytes at most")
    fetch_bytes: int = Field(8 << 20, ge=1 << 16, description="per partition and fetch, at most")
    session_timeout_seconds: float = Field(10, ge=6, description="silence that costs membership")
    instance: str | None = Field(
        None,
        pattern="^[A-Za-z0-9._-]{1,200}$",
        description="a name that only this process of its service has, the same after each "
        "restart (a StatefulSet's pod): its partitions then wait for it one session time-out",
    )


class WorkerSettings(Section):
    """How the worker loop batches. Part of each service's own section."""

    section: ClassVar[str] = "worker"

    max_records: int = Field(256, ge=1, description="records in a batch, at most")
    max_wait_seconds: float = Field(0.02, ge=0, description="a batch waits for company, at most")
    in_flight: int = Field(2, ge=0, description="batches whose outputs may be unacknowledged")
    decode_threads: int = Field(0, ge=0, description="0: decode in the worker's own thread")
    delivery_timeout_seconds: float = Field(30, gt=0, description="then outputs are sent again")
    commit_interval_seconds: float = Field(1.0, ge=0, description="between two commits, at least")
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
            key = str(problem["loc"][0]) if problem["loc"] else ""
            where = (
                f"--set {name}.{key}" if key in overrides
                else prefix + key.upper() if key in environment
                else f"{self.file or 'settings'}: [{name}] {key}".rstrip()
            )  # fmt: skip
            known = ", ".join(sorted(kind.model_fields))
            hint = f"; known keys: {known}" if problem["type"] == "extra_forbidden" else ""
            raise InvalidSettings(f"{where}: {problem['msg']}{hint}") from None

    def refuse_unknown(
        self, *known: type[Section], elsewhere: Collection[str] = ("cameras",)
    ) -> Self:
        """Raise InvalidSettings for a table or override of no known section.

        Tables in `elsewhere` are passed over: one file may serve all services.
        """
        sections = {kind.section for kind in known}
        for table in sorted(self.tables.keys() - sections - set(elsewhere)):
            names = ", ".join(sorted(sections | set(elsewhere)))
            raise InvalidSettings(f"{self.file}: unknown table [{table}]; known: {names}")
        for section, key in self._overrides:
            if section not in sections:
                names = ", ".join(sorted(sections))
                raise InvalidSettings(f"--set {section}.{key}: no such section; known: {names}")
        return self


def describe(sections: Iterable[type[Section]]) -> str:
    """Every key of the sections, a line each, with its default and what it means: for --help."""
    rows = [
        (f"{kind.section}.{key}", _default(field), field.description or "")
        for kind in sections
        for key, field in kind.model_fields.items()
    ]
    widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
    return "\n".join(
        f"  {key:{widths[0]}}  {default:{widths[1]}}  {meaning}".rstrip()
        for key, default, meaning in rows
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "-" if value is None or value == () else str(value)


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
