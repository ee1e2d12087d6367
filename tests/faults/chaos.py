"""Kill everything again and again while cameras run; then see from the logs that nothing is lost.

python -m tests.faults.chaos --seed 7 --kills 100
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kafka import errors

from alerting.incidents import Rules as IncidentRules
from alerting.settings import AlertingSettings
from shared.bus import Consumer
from shared.codec import decode
from shared.errors import CitywatchError, InvalidMessage
from shared.messages import NANOSECONDS, Prediction, Session
from tests.faults.checker import Rules, read_logs
from tests.faults.city import FPS, City
from tests.faults.plan import TARGETS, Fault, plan
from tests.faults.stand import WORKERS
from tests.faults.verdict import Recovery, Verdict, alone, judge
from tests.support.broker import CannotStart

_POISON_EVERY = 4  # faults
_START_SECONDS = 60.0
_DRAIN_SECONDS = 90.0
_SLOWEST = 5  # recoveries that are named
_SHOWN = 40  # lines of broken promises


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code that `--help` explains."""
    options = _parser().parse_args(arguments)
    faults = plan(
        options.seed, options.kills, options.interval, options.targets, options.actions,
        options.replicas,
    )  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="citywatch-chaos-"))
    city = City(
        folder, options.seed, replicas=options.replicas, cameras=options.cameras,
        broken=set(options.targets) & set(WORKERS) if options.broken else (),
    )  # fmt: skip
    try:
        verdict, struck = _run(city, faults)
    except CannotStart as error:
        _say(f"chaos: {error}")
        return 2
    finally:
        city.close()
    _report(verdict, struck, city)
    bug = any("exit code 1:" in line for line in city.services.unexpected)
    if verdict.good and not bug and not options.keep:
        _remove(folder)
    else:
        _say(f"the services' logs and the servers' state are kept in {folder}")
    print(json.dumps(_summary(verdict, struck)))
    return 0 if verdict.good and not bug else 1


class Flow:
    """Watches predictions come: how far each live camera is."""

    def __init__(self, reader: Consumer) -> None:
        self._reader = reader
        self.newest: dict[str, int] = {}
        self.count = 0

    def follow(self, seconds: float) -> None:
        """Look for so long; a broker that is away says nothing."""
        try:
            records = self._reader.poll(1000, seconds)
        except CitywatchError:
            time.sleep(seconds)
            return
        for record in records:
            try:
                message = decode(record.value, Prediction)
            except InvalidMessage:  # our own poison, or the end of a stream
                continue
            self.count += 1
            if Session.parse(message.session).live:
                newest = self.newest.get(message.camera_id, 0)
                self.newest[message.camera_id] = max(newest, message.ended_at)

    def reaches(self, cameras: int, moment: float) -> bool:
        """Whether so many live cameras have a prediction of pictures taken after `moment`."""
        return sum(at > moment * NANOSECONDS for at in self.newest.values()) >= cameras


