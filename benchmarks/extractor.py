"""The extractor on a CPU: against OpenVINO's own figure, torch, and itself in other arithmetics.

    python -m benchmarks.extractor [--seconds 4]

All see the same network inputs of pedestrians.mp4. OpenVINO's own figure is that of its
`benchmark_app` on the bare network, converted from torch, with the same hint and precision.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import openvino as ov
import torch

from benchmarks.claim import Claim, alternate, report
from benchmarks.material import arguments, bundle_of, clip, network_inputs, with_int8
from featurizer.extractor import Extractor
from featurizer.inputs import Image
from featurizer.int8 import load
from featurizer.mobilenetv2 import load_backbone
from featurizer.openvino_backend import OpenVinoExtractor
from featurizer.precision import Precision
from featurizer.torch_backend import Reference
from shared.bundle import Bundle

BATCH = 64


def main() -> None:
    """Measure all of them in turns."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each measurement")
    chosen = parser.parse_args()
    video = clip(chosen)
    bundle = with_int8(bundle_of(chosen), video)
    images = network_inputs(bundle, video, 4 * BATCH)
    precisions: tuple[Precision, ...] = ("f32", "bf16", "int8")
    extractors: dict[str, Extractor] = {p: OpenVinoExtractor(bundle, 0, p) for p in precisions}
    extractors["torch eager"] = Reference(bundle)
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.xml"
        _save_bare(bundle, bare)
        cores: dict[str, list[float]] = {name: [] for name in extractors}
        sides: dict[str, Callable[[], float]] = {
            name: _rate_of(extractor, images, chosen.seconds, cores[name])
            for name, extractor in extractors.items()
        }
        sides["benchmark_app f32"] = lambda: _benchmark_app(bare, "f32", chosen.seconds)
        sides["benchmark_app bf16"] = lambda: _benchmark_app(bare, "bf16", chosen.seconds)
        found = alternate(sides, chosen.rounds)
    record = load(bundle)[1]
    each = ", ".join(f"{name} {statistics.median(ms):.2f}" for name, ms in cores.items())
    print(f"core-ms an image: {each}")
    quality = (
        f"core-ms an image: {each}; cosine to f32 {record.cosine_mean}, 5th percentile "
        f"{record.cosine_p05}"
    )
    unit = "images/s"
    report(
        Claim("extractor f32 / OpenVINO's benchmark_app f32, bare network", unit, found["f32"],
              found["benchmark_app f32"], 0.95, note="ours from uint8, normalisation included"),
        Claim("extractor bf16 / OpenVINO's benchmark_app bf16, bare network", unit, found["bf16"],
              found["benchmark_app bf16"], 0.95),
        Claim("extractor as it runs by default (int8) / OpenVINO's benchmark_app bf16", unit,
              found["int8"], found["benchmark_app bf16"], 0.95),
        Claim("extractor int8 / torch eager f32", unit, found["int8"], found["torch eager"], 10,
              note=quality),
        Claim("extractor f32 / torch eager f32", unit, found["f32"], found["torch eager"]),
        Claim("extractor int8 / bf16", unit, found["int8"], found["bf16"], 1.5, note=quality),
        Claim("extractor int8 / f32", unit, found["int8"], found["f32"], note=quality),
    )  # fmt: skip


def _rate_of(
    extract: Extractor, images: Image, seconds: float, cores: list[float]
) -> Callable[[], float]:
    """Images a second of the clock; `cores` takes the processor milliseconds of each image."""

    def measure() -> float:
        extract(images[:BATCH])
        done, begun, cpu = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - begun < seconds:
            at = done % len(images)
            done += len(extract(images[at : at + BATCH]))
        cores.append((time.process_time() - cpu) / done * 1000)
        return done / (time.perf_counter() - begun)

    return measure


def _save_bare(bundle: Bundle, path: Path) -> None:
    """The network as OpenVINO's guide makes it: converted from torch, float input, one image."""
    size = bundle.description.input.size
    example = torch.zeros(1, 3, size, size)
    model = ov.convert_model(load_backbone(bundle), example_input=example)
    model.reshape([1, 3, size, size])
    ov.save_model(model, path, compress_to_fp16=False)


def _benchmark_app(model: Path, precision: str, seconds: float) -> float:
    app = Path(sys.executable).with_name("benchmark_app")
    command = [str(app), "-m", str(model), "-d", "CPU", "-hint", "throughput", "-t",
               str(round(seconds)), "-infer_precision", precision]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    match = re.search(r"Throughput:\s*([0-9.]+)", said)
    if match is None:
        sys.exit(f"benchmark_app said no throughput:\n{said[-2000:]}")
    return float(match[1])


if __name__ == "__main__":
    main()
