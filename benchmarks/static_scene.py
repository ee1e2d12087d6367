"""What static-frame gating is worth where nothing moves: `watch` with it and without.

    python -m benchmarks.static_scene [--files 4]

The footage is one frame of pedestrians.mp4, held for 36 seconds at 720p with a little sensor
noise. Frames a second are cameras carried: both sides are asked the same rate of each camera.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.claim import Claim, alternate, report
from benchmarks.many_files import copies, watch
from benchmarks.material import arguments, bundle_of, clip, every_frame, with_int8

_NOISE = 1.5  # grey levels, standard deviation


def main() -> None:
    """Measure both in turns."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--files", type=int, default=4)
    chosen = parser.parse_args()
    video = clip(chosen)
    bundle = with_int8(bundle_of(chosen), video)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        still = folder / "still.mp4"
        hold(video, still)
        copy, rate = every_frame(bundle, still, folder / "bundle")
        files = copies(still, folder, chosen.files)
        found = alternate(
            {
                "gated": watch(copy, rate, "auto", files),
                "every frame": watch(copy, rate, "auto", files, "ingest.static_gating=false"),
            },
            chosen.rounds,
        )
    report(
        Claim("cameras carried on static footage with gating / without", "frames/s",
              found["gated"], found["every frame"], 4,
              note="decoding of the video included on both sides")
    )  # fmt: skip


def hold(video: Path, path: Path, frames: int = 900, fps: float = 25.0) -> None:
    """Write a video in which nothing happens."""
    done, image = cv2.VideoCapture(str(video)).read()
    assert done and image is not None
    height, width = image.shape[:2]
    random = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    noise = random.normal(0, _NOISE, (8, *image.shape)).astype(np.float32)
    for number in range(frames):
        writer.write(np.clip(image + noise[number % len(noise)], 0, 255).astype(np.uint8))
    writer.release()


if __name__ == "__main__":
    main()