def _run(city: City, faults: Sequence[Fault]) -> tuple[Verdict, list[tuple[float, Fault]]]:
    live = sum(camera.id != "recording" for camera in city.cameras)
    _say(f"starting a broker, a Redis, {len(city.cameras)} cameras and the services")
    city.start()
    flow = Flow(city.bus.consumer(None, [city.topics.predictions(city.lane)], "beginning"))

    def wait(until: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() > deadline:
                _say(f"still not after {seconds:g} s: {what}")
                return
            city.tend()
            flow.follow(0.2)

    wait(lambda: flow.reaches(live, 0), _START_SECONDS, "every camera has a prediction")
    struck: list[tuple[float, Fault]] = []
    start = time.monotonic()
    for number, fault in enumerate(faults, 1):
        while time.monotonic() < start + fault.at:
            city.tend()
            flow.follow(0.1)
        struck.append((time.time(), fault))
        city.suffer(fault)
        elapsed = time.monotonic() - start
        _say(f"{elapsed:6.1f} s  {number:3}/{len(faults)}  {fault}  ({flow.count} predictions)")
        if number % _POISON_EVERY == 0 and city.reachable:
            city.poison()
    _say("no more faults; waiting until everything flows")
    city.tend()
    city.heal()
    calm = time.time()
    wait(lambda: flow.reaches(live, calm), _START_SECONDS, "every camera has a new prediction")
    _say("stopping the cameras, draining")
    city.stop_cameras()
    wait(lambda: _drained(city), _DRAIN_SECONDS, "all is read and committed")
    city.services.end(60)
    _say("reading the logs")
    shape = city.bundle.description.classifier
    rules = Rules(city.lane, FPS, shape.window, shape.stride, shape.max_gap, regular=False)
    logs = read_logs(city.bus, city.topics, city.lane)
    incidents = IncidentRules.of(city.bundle.description, AlertingSettings())
    return judge(logs, rules, incidents, [at for at, _ in struck]), struck


def _drained(city: City) -> bool:
    try:
        return city.lag() == 0
    except errors.KafkaError:
        return False


# --- what is said ---------------------------------------------------------------------------------


def _report(verdict: Verdict, struck: Sequence[tuple[float, Fault]], city: City) -> None:
    rows: list[tuple[str, object]] = [
        ("windows expected", verdict.expected),
        ("windows delivered", verdict.delivered),
        ("windows missing", verdict.missing),
        ("duplicates de-duplicated", verdict.duplicates),
        ("transitions expected", verdict.incidents_expected),
        ("transitions lost", verdict.incidents_lost),
        ("transitions repeated", verdict.incidents_repeated),
        ("restarts", city.services.restarts),
        ("ended by themselves", len(city.services.unexpected)),
    ]
    for name, value in rows:
        print(f"{name:26} {value:>8}")
    moments = [at for at, _ in struck]
    pairs = [
        (back, fault) for back, (_, fault) in zip(verdict.recovery, struck, strict=True) if back
    ]
    groups = {"all": [back for back, _ in pairs], "alone": alone(verdict.recovery, moments)}
    for back, fault in pairs:
        groups.setdefault(fault.target, []).append(back)
    print(f"\n{'recovery, s':14} {'faults':>6} {'median':>7} {'p90':>7} {'max':>7}")
    for name, some in groups.items():
        if some:
            times = _times(some)
            print(f"{name:14} {len(some):6} {times['median']:7.1f} {times['p90']:7.1f} "
                  f"{times['max']:7.1f}")  # fmt: skip
    for back, fault in sorted(pairs, key=lambda pair: -pair[0].seconds)[:_SLOWEST]:
        print(f"{back.seconds:6.1f} s after {fault}: {back.camera} was the last to come back")
    for line in [*city.services.unexpected, *verdict.broken[:_SHOWN]]:
        print(line)
    if len(verdict.broken) > _SHOWN:
        print(f"... and {len(verdict.broken) - _SHOWN} more")
    print()


def _summary(verdict: Verdict, struck: Sequence[tuple[float, Fault]]) -> dict[str, object]:
    counts = {
        field.name: getattr(verdict, field.name)
        for field in dataclasses.fields(verdict)
        if field.name not in ("recovery", "broken")
    }
    back = [some for some in verdict.recovery if some is not None]
    own = alone(verdict.recovery, [at for at, _ in struck])
    recovery = {
        **_times(back), "alone": {"faults": len(own), **_times(own)} if own else None,
    } if back else None  # fmt: skip
    order = ("expected", "delivered", "missing", "duplicates", "incidents_expected",
             "incidents_lost", "incidents_repeated")  # fmt: skip
    found = counts | {"missing": verdict.missing}
    return {name: found[name] for name in order} | {"recovery_seconds": recovery}


def _times(recoveries: Sequence[Recovery]) -> dict[str, float]:
    times = sorted(back.seconds for back in recoveries)
    p90 = times[min(int(len(times) * 0.9), len(times) - 1)]
    found = {"median": statistics.median(times), "p90": p90, "max": times[-1]}
    return {name: round(value, 2) for name, value in found.items()}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.chaos",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Starts a Kafka and a Redis of its own, several replicas of the four services, and drawn cameras;
then, by a plan that the seed decides, kills, terminates and stops services (a supervisor restarts
what ended), kills and stops the broker and Redis, lets Redis forget its last second, and puts
unreadable records into the topics. At the end the cameras are stopped, everything is drained, and
docs/delivery.md's promises are checked from what lies in the topics.""",
        epilog="""\
the table    duplicates: predictions that came again and were known by their id. Transitions:
             incidents that opened or closed; expected is what the same predictions give when
             nothing goes wrong. Recovery: from a fault until every live camera had a prediction
             of pictures taken after it, a window of two seconds included; alone: of those faults
             from which all had recovered before another one struck.
last line    one JSON object: expected delivered missing duplicates incidents_expected
             incidents_lost incidents_repeated recovery_seconds
exit code    0 nothing lost; 1 something lost or recorded twice, or a service died of a bug;
             2 no Kafka or Redis can be started here

examples     python -m tests.faults.chaos --kills 10                 about two minutes
             python -m tests.faults.chaos --seed 3 --kills 100       about twenty
             python -m tests.faults.chaos --targets classifier --actions KILL --kills 20
             python -m tests.faults.chaos --broken --targets featurizer --actions KILL --kills 3
                                                                     must find losses
""",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the plan, scenes and network")
    parser.add_argument("--kills", type=int, default=100, help="how many faults (default: 100)")
    parser.add_argument(
        "--interval", type=float, default=10, help="seconds between faults, on average (10)"
    )
    parser.add_argument("--replicas", type=int, default=2, help="of each service (2)")
    parser.add_argument("--cameras", type=int, default=5, help="drawn live ones, besides a faster "
                        "one, a looping file and a recording (5)")  # fmt: skip
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS, metavar="NAME",
                        help=f"what is struck: {', '.join(TARGETS)} (all)")  # fmt: skip
    actions = ("KILL", "TERM", "STOP", "ROLL BACK")
    parser.add_argument("--actions", nargs="+", choices=actions, default=actions, metavar="ACTION",
                        help="what is done: KILL TERM STOP 'ROLL BACK' (all)")  # fmt: skip
    parser.add_argument("--broken", action="store_true", help="let the workers among the "
                        "targets commit too early: the checker must find losses")  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep logs and state in any case")
    return parser


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
