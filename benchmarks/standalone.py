"""`citywatch watch` against the script that one writes first, on the same video and machine.

    python -m benchmarks.standalone [--video FILE] [--rounds 5]

All sides process every frame of the file: the bundle is copied with its rate set to that of the
file. Frames per second are counted with the models loaded, from opening the video to the last
score; for `watch` that includes starting the process that decodes.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import cv2

from benchmarks.claim import Claim, alternate, report
from shared.bundle import Bundle, find

VIDEO = Path(__file__).resolve().parents[2] / "shared/data/clips/pedestrians.mp4"


def main() -> None:
    """Measure, print a table, then one JSON line."""
    chosen = _arguments()
    if not chosen.video.is_file():
        sys.exit(f"{chosen.video}: no such file; name one with --video")
    rate = cv2.VideoCapture(str(chosen.video)).get(cv2.CAP_PROP_FPS)
    with tempfile.TemporaryDirectory() as folder:
        bundle = at_rate(find(chosen.bundle), Path(folder) / "bundle", rate)
        video = str(chosen.video)
        watch = ["citywatch", "watch", video, "--json", "--bundle", str(bundle), "--fps", str(rate)]
        naive = ["benchmarks.naive"], [video, str(bundle)]
        sides = {
            "watch": partial(_fps, watch),
            "naive torch": partial(_fps, [*naive[0], "torch", *naive[1]]),
            "naive openvino": partial(_fps, [*naive[0], "openvino", *naive[1]]),
        }
        found = alternate(sides, chosen.rounds)
    ours = found["watch"]
    unit = "frames per second"
    report(
        Claim("watch / naive script on OpenVINO", unit, ours, found["naive openvino"], target=1.0),
        Claim("watch / naive script on torch", unit, ours, found["naive torch"]),
    )


def at_rate(source: Path, target: Path, fps: float) -> Path:
    """A copy of the bundle that wants this many frames a second."""
    shutil.copytree(source, target)
    toml = target / "bundle.toml"
    text, count = re.subn(r"(?m)^fps\s*=.*$", f"fps = {fps:g}", toml.read_text())
    assert count == 1, f"{toml}: {count} lines set fps"
    toml.write_text(text)
    Bundle(target)
    return target


def _fps(command: list[str]) -> float:
    """Run one side once; its last line of output is JSON with frames and seconds."""
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    last = json.loads(done.stdout.strip().splitlines()[-1])
    return float(last["frames"] / last["seconds"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video", type=Path, default=VIDEO)
    parser.add_argument("--bundle", type=Path, default=Path("models/street"))
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
