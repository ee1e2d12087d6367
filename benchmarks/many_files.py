"""`citywatch watch` on eight files at once, against roboflow's InferencePipeline on the same.

    python -m benchmarks.many_files [--files 8]

Both take every frame of every file, the same backbone and the same head on windows of the same
stride. The peer looks at the whole picture; ours does more: it also finds the region that moves and
keeps incidents. Both compute the flow that the model sees; the last claim is without that on
either side, ours with differences and the peer with bare pictures. int8 is ours as it runs by
default, beside the peer with the network as OpenVINO converts it (bf16 where there are tiles for
it, else float32, its faster ones); two claims have the same arithmetic on both sides.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openvino as ov

from benchmarks.claim import Claim, alternate, report
from benchmarks.material import (
    arguments,
    bundle_of,
    clip,
    every_frame,
    of_differences,
    peer_python,
    with_int8,
)
from classifier import openvino_backend as head
from featurizer import int8
from featurizer import openvino_backend as backbone
from featurizer.precision import choose

_PEER = Path(__file__).parent / "peers" / "inference_pipeline.py"


def main() -> None:
    """Measure both in both arithmetics."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--files", type=int, default=8)
    chosen = parser.parse_args()
    video = clip(chosen)
    bundle = with_int8(bundle_of(chosen), video)
    python = peer_python("inference", "inference openvino")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        files = copies(video, folder, chosen.files)
        copy, rate = every_frame(bundle, video, folder / "bundle")
        ov.save_model(backbone.build(bundle), folder / "f32.xml", compress_to_fp16=False)
        ov.save_model(head.build(bundle), folder / "head.xml", compress_to_fp16=False)
        stride = bundle.description.classifier.stride
        networks = {"f32": folder / "f32.xml", "int8": int8.file_of(bundle.folder)}
        hint = choose("auto", quantised=False)  # for all that is not int8
        flow = bundle.description.input.kind == "flow"
        kind = "flow" if flow else "picture"
        sides: dict[str, Callable[[], float]] = {}
        for precision, network in networks.items():
            sides[f"citywatch {precision}"] = watch(copy, rate, precision, files)
            if python is not None:
                peer = [python, _PEER, network, hint, folder / "head.xml", stride]
                sides[f"inference {precision}"] = timed([*peer, kind, *files])
                if flow and precision == "f32":
                    sides["inference f32, bare pictures"] = timed([*peer, "picture", *files])
        if flow:
            plain = of_differences(copy, folder / "differences")
            sides["citywatch int8, differences"] = watch(plain, rate, "int8", files)
        found = alternate(sides, chosen.rounds)
    pairs = [("int8", "f32"), ("f32", "f32"), ("int8", "int8")]
    if flow:
        pairs.append(("int8, differences", "f32, bare pictures"))
    report(*(_claim(ours, peers, chosen.files, found) for ours, peers in pairs))


def _claim(ours: str, peers: str, files: int, found: dict[str, list[float]]) -> Claim:
    return Claim(
        f"watch on {files} files, {ours} / roboflow InferencePipeline, {peers}", "frames/s",
        found[f"citywatch {ours}"], found.get(f"inference {peers}", ()), 1.5,
        note="" if f"inference {peers}" in found else "the peer is not installed",
    )  # fmt: skip


def copies(video: Path, folder: Path, count: int) -> list[Path]:
    """The same file under several names: a camera each."""
    files = [folder / f"{video.stem}-{i}{video.suffix}" for i in range(count)]
    for file in files:
        file.symlink_to(video.resolve())
    return files


def watch(
    bundle: Path, rate: float, precision: str, files: Sequence[Path], *settings: str
) -> Callable[[], float]:
    """Frames a second of `citywatch watch`, every frame of every file."""
    options = ["--json", "--bundle", bundle, "--fps", rate, "--set",
               f"featurizer.precision={precision}"]  # fmt: skip
    for setting in settings:
        options += ["--set", setting]
    return timed([sys.executable, "-m", "citywatch", "watch", *files, *options])


def timed(command: Sequence[Any]) -> Callable[[], float]:
    """Frames a second by the last line that the command prints."""
    words = [str(word) for word in command]

    def measure() -> float:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr[-3000:]}")
        last = json.loads(done.stdout.strip().splitlines()[-1])
        return float(last["frames"] / last["seconds"])

    return measure


if __name__ == "__main__":
    main()
