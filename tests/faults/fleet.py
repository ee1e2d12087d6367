"""A fleet of cameras whose frames are next to nothing: does the metadata's way carry it?

python -m tests.faults.fleet --cameras 2000
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.bus import Record
from shared.cameras import Camera
from tests.faults.course import Course, Phase, Sample, peak
from tests.faults.overload_verdict import predictions
from tests.faults.plan import SERVICES
from tests.faults.stand import WORKERS, Stand
from tests.support.broker import CannotStart
from tests.support.bundles import write_bundle

_STRIDE = 5  # steps, as the shipped bundle's
_FEW = 200  # cameras, to see what each of the others adds
_SAMPLE_SECONDS = 5.0
_SETTLE_SECONDS = 10.0
_START_SECONDS = 90.0
_GROWTH_SECONDS = 1.0
"""Lag that grows by less than what comes in so long is noise of batches."""
_PUBLISHED = 0.98  # of what the cameras should give


@dataclass(frozen=True)
class Found:
    """What was measured; rates a second, memory in MB, latencies in seconds."""

    offered: float
    published: float
    dropped: float
    predictions: float
    lag: dict[str, tuple[int, int]]
    """By service: least number of records not committed, what windows hold included, in the first
    half of the measuring and in the second."""
    latency: tuple[float, float]
    """From capture to prediction: median and p99."""
    megabytes: dict[str, float]
    classifier_kb_a_camera: float
    faults: Sequence[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code that `--help` explains."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="citywatch-fleet-"))
    bundle = write_bundle(
        folder / "bundle",
        name="fleet",
        fps=options.fps,
        window=options.window,
        stride=_STRIDE,
        size=32,
    )
    stand = Stand(folder, bundle, "fleet", {
        "CITYWATCH_KAFKA_PARTITIONS": str(options.partitions),
        "CITYWATCH_KAFKA_LINGER_MS": str(options.linger),
        "CITYWATCH_FEATURIZER_THREADS": "1",
        "CITYWATCH_FEATURIZER_MAX_RECORDS": "256",
        "CITYWATCH_FEATURIZER_MAX_FRAME_AGE_SECONDS": "inf",  # lag must show
        "CITYWATCH_SERVICE_LOG_LEVEL": "WARNING",
    })  # fmt: skip
    try:
        found = _run(stand, options)
    except CannotStart as error:
        print(f"fleet: {error}", file=sys.stderr)
        return 2
    finally:
        stand.close()
    _report(found, options)
    if found.faults or options.keep:
        _say(f"the services' logs and the servers' state are kept in {folder}")
    else:
        shutil.rmtree(folder)
    print(json.dumps(_summary(found, options)))
    return 1 if found.faults else 0


def _run(stand: Stand, options: argparse.Namespace) -> Found:
    def camera(number: int) -> Camera:
        scene = f"synthetic://street?detail=tiny&width=32&height=24&noise=0&seed={number}"
        return Camera(id=f"drawn-{number}", source=f"{scene}&fps={options.fps:g}", fps=options.fps)

    course = Course(stand, camera, every=_SAMPLE_SECONDS)
    full = (
        options.window + _STRIDE
    ) / options.fps + _SETTLE_SECONDS  # seconds until windows are full
    few = min(_FEW, options.cameras // 2)
    _say("starting a broker, a Redis and the services")
    stand.start()
    stand.run(dict.fromkeys(SERVICES, 1) | {"ingest": options.ingest}, measured=True)
    course.cameras(few)
    first = _START_SECONDS + options.window / options.fps
    if not course.follow(first, lambda sample: sample.predictions > 0):
        raise CannotStart(f"no prediction came in {first:g} s")
    _say(f"{few} cameras run; waiting until their windows are full")
    course.follow(full)
    before = course.phase("few", 2 * _SAMPLE_SECONDS)
    _say(f"{options.cameras} cameras; waiting until their windows are full")
    course.cameras(options.cameras)
    every = options.cameras * options.fps
    course.follow(
        _START_SECONDS,
        lambda sample: course.rate(lambda s: s.frames, 2 * _SAMPLE_SECONDS) > _PUBLISHED * every,
    )
    course.follow(full)
    # Cameras that began together fill their windows together: predictions come in bursts.
    burst = _STRIDE / options.fps
    seconds = math.ceil(options.seconds / burst) * burst
    _say(f"measuring for {seconds:g} s")
    lags: list[dict[str, int]] = []
    begun = time.time()
    course.follow(seconds, lambda _: lags.append(stand.lags()))
    phase = Phase("many", begun, time.time())
    halves = lags[: len(lags) // 2], lags[len(lags) // 2 :]
    least = [{s: min(lag[s] for lag in half) for s in WORKERS} for half in halves]
    lag = {service: (least[0][service], least[1][service]) for service in WORKERS}
    stand.services.end(60)
    ages = [age for came, age in predictions(_read(stand)) if phase.holds(came)]
    return _judged(
        options, course.samples, (few, before), phase, lag, ages, stand.services.unexpected
    )


def _read(stand: Stand) -> Iterator[Record]:
    """All predictions."""
    reader = stand.bus.consumer(None, [stand.topics.predictions(stand.lane)], "beginning")
    while any(reader.lag().values()):
        yield from reader.poll(1000, 1.0)
    reader.close()


def _judged(
    options: argparse.Namespace, samples: Sequence[Sample], before: tuple[int, Phase],
    phase: Phase, lag: dict[str, tuple[int, int]], ages: Sequence[float], unexpected: Sequence[str],
) -> Found:  # fmt: skip
    first = [sample for sample in samples if sample.at < phase.begin][-1]
    last = [sample for sample in samples if phase.holds(sample.at)][-1]
    seconds = last.at - first.at
    offered = options.cameras * options.fps
    published = (last.frames - first.frames) / seconds
    predicted = (last.predictions - first.predictions) / seconds
    few, early = before
    grown = peak(samples, phase, "classifier") - peak(samples, early, "classifier")
    faults = [
        f"the lag of {service} grows: {begin:.0f} records, later {end:.0f}"
        for service, (begin, end) in lag.items()
        if end - begin > offered * _GROWTH_SECONDS
    ]
    if published < _PUBLISHED * offered:
        faults.append(f"only {published:.0f} of {offered:.0f} frames a second were published")
    if predicted < _PUBLISHED * offered / _STRIDE:
        faults.append(f"only {predicted:.0f} of {offered / _STRIDE:.0f} predictions a second came")
    return Found(
        offered, published, (last.dropped - first.dropped) / seconds, predicted, lag,
        (float(np.quantile(ages, 0.5)), float(np.quantile(ages, 0.99))) if ages else (0.0, 0.0),
        {service: peak(samples, phase, service) for service in SERVICES},
        grown * 1000 / (options.cameras - few), [*faults, *unexpected],
    )  # fmt: skip


def _report(found: Found, options: argparse.Namespace) -> None:
    print(f"{options.cameras} cameras at {options.fps:g} fps: {found.offered:.0f} frames a second, "
          f"{found.published:.1f} published, {found.dropped:.1f} dropped, {found.predictions:.1f} "
          "predictions")  # fmt: skip
    print(f"{'':12}{'least lag, first':>18}{'second half':>14}{'memory, MB':>14}")
    for service, megabytes in found.megabytes.items():
        begin, end = (f"{lag:.0f}" for lag in found.lag[service]) if service in found.lag else "--"
        print(f"{service:12}{begin:>18}{end:>14}{megabytes:14.0f}")
    print(f"capture to prediction: median {found.latency[0]:.2f} s, p99 {found.latency[1]:.2f} s")
    print(f"the classifier holds {found.classifier_kb_a_camera:.1f} KB more for each camera more, "
          f"windows of {options.window} vectors")  # fmt: skip
    print("frames of 32 x 24 pixels; a random MobileNetV2 at 32 pixels on one thread")
    for line in found.faults:
        print(line)
    print()


def _summary(found: Found, options: argparse.Namespace) -> dict[str, object]:
    return {
        "cameras": options.cameras,
        "fps": options.fps,
        "window": options.window,
        "partitions": options.partitions,
        "linger_ms": options.linger,
        "seconds": options.seconds,
        "frames_per_second": {
            "offered": found.offered,
            "published": round(found.published, 1),
            "dropped": round(found.dropped, 1),
        },
        "predictions_per_second": round(found.predictions, 1),
        "lag": found.lag,
        "latency_seconds": {"p50": round(found.latency[0], 3), "p99": round(found.latency[1], 3)},
        "memory_mb": {service: round(mb, 1) for service, mb in found.megabytes.items()},
        "classifier_kb_per_camera": round(found.classifier_kb_a_camera, 1),
        "faults": list(found.faults),
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.fleet",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Starts a Kafka and a Redis of its own, the four services, and drawn cameras whose frames are next to
nothing (32 x 24 pixels, a random network of 32 pixels): what remains is what each frame costs on
its way as a message. First 200 of them, then all; when all windows are full, lag is watched.""",
        epilog="""\
last line    one JSON object; lag by service: records not committed, the least of the first half of
             the measuring and of the second
exit code    0; 1 if a lag grows by more than comes in in a second, or less than 98 % of the frames
             are published or of the predictions due are made; 2 if no Kafka or Redis can be started
""",
    )
    parser.add_argument("--cameras", type=int, default=2000, help="how many (2000)")
    parser.add_argument("--fps", type=float, default=0.2, help="of each (0.2)")
    parser.add_argument("--window", type=int, default=30, help="steps; memory grows with it (30)")
    parser.add_argument(
        "--seconds", type=float, default=90, help="of measuring, at least; whole bursts (90)"
    )
    parser.add_argument("--partitions", type=int, default=16, help="of each topic (16)")
    parser.add_argument(
        "--linger", type=int, default=100, help="kafka.linger_ms: a batch of tiny frames is worth "
        "waiting for (100)",
    )  # fmt: skip
    parser.add_argument("--ingest", type=int, default=2, help="processes of ingest (2)")
    parser.add_argument("--keep", action="store_true", help="keep logs and state in any case")
    return parser


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
