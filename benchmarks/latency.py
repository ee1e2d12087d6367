"""From the capture of a window's last frame to its prediction, at 70 % of what the machine carries.

    python -m benchmarks.latency [--seconds 40] [--share 0.7]

First `watch` on eight files as fast as it can: the most frames a second. Then as many looping
cameras, at their own pace, as make 70 % of that; what the waiting for a full window takes does not
count, for the clock starts at the window's last frame.
"""

from __future__ import annotations

import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.claim import Claim, report
from benchmarks.many_files import copies, watch
from benchmarks.material import arguments, bundle_of, clip, with_int8
from citywatch.configuration import lane_and_bundle, resolve
from citywatch.follow import follow
from citywatch.sources import cameras_of
from citywatch.standalone import Standalone
from citywatch.tally import Seen, Tally
from citywatch.watch import FIXED, be_lean
from shared.messages import NANOSECONDS, Frame, Prediction
from shared.service import now_ns

_WARM_UP = 10.0  # seconds: eight processes and a network come up


@dataclass
class Stopwatch:
    """An observer that notes how old each prediction's last frame is when it is seen."""

    begun: float = field(default_factory=time.monotonic)
    seconds: list[float] = field(default_factory=list)
    frames: int = 0

    def take(self, seen: Seen) -> None:
        """After the warm-up only."""
        if time.monotonic() - self.begun < _WARM_UP:
            return
        if isinstance(seen, Frame):
            self.frames += 1
        elif isinstance(seen, Prediction):
            self.seconds.append((now_ns() - seen.ended_at) / NANOSECONDS)

    def tick(self) -> None:
        """Nothing to draw."""


def main() -> None:
    """Find the most, then run at a share of it."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--share", type=float, default=0.7)
    chosen = parser.parse_args()
    video = clip(chosen)
    bundle = with_int8(bundle_of(chosen), video)
    fps = bundle.description.input.fps
    with tempfile.TemporaryDirectory() as text:
        most = watch(bundle.folder, fps, "auto", copies(video, Path(text), 8))()
        cameras = max(1, int(chosen.share * most / fps))
        print(f"most: {most:.0f} frames/s; {cameras} cameras at {fps:g} fps", flush=True)
        watched = cameras_of((str(video),) * cameras, fps, True, None)
        configuration = resolve(None, (), bundle.folder, FIXED, {})
        lane, _ = lane_and_bundle(configuration)
        be_lean(configuration, bundle, cameras, seen=False)
        tally = Tally(camera.id for camera in watched)
        with Standalone(configuration, lane, watched) as house:
            stopwatch = Stopwatch()
            follow(house, tally, [stopwatch], threading.Event(), chosen.seconds)
    found = np.array(stopwatch.seconds)
    p50, p99 = (float(np.quantile(found, share)) for share in (0.5, 0.99))
    rate = stopwatch.frames / (chosen.seconds - _WARM_UP)
    dropped = sum(tally.dropped.values())
    print(f"{len(found)} windows, p50 {p50 * 1000:.0f} ms, dropped {dropped}")
    report(
        Claim("capture to prediction beyond the window's fill, p99", "s", [p99], target=0.5,
              at_most=True, note=f"{cameras} cameras, {rate:.0f} of {most:.0f} frames/s, p50 "
              f"{p50:.3f} s, {dropped} frames dropped")
    )  # fmt: skip


if __name__ == "__main__":
    main()
