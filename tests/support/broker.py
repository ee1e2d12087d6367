"""A real single-node Kafka (KRaft) and a real Redis as child processes on free local ports.

For `make services` and for fault tests, which start a broker of their own, kill it by its process
id and start it again on the same ports and state.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
POM = ROOT / "deploy/services/pom.xml"
LOGGING = ROOT / "deploy/services/log4j2.properties"
SERVICES = ROOT / ".services"
JARS = SERVICES / "kafka-4.1.1"
READY_SECONDS = 60.0


class CannotStart(Exception):
    """A service cannot be started here; says which package or which log to look at."""


def program(name: str, package: str) -> str:
    """The path of a program, or CannotStart naming the Debian package that has it."""
    path = shutil.which(name)
    if path is None:
        raise CannotStart(f"{name} is not installed; on Debian: apt-get install {package}")
    return path


def free_port() -> int:
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kafka_jars() -> Path:
    """The folder of Kafka's jars, fetched with Maven the first time."""
    SERVICES.mkdir(exist_ok=True)
    with (SERVICES / "jars.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may start at once
        if JARS.is_dir():
            return JARS
        maven = program("mvn", "maven")
        fetched = SERVICES / "fetching"
        shutil.rmtree(fetched, ignore_errors=True)
        done = subprocess.run(
            [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies",
             "-DincludeScope=runtime", f"-DoutputDirectory={fetched}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CannotStart(f"Maven could not fetch Kafka's jars:\n{done.stdout[-2000:]}")
        fetched.rename(JARS)
        return JARS


class Process:
    """A server process that is started detached, checked for readiness, and ended by its id."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.pid: int | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / f"{type(self).__name__.lower()}.log"

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self, *, wait: bool = True) -> None:
        """Start, and wait until it answers; raises CannotStart with the end of its log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.pid = self._child.pid
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        child = self._child
        assert child is not None, "not started"
        deadline = time.monotonic() + timeout
        while not self.answers():
            if child.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = self.log.read_text(errors="replace")[-2000:]
                raise CannotStart(f"{type(self).__name__} did not become ready; its log:\n{tail}")
            time.sleep(0.05)  # between two tries to reach it

    def stop(self, timeout: float = 15) -> None:
        """Ask it to end (SIGTERM), and kill it if it does not within `timeout` seconds."""
        self._signal(signal.SIGTERM)
        if not _until(lambda: not self.alive(), timeout):
            self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL), as a power cut would."""
        self._signal(signal.SIGKILL)
        _until(lambda: not self.alive(), 10)

    def freeze(self) -> None:
        """Stop it without ending it (SIGSTOP): connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return self.pid is not None and _shows(self.pid, str(self.folder), self.address)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None and self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Kafka(Process):
    """One broker that is its own controller, state in `folder`.

    Clients of a relay are told the relay's address for everything: `relay` is the port that it
    forwards to, where this broker then listens as well, and the port that its clients connect to.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        controller_port: int = 0,
        relay: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(folder, port or free_port())
        self.controller_port = controller_port or free_port()
        self.relay = relay

    def prepare(self) -> None:
        """Write the configuration and format the state, once."""
        properties = self.folder / "server.properties"
        if properties.exists():
            return
        controller = f"127.0.0.1:{self.controller_port}"
        inside, shown = self.relay or (0, 0)
        relayed, advertised = (
            (f",RELAYED://127.0.0.1:{inside}", f",RELAYED://127.0.0.1:{shown}")
            if self.relay
            else ("", "")
        )
        properties.write_text(
            f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{self.address},CONTROLLER://{controller}{relayed}
advertised.listeners=PLAINTEXT://{self.address}{advertised}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,RELAYED:PLAINTEXT
log.dirs={self.folder / "data"}
auto.create.topics.enable=false
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=250
log.initial.task.delay.ms=1000
log.retention.check.interval.ms=1000
log.cleaner.dedupe.buffer.size=2000000
log.segment.delete.delay.ms=0
"""
        )
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # An id must not begin with '-': the tool would take it for an option.
        done = subprocess.run(
            [*self._java("kafka.tools.StorageTool"), "format", "-t", cluster.replace("-", "_"),
             "-c", str(properties)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CannotStart(f"cannot format Kafka's state:\n{done.stdout}{done.stderr}")

    def command(self) -> list[str]:
        self.prepare()
        return [*self._java("kafka.Kafka"), str(self.folder / "server.properties")]

    def _java(self, main: str) -> list[str]:
        java = program("java", "default-jre-headless")
        return [java, "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                f"-Dlog4j2.configurationFile={LOGGING}",
                "-cp", f"{kafka_jars()}/*", main]  # fmt: skip

    def answers(self) -> bool:
        from kafka import KafkaAdminClient  # slow to import, and the command line may not need it
        from kafka.errors import KafkaError

        if not _listens(self.port):
            return False
        try:
            KafkaAdminClient(bootstrap_servers=self.address, bootstrap_timeout_ms=2000).close()
        except KafkaError:
            return False
        return True


class Redis(Process):
    """A Redis server with append-only persistence in `folder`."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(folder, port or free_port())

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    def command(self) -> list[str]:
        server = program("redis-server", "redis-server")
        return [server, "--port", str(self.port), "--bind", "127.0.0.1", "--dir",
                str(self.folder), "--save", "", "--appendonly", "yes"]  # fmt: skip

    def answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as link:
            link.settimeout(1)
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
        return False


def _shows(pid: int, *marks: str) -> bool:
    """Whether the process lives and its title has one of the marks: process ids are reused."""
    shown = subprocess.run(
        ["ps", "-ww", "-o", "stat=,command=", "-p", str(pid)],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    return not shown.startswith("Z") and any(mark in shown for mark in marks)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


def _until(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
