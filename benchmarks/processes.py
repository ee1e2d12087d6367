"""What the kernel says of other processes. Linux only."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, and of its children that have ended and been waited for."""
    return sum(int(x) for x in _stat(pid)[11:15]) / _TICK


def captures(ingest: int) -> list[int]:
    """What the nurseries of an ingest process have forked."""
    return [capture for nursery in children(ingest) for capture in children(nursery)]


def family_seconds(pid: int) -> float:
    """Processor time of a process, and of all that descend from it.

    A child that ends meanwhile counts with its parent, once that has waited for it.
    """
    total = cpu_seconds(pid)
    for child in children(pid):
        with suppress(OSError):
            total += family_seconds(child)
    return total


def children(pid: int) -> list[int]:
    """The processes that it started and that still run."""
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                if int(_stat(int(folder.name))[1]) == pid:
                    found.append(int(folder.name))
            except (OSError, IndexError):
                continue  # it ended meanwhile
    return found


def megabytes(pid: int) -> float:
    """Memory of a process, what it shares with others divided among them; 0 once it has ended."""
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0.0
    line = next((x for x in text.splitlines() if x.startswith("Pss:")), "Pss: 0 kB")
    return int(line.split()[1]) * 1024 / 1e6


def _stat(pid: int) -> list[str]:
    """Fields from the third on: the second, the name, may hold blanks."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
