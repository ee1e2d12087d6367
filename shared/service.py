"""What every service's `__main__` does around its loop: settings, logging, signals, Kafka, health.

    def main(argv: Sequence[str] | None = None) -> int:
        return service.main("featurizer", build_worker, [FeaturizerSettings], argv)

Exit codes: 0 stopped by a signal, 2 something to put right, 3 a server never answered, 4 going on
would lose data, 1 a bug. Each of them but 0 with one line on standard error that says why.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol, runtime_checkable

from shared.bundle import Bundle, find
from shared.bus import Bus
from shared.errors import CitywatchError, Transient, Unavailable
from shared.health import HealthServer
from shared.logs import start_logging
from shared.settings import (
    TABLES,
    Configuration,
    KafkaSettings,
    Section,
    ServiceSettings,
    WorkerSettings,
    describe,
)
from shared.topics import Topics

log = logging.getLogger(__name__)


class Runner(Protocol):
    """A loop that somebody else's thread runs: a Worker, or the camera registry of ingest."""

    healthy: threading.Event
    """Set while records flow; `/readyz` shows it."""

    def run(self) -> None:
        """Loop until the stop event is set; raises Fatal when going on would lose data."""


BuildWorker = Callable[[Bus, Configuration, threading.Event], Runner]
"""Makes the loop of one service; the event tells it to finish what is in hand and return."""


@runtime_checkable
class _OfLane(Protocol):
    """Settings of a service that serves one lane."""

    bundle: Path
    lane: str | None


def main(
    name: str,
    build_worker: BuildWorker,
    sections: Sequence[type[Section]],
    argv: Sequence[str] | None = None,
) -> int:
    """Run one service on Kafka until SIGTERM or SIGINT; returns the process's exit code.

    `sections` are the settings classes that this service reads besides `[service]`, `[kafka]` and
    `[worker]`; `--help` lists every key of theirs.
    """
    everywhere: list[type[Section]] = [WorkerSettings, KafkaSettings, ServiceSettings]
    known = [*(kind for kind in sections if kind not in everywhere), *everywhere]
    arguments = _parser(name, known).parse_args(argv)
    try:
        configuration = Configuration(arguments.config, arguments.set)
        configuration.refuse_unknown(*known, elsewhere=TABLES)
        _run(name, build_worker, configuration, known)
    except CitywatchError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return Unavailable.exit_code if isinstance(error, Transient) else error.exit_code
    except Exception as error:
        log.exception("%s: this is a bug", name)
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _run(
    name: str,
    build_worker: BuildWorker,
    configuration: Configuration,
    known: Sequence[type[Section]],
) -> None:
    settings = {kind: configuration.get(kind) for kind in known}  # all wrong keys are found first
    service = configuration.get(ServiceSettings)
    lane = next((lane_of(s) for s in settings.values() if isinstance(s, _OfLane)), None)
    start_logging(service, *(s for s in settings.values() if s is not settings[ServiceSettings]))
    stop = stop_on_signals()
    bus = connect(configuration.get(KafkaSettings), lane, service.start_timeout_seconds, stop)
    if bus is None:
        return
    try:
        runner = build_worker(bus, configuration, stop)
        with HealthServer(service, runner.healthy.is_set) as health:
            where = f", metrics on port {health.port}" if health.port else ""
            log.info("%s: running%s", name, where)
            runner.run()
        log.info("%s: done; everything in hand is sent and committed", name)
    finally:
        log.info("%s: closing the bus", name)
        bus.close()
    log.info("%s: stopped", name)


def lane_of(settings: _OfLane) -> str:
    """The lane that a service serves: as stated, else the name of its bundle."""
    return settings.lane or Bundle(find(settings.bundle)).name


def connect(
    settings: KafkaSettings, lane: str | None, timeout: float, stop: threading.Event
) -> Bus | None:
    """Kafka with its topics in place, or None if told to stop meanwhile; raises Unavailable."""
    from shared.bus_kafka import KafkaBus  # noqa: PLC0415  standalone runs without it

    topics = Topics(settings.prefix).specs(lane)
    until = time.monotonic() + timeout
    while not stop.is_set():
        bus: Bus = KafkaBus(settings)
        try:
            bus.ensure_topics(topics)
        except Transient as error:
            bus.close()
            if time.monotonic() >= until:
                raise Unavailable(
                    f"Kafka at {settings.bootstrap_servers} did not answer within "
                    f"{timeout:g} s: {error}"
                ) from None
            log.info("waiting for Kafka at %s: %s", settings.bootstrap_servers, error)
            stop.wait(min(1.0, max(until - time.monotonic(), 0.0)))
        except BaseException:
            bus.close()
            raise
        else:
            return bus
    return None


def _parser(name: str, known: Sequence[type[Section]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=f"The {name} service of citywatch, on Kafka. Stops on SIGTERM or Ctrl-C.",
        epilog="settings, by precedence: --set section.key=value, the environment variable "
        "CITYWATCH_SECTION_KEY,\nthe file's [section] table, the default.\n\n" + describe(known),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of settings")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="one setting; may be repeated",
    )
    return parser


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; the loop finishes its batch, flushes and commits.

    A second Ctrl-C does not wait for that.
    """
    stop = threading.Event()

    def set_stop(number: int, frame: FrameType | None) -> None:
        # Nothing is logged here: the handler may run in the middle of writing a log line.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.set()

    signal.signal(signal.SIGTERM, set_stop)
    signal.signal(signal.SIGINT, set_stop)
    return stop


def now_ns() -> int:
    """Wall clock, nanoseconds since the epoch: the one place that stages' clocks come from."""
    return time.time_ns()
