"""Dashboard and alert rules speak only of metrics that exist."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from citywatch.configuration import sections
from shared.topics import HOUR, Topics
from tests.support.deployment import (
    DASHBOARD,
    PROMETHEUS,
    ROOT,
    SERVICES,
    defined_names,
    metric_names,
    queries,
    rules,
)

FLEET = json.loads(DASHBOARD.read_text())
GRAFANA = ROOT / "deploy/grafana/provisioning"


@pytest.mark.parametrize(("title", "query"), list(queries()))
def test_panels_ask_for_metrics_that_exist(title: str, query: str) -> None:
    assert metric_names(query)
    assert metric_names(query) <= defined_names(), title


def test_rules_ask_for_metrics_that_exist() -> None:
    for rule in rules():
        names = metric_names(rule["expr"])
        assert names <= defined_names(), rule["alert"]
        assert names or "up{" in rule["expr"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_every_alert_has_an_entry_in_the_runbook() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    runbook = page[page.index("## Runbook") :]
    headings = re.findall(r"^### (\w+)$", runbook, re.MULTILINE)
    assert headings == [rule["alert"] for rule in rules()]
    for rule in rules():
        url = rule["annotations"]["runbook_url"]
        assert url == f"docs/operations.md#{rule['alert'].lower()}"


def test_operations_speak_of_what_exists() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    names = defined_names() | {name.removesuffix("_bucket") for name in defined_names()}
    assert metric_names(page) - names == set()
    known = {f"{kind.section}.{key}" for kind in sections() for key in kind.model_fields}
    prefixes = "|".join(kind.section for kind in sections())
    assert set(re.findall(rf"`((?:{prefixes})\.\w+)", page)) - known == set()
    anchors = {h.lower() for h in re.findall(r"^#+ (\w+)$", page, re.MULTILINE)}
    assert set(re.findall(r"\(#(\w+)\)", page)) <= anchors


def test_operations_state_each_topic_as_it_is_made() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    cells = [line.strip("| ").split(" | ") for line in page.splitlines() if "| `citywatch." in line]
    rows = {name.strip("`"): (kept, size) for name, kept, size, *_ in cells}
    for spec in Topics().specs("<lane>"):
        hours = spec.retention_seconds // HOUR
        kept = f"{hours} h" if hours < 24 else f"{hours // 24} days"
        wanted = "compacted" if spec.compacted else kept
        assert rows.pop(spec.name) == (wanted, f"{spec.max_message_bytes >> 20} MiB")
    assert rows == {}


def test_rules_know_every_service() -> None:
    down = next(rule["expr"] for rule in rules() if rule["alert"] == "ServiceDown")
    missing = next(rule["expr"] for rule in rules() if rule["alert"] == "ServiceMissing")
    assert "|".join(SERVICES) in down
    assert all(f'absent(up{{job="{name}"}})' in missing for name in SERVICES)


def test_the_fleet_at_a_glance() -> None:
    asked = {name for _, query in queries() for name in metric_names(query)}
    for name in (
        "citywatch_cameras", "citywatch_incidents_open", "citywatch_incidents_total",
        "citywatch_latency_seconds_bucket", "citywatch_lag_records",
        "citywatch_frames_dropped_total", "citywatch_frames_total",
        "citywatch_predictions_total", "citywatch_score",
    ):  # fmt: skip
        assert name in asked


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in FLEET["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["description"]
    assert len({panel["id"] for panel in FLEET["panels"]}) == len(FLEET["panels"])


def test_the_dashboard_is_provisioned() -> None:
    source = yaml.safe_load((GRAFANA / "datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    for panel in FLEET["panels"]:
        assert panel["datasource"]["uid"] == source["uid"]
        assert all(target["datasource"]["uid"] == source["uid"] for target in panel["targets"])
    folder = yaml.safe_load((GRAFANA / "dashboards/citywatch.yml").read_text())["providers"][0]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    assert f"./deploy/grafana/dashboards:{folder['options']['path']}:ro" in compose["volumes"]
    assert (
        compose["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        == f"{folder['options']['path']}/{DASHBOARD.name}"
    )


def test_prometheus_reads_the_rules() -> None:
    settings = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert settings["rule_files"] == ["rules.yml"]
