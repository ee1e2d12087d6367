"""`citywatch watch` against the script that one writes first, on the same video and machine.

    python -m benchmarks.standalone [--rounds 3] [--times 2]

The video is pedestrians.mp4, its packets twice over, so that starts weigh little. All sides
process every frame of it: the bundle is copied with its rate set to that of the file. Frames per
second are counted with the models loaded, from opening the video to the last score. Ours runs as it
would by default with a bundle that has its int8 network, and once more in the script's float32.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.claim import Claim, alternate, report
from benchmarks.many_files import timed, watch
from benchmarks.material import arguments, bundle_of, clip, every_frame, repeated, with_int8


def main() -> None:
    """Measure all sides in turns."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--times", type=int, default=2, help="the video over and over")
    chosen = parser.parse_args()
    source = clip(chosen)
    bundle = with_int8(bundle_of(chosen), source)
    with tempfile.TemporaryDirectory() as folder:
        video = repeated(source, chosen.times, Path(folder) / "video.mp4")
        copy, rate = every_frame(bundle, video, Path(folder) / "bundle")
        naive = [sys.executable, "-m", "benchmarks.naive"]
        sides: dict[str, Callable[[], float]] = {
            "watch": watch(copy, rate, "auto", [video]),
            "watch f32": watch(copy, rate, "f32", [video]),
            "naive openvino": timed([*naive, "openvino", video, copy]),
            "naive torch": timed([*naive, "torch", video, copy]),
        }
        found = alternate(sides, chosen.rounds)
    unit = "frames/s"
    report(
        Claim("watch / naive script on OpenVINO", unit, found["watch"], found["naive openvino"],
              1.5, note="int8 where the CPU is fast at it; the script in bf16 or float32, the"
              " faster one here"),
        Claim("watch in float32 / naive script on OpenVINO", unit, found["watch f32"],
              found["naive openvino"]),
        Claim("watch / naive script on torch", unit, found["watch"], found["naive torch"]),
    )  # fmt: skip


if __name__ == "__main__":
    main()
