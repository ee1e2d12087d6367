"""The settings of all stages together: resolved for one process, and shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from shared.bundle import Bundle, find
from shared.errors import InvalidBundle
from shared.settings import (
    Configuration,
    KafkaSettings,
    Section,
    ServiceSettings,
    WorkerSettings,
    redacted,
)

LANES = ("featurizer", "classifier", "alerting")
"""The stages that serve a lane, each with its `bundle` and `lane`."""
PORT = 8600
INCIDENTS = "incidents.db"


def sections() -> list[type[Section]]:
    """Every settings class of the project."""
    return [
        ServiceSettings,
        WorkerSettings,
        KafkaSettings,
        *(
            getattr(import_module(f"{name}.settings"), f"{name.capitalize()}Settings")
            for name in ("ingest", *LANES)
        ),
    ]


def resolve(
    file: Path | None,
    overrides: Iterable[str],
    bundle: Path | None = None,
    fixed: Sequence[str] = (),
    defaults: Mapping[tuple[str, str], object] | None = None,
) -> Configuration:
    """All settings, checked at once; raises InvalidSettings.

    `bundle` is set for every stage. `fixed` is what the calling command requires: it yields to
    `overrides` and to nothing else. `defaults` yield to file and environment too.
    """
    chosen = [f"{name}.bundle={bundle}" for name in LANES] if bundle is not None else []
    configuration = Configuration(file, [*fixed, *chosen, *overrides])
    for (section, key), value in (defaults or {}).items():
        configuration.tables.setdefault(section, {}).setdefault(key, value)
    configuration.refuse_unknown(*sections())
    for kind in sections():
        configuration.get(kind)
    return configuration


def served(file: Path) -> dict[tuple[str, str], object]:
    """What `serve` has by default and the services have not: a port, and a store that is a file."""
    return {
        ("service", "port"): PORT,
        ("alerting", "sqlite_file"): str(file.resolve().parent / INCIDENTS),
    }


def lane_and_bundle(configuration: Configuration) -> tuple[str, Bundle]:
    """The one lane that this process serves and its bundle.

    Raises InvalidBundle if the bundle is absent or damaged, or if the stages name different ones.
    """
    named = {}
    for kind in sections():
        if kind.section in LANES:
            settings = configuration.get(kind)
            folder = find(settings.bundle)  # type: ignore[attr-defined]
            named[kind.section] = (folder, settings.lane)  # type: ignore[attr-defined]
    if len(set(named.values())) > 1:
        raise InvalidBundle(
            "[featurizer], [classifier] and [alerting] name different bundles or lanes: "
            + "; ".join(f"{name} {folder}" for name, (folder, _) in named.items())
        )
    folder, lane = next(iter(named.values()))
    bundle = Bundle(folder)
    return lane or bundle.name, bundle


def show(file: Path | None, overrides: Iterable[str]) -> None:
    """Print every setting as it resolves now, as TOML; secrets as stars."""
    configuration = Configuration(file, overrides).refuse_unknown(*sections())
    for kind in sections():
        print(f"[{kind.section}]")
        values = redacted(configuration.get(kind))
        rows = {key: _toml(value) for key, value in values.items()}
        width = max(len(f"{key} = {value}") for key, value in rows.items())
        for key, value in rows.items():
            meaning = kind.model_fields[key].description
            line = f"{key} = {value}" if value is not None else f"# {key} ="
            print(f"{line:{min(width, 48)}}  # {meaning}" if meaning else line)
        print()


def _toml(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) or "" for item in value) + "]"
    if isinstance(value, dict):
        pairs = [f"{key} = {_toml(item)}" for key, item in value.items() if item is not None]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, int | float):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
