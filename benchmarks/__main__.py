"""Every claim, one script after the other: `python -m benchmarks [NAME...]`.

Writes the table into docs/performance.md between its two markers. A script that cannot run here
says why, and its line is left out; a figure is never carried over from another run.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.material import CHECKOUT, arguments

SCRIPTS = (
    "standalone", "extractor", "many_files", "four_services", "kafka_featurizer", "latency",
    "static_scene", "many_cameras", "recognition",
)  # fmt: skip
PAGE = CHECKOUT / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def main() -> int:
    """Run them, write the table; 1 if any could not be measured."""
    parser = arguments(__doc__, rounds=0)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SCRIPTS)}; all if none")
    parser.add_argument("--no-page", action="store_true", help="do not write docs/performance.md")
    chosen = parser.parse_args()
    options = ["--bundle", str(chosen.bundle), "--data", str(chosen.data)]
    if chosen.rounds:
        options += ["--rounds", str(chosen.rounds)]
    claims: list[dict[str, Any]] = []
    absent = []
    for name in chosen.names or SCRIPTS:
        print(f"== {name}", flush=True)
        found = _measured(name, options)
        claims += found
        if not found:
            absent.append(name)
    if claims and not chosen.no_page:
        write(PAGE, claims)
    print(json.dumps({"claims": claims, "not measured": absent}))
    return 1 if absent else 0


def _measured(name: str, options: Sequence[str]) -> list[dict[str, Any]]:
    """The claims of one script; its words go to the terminal as they come."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line
    if process.returncode != 0 or not last.startswith("{"):
        print(f"{name}: not measured", file=sys.stderr)
        return []
    claims: list[dict[str, Any]] = json.loads(last)["claims"]
    return claims


def write(page: Path, claims: Sequence[dict[str, Any]]) -> None:
    """Put the table between the markers of the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table(claims)}\n{END}{after}")


def table(claims: Sequence[dict[str, Any]]) -> str:
    """Markdown: medians, the spread of the rounds' ratios, where and when."""
    lines = [
        f"Measured {date.today().isoformat()} on {_machine()}; {_versions()}. Medians; in brackets "
        "the least and the largest ratio of a round. Load of the machine before each script: "
        f"{_loads(claims)}.", "",
        "| claim | ours | peer | ratio | target | unit | rounds |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: |",
    ]  # fmt: skip
    for claim in claims:
        peer = "" if claim["peer"] is None else f"{claim['peer']:g}"
        ratio = "" if claim["ratio"] is None else f"**{claim['ratio']:.2f}**"
        spread = claim.get("ratio_range")
        if spread and claim["runs"] > 1:
            ratio += f" ({spread[0]:.2f}–{spread[1]:.2f})"
        sign = "≤" if claim.get("at_most") else "≥"
        target = "" if claim["target"] is None else f"{sign} {claim['target']:g}"
        text = claim["claim"] + (f"<br>{claim['note']}" if claim.get("note") else "")
        lines.append(
            f"| {text} | {claim['ours']:g} | {peer} | {ratio} | {target} | {claim['unit']} | "
            f"{claim['runs']} |"
        )
    return "\n".join(lines)


def _loads(claims: Sequence[dict[str, Any]]) -> str:
    loads = [claim["load_before"] for claim in claims if "load_before" in claim]
    return f"{min(loads):g} to {max(loads):g}" if loads else "not noted"


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ] if Path("/proc/cpuinfo").is_file() else []  # fmt: skip
    return f"{names[0] if names else platform.machine()}, {cores} cores"


def _versions() -> str:
    packages = ("openvino", "torch", "opencv-python-headless", "kafka-python")
    return ", ".join(f"{name} {version(name)}" for name in packages)


if __name__ == "__main__":
    sys.exit(main())
