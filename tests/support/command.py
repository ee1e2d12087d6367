"""`citywatch` as a process, and what its JSON says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "citywatch"]


def environment(**more: str) -> dict[str, str]:
    """The tests' own, without citywatch's variables, one thread a library."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("CITYWATCH_")}
    return own | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"} | more


@dataclass(frozen=True)
class Outcome:
    """What a run left behind."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Its lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    def of_type(self, name: str) -> list[dict[str, Any]]:
        """The objects of one type."""
        return [item for item in self.objects if item["type"] == name]

    @property
    def summary(self) -> dict[str, Any]:
        """The last line, which must be the summary."""
        last = self.objects[-1]
        assert last["type"] == "summary"
        return last


def citywatch(
    *arguments: str | Path, timeout: float = 90, env: Mapping[str, str] | None = None
) -> Outcome:
    """Run the command to its end."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
        cwd=ROOT, env=environment(**(env or {})), check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def start(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, **pipes: Any
) -> subprocess.Popen[str]:
    """Start `python -m ...` and leave it running."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, command)], text=True, cwd=ROOT,
        env=environment(**(env or {})), **pipes,
    )  # fmt: skip


def last_index(prediction: Mapping[str, Any]) -> int:
    """The last part of a prediction's id."""
    return int(prediction["id"].rsplit(":", 1)[1])
