"""An overload run's faults, table and summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tests.faults.checker import Logs, Rules
from tests.faults.course import Phase, Sample, peak
from tests.faults.overload_verdict import Account, Seen, account, predictions, recovery, seen
from tests.faults.plan import SERVICES

MARGIN = 3.0  # seconds beyond max_frame_age_seconds, for the rest of the way
IN_HAND = 4 * 64  # frames in the featurizer's hands: what it has begun is not shed
MEMORY_SHARE, MEMORY_MB = 1.1, 32.0  # last third of the overload against the first third
_SHOWN = 20  # lines of broken promises


@dataclass(frozen=True)
class Ran:
    """What was done. `limit` is max_frame_age_seconds, `capacity` frames a second.

    `cameras` by phase; `backfill` the exit code and last words of the command that ran beside.
    """

    limit: float
    capacity: float
    phases: Sequence[Phase]
    cameras: dict[str, int]
    samples: Sequence[Sample]
    backfill: tuple[int, str]
    unexpected: Sequence[str]

    @property
    def bound(self) -> float:
        """How old a prediction's picture may be, and how long recovery may take; seconds."""
        return self.limit + MARGIN + IN_HAND / self.capacity


@dataclass(frozen=True)
class Found:
    """What came of it. `calm` is the latency that counts as recovered, in seconds."""

    seen: dict[str, Seen]
    windows: Account
    recovery: float | None
    calm: float
    faults: Sequence[str]


def judge(ran: Ran, logs: Logs, rules: Rules) -> Found:
    """Compute all, and compare it with the bounds."""
    looked = seen(logs, ran.phases)
    windows, broken = account(logs, rules)
    calm = max(1.0, 2 * _quantile(looked["before"].predictions, 0.99))
    back = recovery(predictions(logs.predictions), ran.phases[-1], calm)
    faults = [*broken[:_SHOWN], *ran.unexpected, *_unbounded(ran, looked, back)]
    if windows.unaccounted:
        faults.append(f"{windows.unaccounted} windows are missing without a shed frame in them")
    other = looked["during"].answers.keys() - {"vector", "shed"}
    faults += [f"frames are missing for another reason: {kind}" for kind in sorted(other)]
    if looked["before"].answers["shed"]:
        faults.append("frames were shed before the overload")
    if not looked["during"].answers["shed"]:
        faults.append("nothing was shed: this was no overload")
    if ran.backfill[0]:
        faults.append(f"the backfill ended with {ran.backfill[0]}: {ran.backfill[1]}")
    return Found(looked, windows, back, calm, faults)


def _unbounded(ran: Ran, looked: dict[str, Seen], back: float | None) -> Iterator[str]:
    bound = ran.bound
    worst = _quantile(looked["during"].predictions, 0.99)
    if not worst <= bound:
        yield f"latency is not bounded: p99 {worst:.1f} s, bound {bound:.1f} s"
    if back is None or back > bound:
        yield f"no recovery within {bound:.1f} s: {back}"
    during = ran.phases[1]
    third = (during.end - during.begin) / 3
    early = Phase("", during.begin, during.begin + third)
    late = Phase("", during.end - third, during.end)
    for service in SERVICES:
        first, last = (peak(ran.samples, phase, service) for phase in (early, late))
        if last > first * MEMORY_SHARE + MEMORY_MB:
            yield f"{service}'s memory grows: {first:.0f} MB, later {last:.0f} MB"


def report(ran: Ran, found: Found) -> None:
    """Print the table."""
    columns = [_numbers(ran, found, phase) for phase in ran.phases]
    print(f"{'':22}" + "".join(f"{phase.name:>10}" for phase in ran.phases))
    for name in columns[0]:
        print(f"{name:22}" + "".join(f"{column[name]:10.2f}" for column in columns))
    print(f"\nlive windows: {asdict(found.windows)}")
    back = "never" if found.recovery is None else f"{found.recovery:.1f} s"
    print(f"recovery: {back} until nothing is older than {found.calm:.1f} s")
    print(f"backfill beside the overload: exit code {ran.backfill[0]}, {ran.backfill[1]}")
    for line in found.faults:
        print(line)
    print()


def summary(ran: Ran, found: Found) -> dict[str, object]:
    """The last line's object."""
    return {
        "capacity_fps": round(ran.capacity, 1),
        "max_frame_age_seconds": ran.limit,
        "bound_seconds": _rounded(ran.bound),
        "phases": {
            phase.name: {key: _rounded(value) for key, value in _numbers(ran, found, phase).items()}
            for phase in ran.phases
        },
        "windows": asdict(found.windows),
        "recovery_seconds": _rounded(found.recovery),
        "faults": list(found.faults),
    }


def _numbers(ran: Ran, found: Found, phase: Phase) -> dict[str, float]:
    """A phase's column: rates a second, latencies in seconds, memory in MB, lag in records."""
    seconds = phase.end - phase.begin
    looked = found.seen[phase.name]
    lags = [sample.lag["featurizer"] for sample in ran.samples if phase.holds(sample.at)]
    return {
        "cameras": ran.cameras[phase.name],
        "frames/s": looked.frames / seconds,
        "vectors/s": looked.answers["vector"] / seconds,
        "shed/s": looked.answers["shed"] / seconds,
        **{
            f"{name} p{share}": _quantile(values, share / 100)
            for name, values in (("prediction", looked.predictions), ("alert", looked.alerts))
            for share in (50, 99, 100)
        },
        "alerts": len(looked.alerts),
        "featurizer's lag": max(lags, default=0),
        **{f"{name} MB": peak(ran.samples, phase, name) for name in SERVICES},
    }


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else float("nan")


def _rounded(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(value, 3)
