"""The files of `deploy/` and the compose file, read as a test needs them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from shared import metrics

ROOT = Path(__file__).parents[2]
SERVICES = ("ingest", "featurizer", "classifier", "alerting")
DASHBOARD = ROOT / "deploy/grafana/dashboards/fleet.json"
PROMETHEUS = ROOT / "deploy/prometheus"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class Unset(Exception):
    """A variable that the compose file requires is not set."""


def compose(variables: Mapping[str, str], file: str = "docker-compose.yml") -> dict[str, Any]:
    """The compose file with its variables put in, as Docker does; raises Unset."""

    def put_in(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if value := variables.get(name):
            return value
        if kind == "?":
            raise Unset(f"{name}: {rest}")
        return rest if kind == "-" else ""

    text = _VARIABLE.sub(put_in, (ROOT / file).read_text())
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Panel title and query, with Grafana's rate interval stated."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")


def metric_names(query: str) -> set[str]:
    """The names of citywatch's metrics in a query."""
    return set(re.findall(r"\bcitywatch_\w+", query))


def defined_names() -> set[str]:
    """Every name under which `shared/metrics.py` gives samples."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {
        family.name + suffix
        for family in metrics.registry.collect()
        for suffix in suffixes.get(family.type, ())
    }
