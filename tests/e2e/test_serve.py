"""`citywatch serve`: metrics, health, and incidents that survive a restart."""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from alerting.store_sqlite import SqliteStore
from tests.support.broker import free_port
from tests.support.command import ROOT, citywatch, start


def get(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, ConnectionError) as error:
        return f"no answer: {error}"


def wait_for(port: int, path: str, text: str, process: subprocess.Popen[str]) -> str:
    until = time.monotonic() + 60
    answer = ""
    while time.monotonic() < until:
        assert process.poll() is None, f"ended with {process.returncode}"
        answer = get(port, path)
        if text in answer:
            return answer
        process_wait(process, 0.1)
    raise AssertionError(f"{path} never said {text!r}; last: {answer[-500:]}")


def process_wait(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def test_a_site_in_one_process(bundle: Path, video: Path, tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "citywatch.toml"
    file.write_text(
        f'[service]\nport = {port}\n'
        f'[featurizer]\nbundle = "{bundle}"\n[classifier]\nbundle = "{bundle}"\n'
        f'[alerting]\nbundle = "{bundle}"\nopen_score = 0.1\nclose_score = 0.05\n'
        f'[[cameras]]\nid = "street"\nsource = "{video}"\nloop = true\n'
        '[[cameras]]\nid = "drawn"\nsource = "synthetic://street?seed=1&detail=tiny"\n'
    )  # fmt: skip
    for _ in range(2):
        with (tmp_path / "log").open("a") as log:
            process = start(
                ["citywatch", "serve", "--config", file], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            wait_for(port, "/readyz", "ready\n", process)
            assert get(port, "/healthz") == "alive\n"
            wait_for(port, "/metrics", 'citywatch_camera_up{camera="drawn"} 1.0', process)
            wait_for(
                port, "/metrics",
                'citywatch_incidents_total{camera="street",label="fighting",lane="tiny"} 1.0',
                process,
            )  # fmt: skip
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
    log_text = (tmp_path / "log").read_text()
    assert "street  fighting opened" in log_text
    assert "Traceback" not in log_text
    store = SqliteStore(str(tmp_path / "incidents.db"), "tiny")
    kept = [i for i in store.incidents() if i.camera_id == "street"]
    store.close()
    assert len({incident.session for incident in kept}) == 2, "both runs' incidents are there"
    assert all(incident.state == "closed" for incident in kept), "stopping closes them"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no [[cameras]] table in it"),
        ('[[cameras]]\nid = "a b"\nsource = "0"\n', "[[cameras]] id: String should match"),
        ('[[cameras]]\nid = "a"\nsource = "0"\n' * 2, "a stands twice"),
        ('[[cameras]]\nid = "a"\nsource = "0"\n[camera]\n', "unknown table [camera]"),
        ("[[cameras]\n", "Expected"),
    ],
)
def test_a_file_that_cannot_be_served(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "citywatch.toml"
    file.write_text(text)
    outcome = citywatch("serve", "--config", file)
    assert outcome.code == 2
    assert message in outcome.err


def test_the_example_is_served(bundle: Path) -> None:
    settings = [f"--set={name}.bundle={bundle}" for name in ("featurizer", "classifier")]
    outcome = citywatch(
        "serve", "--config", ROOT / "docs/citywatch.toml", *settings,
        f"--set=alerting.bundle={bundle}", "--set=service.port=1", "--set=service.host=192.0.2.1",
    )  # fmt: skip
    assert outcome.code == 2
    assert "cannot serve metrics on 192.0.2.1:1" in outcome.err, "all else in it was right"
