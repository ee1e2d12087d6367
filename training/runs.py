"""What a run leaves behind: its configuration, seeds, versions, git state and metrics, as JSON."""

from __future__ import annotations

import json
import math
import platform
import subprocess
import sys
import time
from dataclasses import asdict, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

_LIBRARIES = ("torch", "numpy", "opencv-python-headless", "openvino", "scikit-learn")


class Run:
    """A folder with `run.json`, and whatever the run writes beside it."""

    def __init__(self, folder: Path, command: str, configuration: Any, seed: int | None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()
        self._record: dict[str, Any] = {
            "command": command,
            "arguments": sys.argv[1:],
            "configuration": configuration,
            "seed": seed,
            "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "git": git_state(),
            "versions": versions(),
        }
        self._write()

    def finish(self, metrics: Any) -> None:
        """Note the metrics and the time taken."""
        self._record["seconds"] = round(time.monotonic() - self._began, 1)
        self._record["metrics"] = metrics
        self._write()

    def _write(self) -> None:
        write_json(self.folder / "run.json", self._record)


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON; NaN becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """The value in what JSON knows."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def git_state() -> dict[str, Any]:
    """Commit of the checkout and whether it was changed since; nulls outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD").strip()
        changed = bool(_git(here, "status", "--porcelain", "--untracked-files=no").strip())
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "changed": None}
    return {"commit": commit, "changed": changed}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


def versions() -> dict[str, str]:
    """Of Python and of the libraries that decide numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}
