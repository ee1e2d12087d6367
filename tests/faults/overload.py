"""Twice the load that the pipeline can carry: is latency bounded, and everything accounted for?

python -m tests.faults.overload --seconds 180 --factor 2
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from shared.cameras import Camera
from tests.faults.checker import Rules, read_logs
from tests.faults.course import Course, vectors
from tests.faults.overload_report import MARGIN, Ran, judge, report, summary
from tests.faults.plan import SERVICES
from tests.faults.stand import Stand
from tests.support.broker import CannotStart
from tests.support.command import start
from tests.support.lively_bundle import write_lively_bundle
from tests.support.videos import write_video

FPS = 10.0
_SIZE = (128, 96)
_CALM_LOAD = 0.7  # of the capacity, before and after
_MOST = 256  # cameras, in the search for the capacity
_LOOK_SECONDS = 6.0  # at each number of cameras
_CARRIED = 0.85  # of what is offered: else it is too much
_START_SECONDS = 90.0
_DRAIN_SECONDS = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code that `--help` explains."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="citywatch-overload-"))
    bundle = write_lively_bundle(
        folder / "bundle", [_scene(n) for n in range(2)], fps=FPS, size=options.size
    )
    stand = Stand(folder, bundle, "overload", {
        "CITYWATCH_KAFKA_PARTITIONS": "8",
        "CITYWATCH_FEATURIZER_MAX_FRAME_AGE_SECONDS": str(options.limit),
        "CITYWATCH_FEATURIZER_THREADS": "1",
        "CITYWATCH_FEATURIZER_PRECISION": "f32",
        "CITYWATCH_INGEST_STATIC_GATING": "false",  # every frame costs the network something
    })  # fmt: skip
    try:
        ran = _run(stand, options)
        logs = read_logs(stand.bus, stand.topics, stand.lane)
    except CannotStart as error:
        _say(f"overload: {error}")
        return 2
    finally:
        stand.close()
    shape = bundle.description.classifier
    rules = Rules(stand.lane, FPS, shape.window, shape.stride, shape.max_gap, regular=False)
    found = judge(ran, logs, rules)
    report(ran, found)
    if found.faults or options.keep:
        _say(f"the services' logs and the servers' state are kept in {folder}")
    else:
        shutil.rmtree(folder)
    asked = {"factor": options.factor, "seconds": options.seconds, "size": options.size}
    print(json.dumps({**asked, **summary(ran, found)}))
    return 1 if found.faults else 0


def _scene(number: int) -> str:
    wide, high = _SIZE
    return (
        f"synthetic://street?detail=tiny&width={wide}&height={high}&noise=0&events=random"
        f"&fps={FPS:g}&seed={number}"
    )


def _camera(number: int) -> Camera:
    return Camera(id=f"drawn-{number}", source=_scene(number), fps=FPS)


def _run(stand: Stand, options: argparse.Namespace) -> Ran:
    """Everything up to the end of the services."""
    course = Course(stand, _camera)
    _say("starting a broker, a Redis and the four services")
    stand.start()
    stand.run(dict.fromkeys(SERVICES, 1), measured=True)
    course.cameras(1)
    if not course.follow(_START_SECONDS, lambda sample: vectors(sample) > 0):
        raise CannotStart(f"no vector came out of the featurizer in {_START_SECONDS:g} s")
    capacity = _capacity(course, options.first, options.probe)
    few, many = (max(round(capacity * load / FPS), 1) for load in (_CALM_LOAD, options.factor))
    _say(f"it carries {capacity:.0f} frames a second; {few} cameras are {_CALM_LOAD:.0%} of that")
    course.cameras(few)
    course.follow(_START_SECONDS, lambda sample: sample.lag["featurizer"] < few * FPS)
    course.follow(options.limit)  # what is late now is gone then
    phases = [course.phase("before", max(5, options.seconds / 3))]
    _say(f"{options.factor:g} times the capacity: {many} cameras; a backfill beside them")
    tape = write_video(stand.folder / "tape.mp4", options.seconds / 2, fps=FPS, size=_SIZE)
    course.cameras(many)
    words = stand.folder / "backfill.log"  # a pipe that nobody reads would stop it
    with words.open("w") as log:
        backfill = start(
            ["citywatch", "backfill", tape, "--camera", "tape", "--start", "2026-01-01T00:00:00Z",
             "--lane", stand.lane, "--json"],
            env=stand.environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    phases.append(course.phase("during", options.seconds))
    _say(f"back to {few} cameras")
    course.cameras(few)
    phases.append(course.phase("after", options.limit + 3 * MARGIN))
    code = backfill.wait(_DRAIN_SECONDS)
    _say("stopping the cameras, draining, reading the logs")
    course.cameras(0)
    until = time.monotonic() + _DRAIN_SECONDS
    while stand.lag() and time.monotonic() < until:
        time.sleep(0.5)  # between two looks
    stand.services.end(60)
    cameras = dict(zip(("before", "during", "after"), (few, many, few), strict=True))
    last_words = words.read_text().splitlines()[-1:] or [""]
    return Ran(
        options.limit, capacity, phases, cameras, course.samples,
        (code, last_words[0]), stand.services.unexpected,
    )  # fmt: skip


def _capacity(course: Course, first: int, seconds: float) -> float:
    """Vectors a second while more comes than can be done: cameras, `first` so many, are doubled
    until it is so.

    Raises CannotStart if so many cannot be drawn here.
    """
    number = first
    while True:
        course.cameras(number)
        course.follow(_LOOK_SECONDS)
        if course.rate(vectors, _LOOK_SECONDS / 2) < _CARRIED * number * FPS:
            course.follow(seconds)
            return course.rate(vectors, seconds)
        if number >= _MOST:
            raise CannotStart(f"{number} cameras are not too much: there is no overload here")
        number *= 2


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.overload",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"""\
Starts a Kafka and a Redis of its own, one process of each service, and drawn live cameras of
{FPS:g} frames a second: first as many as it takes to find what the pipeline carries, then 70 % of
that (before), a multiple of it (during) with a backfill beside, and 70 % again (after). At the end
everything is drained, and what became of every frame and window is computed from what lies in the
topics. The network is a random MobileNetV2, as dear as a trained one, in f32 on one thread.""",
        epilog="""\
the table    rates a second; latencies in seconds, capture to prediction and capture to alert (an
             incident that opens), p100 the worst; the featurizer's lag in records; resident memory
last line    one JSON object
exit code    0; 1 if p99 latency or recovery takes longer than max_frame_age_seconds, 3 s and what
             the featurizer has in hand (four batches); if memory grows by a tenth and 32 MB from
             the first third of the overload to the last; if a frame has no answer, a window is
             missing without a shed frame in it, or the backfill loses anything. 2 if no Kafka or
             Redis can be started, or no overload be made""",
    )
    parser.add_argument("--seconds", type=float, default=180, help="of overload (180)")
    parser.add_argument("--factor", type=float, default=2, help="times the capacity (2)")
    parser.add_argument("--limit", type=float, default=30, help="max_frame_age_seconds (30)")
    parser.add_argument("--size", type=int, default=160, help="of the network's input (160)")
    parser.add_argument("--first", type=int, default=8, help="cameras to begin the search with (8)")
    parser.add_argument("--probe", type=float, default=15, help="seconds to find capacity in (15)")
    parser.add_argument("--keep", action="store_true", help="keep logs and state in any case")
    return parser


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
