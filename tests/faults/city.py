"""A small city under test: a broker and a Redis of its own, the four services, drawn cameras."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from shared.bus import Output
from shared.cameras import Camera
from tests.faults.plan import SERVICES, Fault
from tests.faults.stand import Stand
from tests.support.broker import Process
from tests.support.lively_bundle import write_lively_bundle
from tests.support.videos import write_video

FPS = 5.0
PREFIX = "chaos"
_LOSABLE_SECONDS = 1.0  # what Redis may forget; alerting's durability window is twice that


@dataclass
class Later:
    """Something to be done `at` that time of time.monotonic()."""

    at: float
    what: Callable[[], None]


class City(Stand):
    """Everything that runs, and what is done to it."""

    def __init__(
        self, folder: Path, seed: int, *, replicas: int, cameras: int, broken: Collection[str] = ()
    ) -> None:
        self._random = Random(seed)
        self.cameras = _cameras(folder, seed, cameras)
        scenes = [c.source for c in self.cameras if c.source.startswith("synthetic://")][:4]
        bundle = write_lively_bundle(
            folder / "bundle", [scene.partition("&seconds=")[0] for scene in scenes], fps=FPS
        )
        settings = {
            "CITYWATCH_KAFKA_PARTITIONS": "8",
            "CITYWATCH_KAFKA_SESSION_TIMEOUT_SECONDS": "6",
            "CITYWATCH_FEATURIZER_MAX_FRAME_AGE_SECONDS": "inf",  # nothing is shed
            "CITYWATCH_FEATURIZER_THREADS": "1",
        }
        super().__init__(folder, bundle, PREFIX, settings)
        self._replicas = replicas
        self._broken = broken
        self._later: list[Later] = []

    def start(self) -> None:
        """Servers, services, cameras."""
        super().start()
        self.run(dict.fromkeys(SERVICES, self._replicas), self._broken)
        self.send(Output(self.topics.cameras, c.id, c.to_json()) for c in self.cameras)

    # --- what goes wrong --------------------------------------------------------------------------

    def suffer(self, fault: Fault) -> None:
        """Let it happen; what belongs to it later is done by `tend`."""
        if fault.target in SERVICES:
            self._strike(fault)
        elif fault.target == "kafka":
            self._take_down(self.kafka, fault)
        else:
            self._take_down(self.redis, fault)

    def _strike(self, fault: Fault) -> None:
        replica = self.services.find(fault.target, fault.replica)
        if fault.action == "KILL":
            self.services.kill(replica)
        elif fault.action == "TERM":
            self.services.terminate(replica)
        else:
            self.services.stop(replica)
            self._after(fault.seconds, lambda: self.services.go_on(replica))

    def _take_down(self, server: Process, fault: Fault) -> None:
        if not server.alive():
            return  # it is down already
        if fault.action == "STOP":
            server.freeze()
            self._after(fault.seconds, server.thaw)
            return
        if fault.action == "ROLL BACK":
            self._roll_back()
            return
        server.thaw()
        if fault.action == "TERM":
            server.stop()
        else:
            server.kill()
        self._after(fault.seconds, lambda: _up(server))

    def _roll_back(self) -> None:
        """Redis comes back without its last second, as after a power cut."""
        kept, live = self.folder / "kept", self.redis.folder / "appendonlydir"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(live, kept)

        def restore() -> None:
            self.redis.thaw()
            self.redis.kill()
            shutil.rmtree(live)
            shutil.copytree(kept, live)
            _up(self.redis)

        self._after(_LOSABLE_SECONDS, restore)

    def poison(self) -> None:
        """One record that nobody can read into each topic that a service reads."""
        topics = (self.topics.cameras, self.topics.frames, self.topics.features(self.lane),
                  self.topics.predictions(self.lane))  # fmt: skip
        bytes_of = self._random.randbytes
        # 0xc1 is the one byte that msgpack never uses.
        self.send(
            Output(topic, self._random.choice(self.cameras).id, b"\xc1" + bytes_of(20))
            for topic in topics
        )

    def tend(self) -> None:
        """Restart what died and do what is due."""
        due = [later for later in self._later if later.at <= time.monotonic()]
        self._later = [later for later in self._later if later not in due]
        for later in due:
            later.what()
        self.services.tend()

    def heal(self) -> None:
        """Everything that is still to come, now."""
        for later in self._later:
            later.what()
        self._later.clear()
        for server in (self.kafka, self.redis):
            server.thaw()
            _up(server)
            server.wait_ready()

    @property
    def reachable(self) -> bool:
        """Whether the broker is up and not stopped."""
        return self.kafka.alive() and self.kafka.answers()

    # --- the end ----------------------------------------------------------------------------------

    def stop_cameras(self) -> None:
        """Remove every camera: ingest closes the sessions."""
        self.send(Output(self.topics.cameras, camera.id, None) for camera in self.cameras)

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        self._later.append(Later(time.monotonic() + seconds, what))


def _up(server: Process) -> None:
    if not server.alive():
        server.start(wait=False)


def _cameras(folder: Path, seed: int, count: int) -> Sequence[Camera]:
    """Drawn live cameras, one of them at twice the lane's rate, a looping file, a recording."""
    drawn = "synthetic://street?detail=tiny&width=64&height=48&noise=0&events=random"
    scenes = [f"{drawn}&fps={FPS:g}&seed={seed * 100 + n}" for n in range(count)]
    loop = write_video(folder / "loop.mp4", seconds=8, fps=FPS, size=(64, 48))
    return [
        *(Camera(id=f"drawn-{n}", source=scene, fps=FPS) for n, scene in enumerate(scenes)),
        Camera(id="drawn-fast", source=f"{drawn}&fps={2 * FPS:g}&seed={seed}", fps=2 * FPS),
        Camera(id="loop", source=str(loop), fps=FPS, loop=True),
        Camera(id="recording", source=f"{scenes[0]}&seconds=40", fps=FPS),
    ]
