"""The four services as processes, several replicas of each, and who restarts what dies."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.command import start


@dataclass
class Replica:
    """One process of a service. `expected`: the exit codes that what was done to it may give."""

    service: str
    number: int
    command: Sequence[str]
    log: Path
    process: subprocess.Popen[str] | None = None
    expected: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Such as `classifier-1`."""
        return f"{self.service}-{self.number}"

    @property
    def alive(self) -> bool:
        """Whether its process has not ended."""
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """A signal to its process, by id."""
        if self.process is not None and self.alive:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)


@dataclass
class Replicas:
    """All processes. `tend` restarts those that ended, as an orchestrator would.

    `unexpected` says which ended by themselves or otherwise than they were told to.
    """

    environment: Mapping[str, str]
    folder: Path
    all: list[Replica] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    restarts: int = 0

    def add(self, service: str, number: int, command: Sequence[str]) -> None:
        """Start one more."""
        replica = Replica(service, number, command, self.folder / f"{service}-{number}.log")
        self.all.append(replica)
        self._run(replica)

    def find(self, service: str, number: int) -> Replica:
        """The replica of that name."""
        return next(r for r in self.all if (r.service, r.number) == (service, number))

    def kill(self, replica: Replica) -> None:
        """SIGKILL."""
        replica.expected.add(-signal.SIGKILL)
        replica.send(signal.SIGKILL)

    def terminate(self, replica: Replica) -> None:
        """SIGTERM: it must finish what it has in hand and exit with 0."""
        replica.expected |= {0, -signal.SIGTERM}  # the latter while it is still starting
        replica.send(signal.SIGTERM)

    def stop(self, replica: Replica) -> None:
        """SIGSTOP, until `go_on`."""
        replica.send(signal.SIGSTOP)

    def go_on(self, replica: Replica) -> None:
        """SIGCONT."""
        replica.send(signal.SIGCONT)

    def tend(self) -> None:
        """Restart what has ended; call it often."""
        for replica in self.all:
            if not replica.alive:
                self._note_end(replica)
                self._run(replica)
                self.restarts += 1

    def end(self, timeout: float) -> None:
        """Ask all to end, in the order of the flow; whoever has not ended in time is killed."""
        for replica in self.all:
            self.go_on(replica)
            self.terminate(replica)
        until = time.monotonic() + timeout
        for replica in self.all:
            assert replica.process is not None
            try:
                replica.process.wait(max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                replica.process.kill()
                replica.process.wait()
            self._note_end(replica)

    def kill_all(self) -> None:
        """Leave no process behind."""
        for replica in self.all:
            replica.send(signal.SIGKILL)
            if replica.process is not None:
                replica.process.wait()

    def _note_end(self, replica: Replica) -> None:
        assert replica.process is not None
        code = replica.process.poll()
        if code not in replica.expected:
            lines = replica.log.read_text(errors="replace").splitlines()
            last = lines[-1] if lines else "nothing said"
            self.unexpected.append(f"{replica.name} ended by itself, exit code {code}: {last}")

    def _run(self, replica: Replica) -> None:
        replica.expected = set()
        with replica.log.open("a") as log:
            replica.process = start(
                replica.command, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
