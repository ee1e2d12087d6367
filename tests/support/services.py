"""Kafka and Redis for tests: `python -m tests.support.services start | stop | status | env`.

`start` reuses what already runs. `env` prints the variables that citywatch and the tests read.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.broker import SERVICES, CannotStart, Kafka, Process, Redis

STATE = SERVICES / "state.json"
KAFKA_VARIABLE = "CITYWATCH_KAFKA_BOOTSTRAP_SERVERS"
REDIS_VARIABLE = "CITYWATCH_ALERTING_REDIS_URL"


def start() -> dict[str, str]:
    """Start what does not run yet; returns the environment variables."""
    SERVICES.mkdir(exist_ok=True)
    with (SERVICES / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever starts second finds the first one's
        return variables() or _start()


def _start() -> dict[str, str]:
    stop()  # what is left of a broken start
    folder = Path(tempfile.mkdtemp(prefix="citywatch-services-"))
    servers: dict[str, Process] = {
        "kafka": Kafka(folder / "kafka"),
        "redis": Redis(folder / "redis"),
    }
    try:
        for server in servers.values():
            server.start(wait=False)
        for server in servers.values():
            server.wait_ready()
    except BaseException:
        for server in servers.values():
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)
        raise
    state = {name: {"pid": s.pid, "port": s.port} for name, s in servers.items()}
    STATE.write_text(json.dumps({"folder": str(folder), **state}, indent=2) + "\n")
    return _variables(servers)


def stop() -> None:
    """End what the state file names, by process id, and remove its state."""
    state = _state()
    for server in _servers(state).values():
        server.stop()
    if state:
        shutil.rmtree(state["folder"], ignore_errors=True)
        STATE.unlink()


def variables() -> dict[str, str]:
    """The environment of the running services; empty unless all of them run and answer."""
    servers = _servers(_state())
    if not servers or not all(s.alive() and s.answers() for s in servers.values()):
        return {}
    return _variables(servers)


def _variables(servers: Mapping[str, Process]) -> dict[str, str]:
    redis = servers["redis"]
    assert isinstance(redis, Redis)
    return {KAFKA_VARIABLE: servers["kafka"].address, REDIS_VARIABLE: redis.url}


def _state() -> dict[str, Any]:
    try:
        state = json.loads(STATE.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    assert isinstance(state, dict)
    return state


def _servers(state: Mapping[str, Any]) -> dict[str, Process]:
    if not state:
        return {}
    folder = Path(state["folder"])
    servers: dict[str, Process] = {
        "kafka": Kafka(folder / "kafka", state["kafka"]["port"]),
        "redis": Redis(folder / "redis", state["redis"]["port"]),
    }
    for name, server in servers.items():
        server.pid = state[name]["pid"]
    return servers


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in ("start", "stop", "status", "env"):
        print(__doc__, file=sys.stderr)
        return 2
    command = arguments[0]
    try:
        if command == "stop":
            stop()
            return 0
        found = start() if command == "start" else variables()
    except CannotStart as error:
        print(f"services: {error}", file=sys.stderr)
        return 1
    if not found:
        print("services: not running; start them with: make services", file=sys.stderr)
        return 1
    for name, value in found.items():
        print(f"export {name}={value}" if command == "env" else f"{name}={value}")
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
