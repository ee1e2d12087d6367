"""A run under load as it goes: so many cameras, and what the services say of themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.bus import Output
from shared.cameras import Camera
from tests.faults.plan import SERVICES
from tests.faults.stand import Stand


@dataclass(frozen=True)
class Phase:
    """A stretch of the run, in seconds since the epoch."""

    name: str
    begin: float
    end: float

    def holds(self, moment: float) -> bool:
        """Whether it is in it."""
        return self.begin <= moment < self.end


@dataclass(frozen=True)
class Sample:
    """What the services say of themselves at a moment, seconds since the epoch.

    `lag` and `megabytes` (resident) are by service, `features` the featurizer's records by kind,
    `frames` and `dropped` ingest's, `predictions` the classifier's.
    """

    at: float
    lag: dict[str, float]
    megabytes: dict[str, float]
    features: dict[str, float]
    frames: float
    dropped: float
    predictions: float


class Course:
    """Changes the number of cameras, and samples every so many seconds."""

    def __init__(self, stand: Stand, camera: Callable[[int], Camera], every: float = 1.0) -> None:
        self.samples: list[Sample] = []
        self._stand = stand
        self._camera = camera
        self._every = every
        self._cameras = 0

    def cameras(self, number: int) -> None:
        """So many run from now on."""
        changed = range(min(number, self._cameras), max(number, self._cameras))
        topic = self._stand.topics.cameras
        self._stand.send(
            Output(topic, camera.id, camera.to_json() if n < number else None)
            for n, camera in ((n, self._camera(n)) for n in changed)
        )
        self._cameras = number

    def follow(
        self, seconds: float, until: Callable[[Sample], bool | None] = lambda sample: False
    ) -> bool:
        """Look again and again for so long, or `until` is true; whether it was."""
        begun = time.monotonic()
        for tick in range(1, round(seconds / self._every) + 1):
            time.sleep(max(begun + tick * self._every - time.monotonic(), 0))
            self.samples.append(self._sample())
            self._stand.services.tend()
            if until(self.samples[-1]):
                return True
        return False

    def phase(self, name: str, seconds: float) -> Phase:
        """Follow for so long."""
        begun = time.time()
        self.follow(seconds)
        return Phase(name, begun, time.time())

    def rate(self, count: Callable[[Sample], float], seconds: float) -> float:
        """How fast it grows, a second, over the last so many seconds."""
        last = self.samples[-1]
        first = next(s for s in self.samples if s.at >= last.at - seconds)
        return (count(last) - count(first)) / max(last.at - first.at, 1e-3)

    def _sample(self) -> Sample:
        told = {service: self._stand.metrics(service) for service in SERVICES}
        kinds = {
            name.partition("{")[2][:-1]: value
            for name, value in told["featurizer"].items()
            if name.startswith("citywatch_features_total{")
        }
        return Sample(
            time.time(),
            {name: some.get("citywatch_lag_records", 0) for name, some in told.items()},
            {
                name: some.get("process_resident_memory_bytes", 0) / 1e6
                for name, some in told.items()
            },
            kinds,
            told["ingest"].get("citywatch_frames_total", 0),
            told["ingest"].get("citywatch_frames_dropped_total", 0),
            told["classifier"].get("citywatch_predictions_total", 0),
        )


def peak(samples: Sequence[Sample], phase: Phase, service: str) -> float:
    """Most resident memory of a service in a phase, MB."""
    return max((s.megabytes[service] for s in samples if phase.holds(s.at)), default=0.0)


def vectors(sample: Sample) -> float:
    """Frames that went through the network."""
    return sample.features.get("vector", 0)
