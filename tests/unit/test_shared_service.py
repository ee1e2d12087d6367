"""`main` of every service: exit codes, one clear line each, health on a port."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field

from shared import service
from shared.bus import Bus
from shared.bus_memory import MemoryBus
from shared.errors import CitywatchError, Fatal, InvalidBundle, OperatorError, Transient
from shared.health import HealthServer
from shared.logs import start_logging
from shared.settings import Configuration, KafkaSettings, Section, ServiceSettings


class Sample(Section):
    section: ClassVar[str] = "featurizer"

    size: int = Field(1, description="how large")


class Runner:
    """Runs until it is stopped, or raises at once."""

    def __init__(self, stop: threading.Event, act: Callable[[], object]) -> None:
        self.healthy = threading.Event()
        self._stop = stop
        self._act = act

    def run(self) -> None:
        self.healthy.set()
        self._act()
        assert self._stop.wait(10)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> list[MemoryBus]:
    """Stands in for Kafka; the buses that were made."""
    made: list[MemoryBus] = []

    def make(settings: KafkaSettings) -> MemoryBus:
        made.append(MemoryBus())
        return made[-1]

    monkeypatch.setattr("shared.bus_kafka.KafkaBus", make)
    return made


@pytest.fixture(autouse=True)
def _leave_the_process_alone() -> Iterator[None]:
    """Signals and logging are the process's, and pytest's again afterwards."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    root.handlers[:], root.level = kept, level


def main(act: Callable[[], object], *arguments: str) -> int:
    def build(bus: Bus, configuration: Configuration, stop: threading.Event) -> Runner:
        configuration.get(Sample)
        return Runner(stop, act)

    return service.main("featurizer", build, [Sample], arguments)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fail(error: Exception) -> Callable[[], object]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(kafka: list[MemoryBus], number: int) -> None:
    assert main(lambda: os.kill(os.getpid(), number)) == 0
    assert [bus.closed for bus in kafka] == [True]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidBundle("no weights"), 2),
        (OperatorError("wrong partition count"), 2),
        (Transient("Kafka went away"), 3),
        (Fatal("everything fails"), 4),
        (CitywatchError("something"), 1),
        (ValueError("a bug"), 1),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    kafka: list[MemoryBus], error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(fail(error)) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("featurizer: ")
    assert str(error) in last
    assert [bus.closed for bus in kafka] == [True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "featurizer.sice=3"], "--set featurizer.sice"),
        (["--set", "ingest.fps=3"], "no such section"),
        (["--set", "nonsense"], "section.key=value"),
        (["--config", "absent.toml"], "no such file"),
        (["--set", "service.port=99999"], "service.port"),
    ],
)
def test_wrong_settings_are_named_before_anything_starts(
    kafka: list[MemoryBus],
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(terminate, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert kafka == []


def test_one_file_serves_all_services(kafka: list[MemoryBus], tmp_path: Path) -> None:
    file = tmp_path / "citywatch.toml"
    file.write_text("[featurizer]\nsize = 3\n[alerting]\nanything = 1\n[[cameras]]\nid = 'a'\n")
    assert main(terminate, "--config", str(file)) == 0
    file.write_text("[featuriser]\nsize = 3\n")
    assert main(terminate, "--config", str(file)) == 2


def test_help_lists_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as info:
        main(terminate, "--help")
    assert info.value.code == 0
    text = capsys.readouterr().out
    for key in ("featurizer.size", "worker.max_records", "kafka.prefix", "service.port"):
        assert key in text
    assert "how large" in text


def test_kafka_that_never_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Away(MemoryBus):
        def ensure_topics(self, specs: object) -> None:
            raise Transient("no answer")

    monkeypatch.setattr("shared.bus_kafka.KafkaBus", lambda settings: Away())
    monkeypatch.delenv("CITYWATCH_KAFKA_BOOTSTRAP_SERVERS", raising=False)
    arguments = ["--set", "service.start_timeout_seconds=0.2", "--set", "service.log_level=ERROR"]
    assert main(terminate, *arguments) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("featurizer: Kafka at 127.0.0.1:9092 did not answer within 0.2 s")


def test_kafka_that_answers_late(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    class Late(MemoryBus):
        def ensure_topics(self, specs: object) -> None:
            tries.append(1)
            if len(tries) < 2:
                raise Transient("not yet")

    monkeypatch.setattr("shared.bus_kafka.KafkaBus", lambda settings: Late())
    assert main(terminate) == 0
    assert len(tries) == 2


def test_a_signal_while_waiting_for_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(MemoryBus):
        def ensure_topics(self, specs: object) -> None:
            terminate()
            raise Transient("no answer")

    monkeypatch.setattr("shared.bus_kafka.KafkaBus", lambda settings: Away())
    assert main(fail(AssertionError("never built"))) == 0


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


def test_health_and_metrics(port: int) -> None:
    ready = threading.Event()
    settings = ServiceSettings(port=port)
    with HealthServer(settings, ready.is_set) as health:
        assert health.port == port
        assert get(port, "/healthz") == (200, "alive\n")
        assert get(port, "/readyz") == (503, "not ready\n")
        ready.set()
        assert get(port, "/readyz") == (200, "ready\n")
        status, text = get(port, "/metrics")
        assert status == 200
        assert "citywatch_records_total" in text
        assert get(port, "/nothing")[0] == 404
    with HealthServer(settings, ready.is_set):
        pass  # the port is free again


def test_a_port_in_use_is_named(port: int) -> None:
    settings = ServiceSettings(port=port)
    with HealthServer(settings, lambda: True), pytest.raises(OperatorError, match=str(port)):
        HealthServer(settings, lambda: True)


def test_without_a_port_nothing_is_opened() -> None:
    with HealthServer(ServiceSettings(), lambda: True) as health:
        assert health.port == 0


def test_the_resolved_settings_are_logged_without_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kafka = Configuration(None, ["kafka.password=hunter2"], {}).get(KafkaSettings)
    start_logging(ServiceSettings(log_json=True), kafka)
    lines: list[dict[str, Any]] = [json.loads(x) for x in capsys.readouterr().err.splitlines()]
    assert [line["message"].split(" {")[0] for line in lines] == [
        "settings [service]",
        "settings [kafka]",
    ]
    assert "hunter2" not in json.dumps(lines)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("sample").exception("it broke")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]
