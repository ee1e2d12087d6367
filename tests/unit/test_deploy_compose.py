"""The compose file: valid, no open doors, and its commands and variables are ones that exist."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from alerting.settings import AlertingSettings
from classifier.settings import ClassifierSettings
from featurizer.settings import FeaturizerSettings
from ingest.scene.address import parse
from ingest.settings import IngestSettings
from shared.cameras import Camera
from shared.settings import (
    PREFIX,
    Configuration,
    KafkaSettings,
    Section,
    ServiceSettings,
    WorkerSettings,
)
from tests.support.deployment import PROMETHEUS, ROOT, SERVICES, Unset, compose

SECTIONS: list[type[Section]] = [
    ServiceSettings, KafkaSettings, WorkerSettings, IngestSettings, FeaturizerSettings,
    ClassifierSettings, AlertingSettings,
]  # fmt: skip
GIVEN = {"GRAFANA_ADMIN_PASSWORD": "given"}
COMPOSE = compose(GIVEN)
CUDA = compose({}, "deploy/docker-compose.cuda.yml")
ALL: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = sorted(ALL.keys() - {"demo"})


@pytest.mark.parametrize("document", [COMPOSE, CUDA], ids=["compose", "cuda"])
def test_the_compose_specification_holds(document: dict[str, Any]) -> None:
    # The schema of compose-spec (Apache-2.0), as the package check-jsonschema carries it.
    schema = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    jsonschema.validate(document, json.loads(schema.read_text()))


def test_all_that_is_needed_is_there() -> None:
    assert set(LASTING) == {"kafka", "redis", "prometheus", "grafana", *SERVICES}
    assert ALL["demo"]["profiles"] == ["demo"]
    assert all("profiles" not in ALL[name] for name in LASTING)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_one_image_and_a_module(name: str) -> None:
    service = ALL[name]
    assert service["image"] == "citywatch:cpu"
    assert compose({**GIVEN, "CITYWATCH_VARIANT": "cuda"})["services"][name]["build"] == {
        "context": ".", "dockerfile": "deploy/Dockerfile", "args": {"VARIANT": "cuda"},
    }  # fmt: skip
    assert service["command"] == ["python", "-m", name]
    assert importlib.util.find_spec(f"{name}.__main__") is not None
    assert service["depends_on"]["kafka"] == {"condition": "service_healthy"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_be_scaled(name: str) -> None:
    """Replicas would fight over a fixed name, a port of the host, or a folder of their own."""
    service = ALL[name]
    assert "container_name" not in service
    assert "ports" not in service
    assert all(volume.endswith(":ro") for volume in service.get("volumes", []))


@pytest.mark.parametrize("document", [COMPOSE, CUDA], ids=["compose", "cuda"])
def test_every_variable_is_a_setting(document: dict[str, Any]) -> None:
    for name, service in document["services"].items():
        given = {k: v for k, v in service.get("environment", {}).items() if k.startswith(PREFIX)}
        kinds = [s for s in SECTIONS if any(k.startswith(_prefix(s)) for k in given)]
        for kind in kinds:
            Configuration(environment=given).get(kind)
        for variable in given:
            assert any(variable.startswith(_prefix(kind)) for kind in kinds), (name, variable)


def _prefix(kind: type[Section]) -> str:
    return f"{PREFIX}{kind.section.upper()}_"


@pytest.mark.parametrize("name", LASTING)
def test_health_limits_and_restart(name: str) -> None:
    service = ALL[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}


def test_services_are_healthy_when_ready() -> None:
    for name in SERVICES:
        environment = ALL[name]["environment"]
        command = ALL[name]["healthcheck"]["test"][-1]
        assert f"127.0.0.1:{environment['CITYWATCH_SERVICE_PORT']}/readyz" in command
        compile(command, name, "exec")


def test_nothing_is_published_beyond_this_host() -> None:
    published = {name: s["ports"] for name, s in ALL.items() if "ports" in s}
    assert set(published) == {"kafka", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_grafana_has_no_default_password() -> None:
    for variables in ({}, {"GRAFANA_ADMIN_PASSWORD": ""}):
        with pytest.raises(Unset, match=r"GRAFANA_ADMIN_PASSWORD: write one into \.env"):
            compose(variables)
    assert ALL["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == "given"


def test_images_and_volumes_are_stated() -> None:
    for name in set(LASTING) - set(SERVICES):
        _, _, tag = ALL[name]["image"].partition(":")
        assert tag and tag != "latest"
    for service in ALL.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (
                (ROOT / source).is_dir()
                if source.startswith(".")
                else (source in COMPOSE["volumes"])
            )


def test_redis_keeps_what_it_acknowledged_but_a_second() -> None:
    command = ALL["redis"]["command"]
    assert command[command.index("--appendfsync") + 1] == "everysec"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert AlertingSettings().durability_window_seconds > 1


def test_prometheus_finds_every_replica() -> None:
    import yaml

    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert found["names"] == list(SERVICES)
    ports = {ALL[name]["environment"]["CITYWATCH_SERVICE_PORT"] for name in SERVICES}
    assert ports == {str(found["port"])}
    hosts = {ALL[name]["environment"]["CITYWATCH_SERVICE_HOST"] for name in SERVICES}
    assert hosts == {"0.0.0.0"}


def test_the_demo_imports_drawn_cameras_and_says_where_to_look() -> None:
    script = ALL["demo"]["command"][-1]
    assert "citywatch cameras import deploy/demo-cameras.toml" in script
    for name in ("grafana", "prometheus"):
        port = ALL[name]["ports"][0].split(":")[1]
        assert f"http://127.0.0.1:{port}" in script
    tables = tomllib.loads((ROOT / "deploy/demo-cameras.toml").read_text())["cameras"]
    cameras = [Camera.from_table(table) for table in tables]
    assert len({camera.id for camera in cameras}) == 4
    for camera in cameras:
        assert parse(camera.source).events == "random"
        assert parse(camera.source).seconds is None


def test_the_image_holds_every_package() -> None:
    lines = (ROOT / "deploy/Dockerfile.dockerignore").read_text().split()
    admitted = {line.removeprefix("!") for line in lines if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    assert packages | {"pyproject.toml", "constraints.txt", "README.md", "models"} <= admitted
    assert lines[0] == "*"
    image = (ROOT / "deploy/Dockerfile").read_text()
    assert all(f"torch=={v}" in image for v in _pinned(project, "torch"))


def _pinned(project: dict[str, Any], name: str) -> list[str]:
    wanted = [
        d.split("==") for d in project["project"]["dependencies"] if d.startswith(f"{name}==")
    ]
    assert wanted
    return [version for _, version in wanted]
