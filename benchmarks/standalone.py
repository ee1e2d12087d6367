"""`citywatch watch` against the script that one writes first, on the same video and machine.

    python -m benchmarks.standalone [--video FILE] [--runs 5]

All sides process every frame of the file and the same windows: the bundle is copied with its rate
set to that of the file. Runs alternate, so that a machine that slows down slows all sides. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2

from shared.bundle import Bundle, find

VIDEO = Path(__file__).resolve().parent.parent.parent / "shared/data/clips/pedestrians.mp4"


def main() -> None:
    """Measure, print a table, then one JSON line."""
    arguments = _arguments()
    if not arguments.video.is_file():
        sys.exit(f"{arguments.video}: no such file; name one with --video")
    rate = cv2.VideoCapture(str(arguments.video)).get(cv2.CAP_PROP_FPS)
    runs: dict[str, list[dict[str, Any]]] = {"citywatch": [], "torch": [], "openvino": []}
    with tempfile.TemporaryDirectory() as folder:
        bundle = at_rate(find(arguments.bundle), Path(folder) / "bundle", rate)
        commands = {
            "citywatch": ["citywatch", "watch", arguments.video, "--json", "--bundle", bundle,
                          "--fps", rate],
            "torch": ["benchmarks.naive", "torch", arguments.video, bundle],
            "openvino": ["benchmarks.naive", "openvino", arguments.video, bundle],
        }  # fmt: skip
        for turn in range(arguments.runs):
            for name, command in commands.items():
                runs[name].append(_run([str(part) for part in command]))
                last = runs[name][-1]
                print(f"run {turn + 1}  {name:10} {last['frames']} frames  {_fps(last):7.1f} fps")
    fps = {name: statistics.median(map(_fps, results)) for name, results in runs.items()}
    claims = [
        _claim("watch against naive OpenVINO", fps["citywatch"], fps["openvino"], 1.0, runs),
        _claim("watch against naive torch", fps["citywatch"], fps["torch"], None, runs),
    ]
    for claim in claims:
        print(f"{claim['claim']:30} {claim['ours']:7.1f} / {claim['peer']:6.1f} fps "
              f"= {claim['ratio']:.2f}")  # fmt: skip
    print(json.dumps({"claims": claims}))


def at_rate(source: Path, target: Path, fps: float) -> Path:
    """A copy of the bundle that wants this many frames a second."""
    shutil.copytree(source, target)
    toml = target / "bundle.toml"
    text, count = re.subn(r"(?m)^fps\s*=.*$", f"fps = {fps:g}", toml.read_text())
    assert count == 1, f"{toml}: {count} lines set fps"
    toml.write_text(text)
    Bundle(target)
    return target


def _run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    last: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return last


def _fps(result: dict[str, Any]) -> float:
    return float(result["frames"] / result["seconds"])


def _claim(
    text: str, ours: float, peer: float, target: float | None, runs: dict[str, list[Any]]
) -> dict[str, Any]:
    return {
        "claim": text,
        "ours": round(ours, 1),
        "peer": round(peer, 1),
        "ratio": round(ours / peer, 3),
        "target": target,
        "unit": "frames per second",
        "runs": len(runs["citywatch"]),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--video", type=Path, default=VIDEO)
    parser.add_argument("--bundle", type=Path, default=Path("models/street"))
    parser.add_argument("--runs", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
