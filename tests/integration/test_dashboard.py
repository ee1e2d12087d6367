"""A real Prometheus scrapes a running citywatch; every query of dashboard and rules is asked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.broker import free_port
from tests.support.bundles import write_bundle
from tests.support.deployment import PROMETHEUS, ROOT, metric_names, queries, rules

SECONDS = 60.0


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        reason = f"no {name}: on Debian, apt-get install prometheus"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="module")
def citywatch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`citywatch serve` on two drawn cameras and one that is not there; its host and port."""
    folder = tmp_path_factory.mktemp("serve")
    # Knows nothing, and calls everything an incident.
    write_bundle(folder / "bundle", name="street", window=10, stride=5)
    port = free_port()
    (folder / "citywatch.toml").write_text(
        f"""
        [service]
        port = {port}
        [featurizer]
        bundle = "{folder / "bundle"}"
        [classifier]
        bundle = "{folder / "bundle"}"
        [alerting]
        bundle = "{folder / "bundle"}"
        open_score = 0.0
        close_score = 0.0
        open_after_seconds = 1.0
        [[cameras]]
        id = "drawn-1"
        source = "synthetic://street?seed=1&events=random&detail=tiny"
        [[cameras]]
        id = "drawn-2"
        source = "synthetic://street?seed=2&events=random&detail=tiny"
        [[cameras]]
        id = "gone"
        source = "rtsp://127.0.0.1:{free_port()}/nothing"
        """
    )
    with _running(
        [sys.executable, "-m", "citywatch", "serve", "--config", str(folder / "citywatch.toml")],
        folder,
    ) as process:
        address = f"127.0.0.1:{port}"
        _until(process, lambda: _get(f"http://{address}/readyz") is not None, folder)
        yield address


@pytest.fixture(scope="module")
def prometheus(citywatch: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The deployment's own configuration, with one address in place of names to resolve."""
    folder = tmp_path_factory.mktemp("prometheus")
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "250ms", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(PROMETHEUS / "rules.yml")]
    (job,) = configuration["scrape_configs"]
    del job["dns_sd_configs"], job["relabel_configs"]
    job["static_configs"] = [{"targets": [citywatch]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}",
    ]  # fmt: skip
    with _running(command, folder) as process:
        _until(process, lambda: _get(f"http://{address}/-/ready") is not None, folder)
        yield address


def test_the_files_pass_promtool() -> None:
    checked = subprocess.run(
        [program("promtool"), "check", "config", str(PROMETHEUS / "prometheus.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_on_what_they_are_for() -> None:
    checked = subprocess.run(
        [program("promtool"), "test", "rules", str(ROOT / "tests/integration/alert_rules.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_panel_shows_what_the_process_measures(citywatch: str, prometheus: str) -> None:
    asked = dict.fromkeys(queries())
    must_have = {
        "citywatch_cameras", "citywatch_incidents_open", "citywatch_incidents_total",
        "citywatch_latency_seconds_bucket", "citywatch_lag_records", "citywatch_frames_total",
        "citywatch_predictions_total", "citywatch_score", "citywatch_camera_up",
    }  # fmt: skip
    empty: list[tuple[str, str]] = []
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        measured = _measured(citywatch)
        empty = [
            (title, query)
            for title, query in asked
            if metric_names(query) <= measured and not _ask(prometheus, query)
        ]
        if must_have <= measured and not empty:
            break
        time.sleep(0.25)  # one scrape
    assert must_have <= _measured(citywatch)
    assert empty == []


def test_every_query_is_understood(prometheus: str) -> None:
    for _, query in queries():
        _ask(prometheus, query)
    for rule in rules():
        _ask(prometheus, rule["expr"])


def test_a_camera_that_is_gone_is_shown(citywatch: str, prometheus: str) -> None:
    by_title = dict(queries())
    deadline = time.monotonic() + SECONDS
    up = down = None
    while time.monotonic() < deadline and (up, down) != (2, 1):
        up, down = (_value(prometheus, by_title[f"Cameras {state}"]) for state in ("up", "down"))
        time.sleep(0.25)  # one scrape
    assert (up, down) == (2, 1)
    (alert,) = [rule["expr"] for rule in rules() if rule["alert"] == "CameraDown"]
    assert [row["metric"]["camera"] for row in _ask(prometheus, alert)] == ["gone"]


def _measured(address: str) -> set[str]:
    text = _get(f"http://{address}/metrics") or ""
    lines = [line for line in text.splitlines() if line.startswith("citywatch_")]
    return {line.replace("{", " ").split(" ")[0] for line in lines}


def _ask(address: str, query: str) -> list[dict[str, Any]]:
    """Rows of an instant query; fails the test if Prometheus does not understand it."""
    text = _get(f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
    assert text is not None, query
    answer = json.loads(text)
    assert answer["status"] == "success", query
    rows: list[dict[str, Any]] = answer["data"]["result"]
    return rows


def _value(address: str, query: str) -> float | None:
    rows = _ask(address, query)
    return float(rows[0]["value"][1]) if rows else None


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            body: bytes = answer.read()
            return body.decode()
    except OSError:
        return None


class _running:  # noqa: N801  used as a context manager
    """A process with its output in a file, told to end when the block does."""

    def __init__(self, command: list[str], folder: Path) -> None:
        with (folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=output,
                stderr=output,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def _until(process: subprocess.Popen[bytes], condition: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail((folder / "output").read_text()[-3000:])
        time.sleep(0.1)  # between two tries to reach it
