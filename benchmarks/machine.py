"""Measures this machine for `citywatch plan`: what each service takes of a core per frame.

    python -m benchmarks.machine --out citywatch/profile.toml

The four services run on a real Kafka and Redis over eight files, every frame of them, twice: on
moving footage and on a still scene. Processor time is what the kernel counted for each process and
its children while it did the middle half of its work.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import openvino

from benchmarks.claim import Claim, report
from benchmarks.four_services import Totals, run
from benchmarks.many_files import copies
from benchmarks.material import arguments, bundle_of, clip, every_frame, with_int8
from benchmarks.static_scene import hold
from featurizer.precision import choose


def main() -> None:
    """Measure, write the profile, and compare what it foretells with other runs."""
    parser = arguments(__doc__, rounds=2)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--out", type=Path, help="where to write the profile")
    chosen = parser.parse_args()
    video = clip(chosen)
    bundle = with_int8(bundle_of(chosen), video)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        copy, rate = every_frame(bundle, video, folder / "bundle")
        files = copies(video, folder, chosen.files)
        moving = run(copy, bundle.name, rate, files, folder / "moving")
        still = folder / "still.mp4"
        hold(video, still, frames=400, fps=rate)
        quiet = run(copy, bundle.name, rate, copies(still, folder, 4), folder / "quiet")
        profile = _profile(moving, quiet, bundle.description.classifier.stride)
        measured = [
            run(copy, bundle.name, rate, files, folder / f"again-{i}").fps
            for i in range(chosen.rounds)
        ]
    lines = [f"{key} = {json.dumps(value)}" for key, value in profile.items()]
    print("\n".join(lines))
    if chosen.out is not None:
        chosen.out.write_text(
            "# Measured by `python -m benchmarks.machine`; see docs/performance.md.\n"
            + "\n".join(lines) + "\n"
        )  # fmt: skip
    foretold = _foretold(profile)
    report(
        Claim("four services as measured / as the profile foretells", "frames/s", measured,
              [foretold] * len(measured), note="all cores over the sum of core-ms a frame, broker "
              "included: what is missing to 1 is time in which cores were idle or did other work")
    )  # fmt: skip


def _profile(moving: Totals, quiet: Totals, stride: int) -> dict[str, Any]:
    """Keys and units are those of `citywatch.plan.Profile`."""
    frames = moving.frames
    still_share = quiet.unchanged / quiet.frames
    ingest = moving.milliseconds("ingest")
    # A still scene has some full frames; what is left of its cost belongs to the others.
    unchanged = (quiet.milliseconds("ingest") - (1 - still_share) * ingest) / still_share
    names = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        names = models[0].split(":", 1)[1].strip() if models else names
    return {
        "machine": f"{names}, {_cores()} cores, backbone in {choose('auto', quantised=True)}",
        "measured": f"{date.today().isoformat()}, OpenVINO {openvino.__version__.split('-')[0]}, "
        f"OpenCV {cv2.__version__}, 720p H.264 at 25 fps, every frame",
        "ingest_ms": _ms(ingest),
        "ingest_unchanged_ms": _ms(max(unchanged, 0.01)),
        "featurizer_ms": _ms(moving.milliseconds("featurizer")),
        "classifier_ms": _ms(moving.milliseconds("classifier")),
        "alerting_ms": _ms(moving.milliseconds("alerting")),
        "broker_ms": _ms(moving.milliseconds("kafka")),
        "windows_a_frame": 1 / stride,
        "picture_bytes": round(moving.frame_bytes / (frames - moving.unchanged)),
        "unchanged_bytes": round(quiet.unchanged_bytes / max(quiet.unchanged, 1)),
        "features_bytes": round(moving.feature_bytes / frames),
        "prediction_bytes": round(moving.prediction_bytes / max(moving.predictions, 1)),
        "ingest_camera_mb": round(moving.camera_mb, 1),
        "featurizer_mb": round(moving.memory_mb["featurizer"], 1),
        "featurizer_camera_mb": 1.4,
        "classifier_mb": round(moving.memory_mb["classifier"], 1),
        "classifier_camera_kb": 95.0,
    }


def _foretold(profile: dict[str, Any]) -> float:
    """Frames a second of all services and the broker on the cores of this machine."""
    services = ("ingest", "featurizer", "classifier", "broker")
    each = sum(float(profile[f"{name}_ms"]) for name in services)
    each += float(profile["alerting_ms"]) * float(profile["windows_a_frame"])
    return _cores() * 1000 / each


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _ms(milliseconds: float) -> float:
    return float(f"{milliseconds:.3g}")


if __name__ == "__main__":
    main()
