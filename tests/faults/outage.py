"""A broker that is away for minutes: who waits, who drops, and how much memory that takes.

python -m tests.faults.outage --seconds 120
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alerting.incidents import Rules as IncidentRules
from alerting.settings import AlertingSettings
from shared.bus import Output, Record
from shared.cameras import Camera
from shared.codec import decode
from shared.messages import EndOfStream, Frame, Prediction
from tests.faults.chaos import Flow
from tests.faults.checker import Rules, read_logs
from tests.faults.plan import SERVICES
from tests.faults.stand import Stand
from tests.faults.verdict import Verdict, judge
from tests.support.broker import CannotStart
from tests.support.lively_bundle import write_lively_bundle

FPS = 5.0
BUFFER_MIB = 4
"""`kafka.buffer_bytes` of each process: two minutes of these cameras are ten times that."""
GROWTH_MIB = 32.0
"""No process may grow by more: the buffer, the batches in hand, what Python allocates meanwhile."""
_SECONDS = 90.0  # more than anything but the outage takes


@dataclass
class Found:
    """What happened."""

    verdict: Verdict
    ended: list[str]
    memory: dict[str, dict[str, float]]
    dropped: dict[str, int]
    frame_mib: float
    back_seconds: float

    @property
    def growth(self) -> float:
        """Of the process that grew most, in MiB."""
        return max(seen["during"] - seen["before"] for seen in self.memory.values())

    @property
    def good(self) -> bool:
        """Nothing lost, nobody died, nobody grew."""
        return self.verdict.good and not self.ended and self.growth <= GROWTH_MIB


@dataclass
class Outage:
    """Four live cameras with real pictures and a recording, one process of each service."""

    folder: Path
    memory: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        drawn = f"synthetic://street?width=320&height=180&events=random&fps={FPS:g}"
        scenes = [f"{drawn}&detail=tiny&noise=12&seed={n}" for n in range(4)]
        self.live = [Camera(id=f"live-{n}", source=s, fps=FPS) for n, s in enumerate(scenes)]
        self.recording = Camera(id="recording", source=f"{scenes[0]}&seconds=200", fps=FPS)
        bundle = write_lively_bundle(self.folder / "bundle", scenes[:2], fps=FPS)
        self.stand = Stand(self.folder, bundle, "outage", {
            "CITYWATCH_KAFKA_PARTITIONS": "8",
            "CITYWATCH_KAFKA_SESSION_TIMEOUT_SECONDS": "6",
            "CITYWATCH_KAFKA_BUFFER_BYTES": str(BUFFER_MIB << 20),
            "CITYWATCH_FEATURIZER_MAX_FRAME_AGE_SECONDS": "inf",
            "CITYWATCH_FEATURIZER_THREADS": "1",
        })  # fmt: skip

    def run(self, seconds: float) -> Found:
        """Kafka is killed, and started again after so many seconds."""
        stand = self.stand
        stand.start()
        stand.run(dict.fromkeys(SERVICES, 1))
        stand.send(Output(stand.topics.cameras, c.id, c.to_json()) for c in self.live)
        predictions = stand.topics.predictions(stand.lane)
        flow = Flow(stand.bus.consumer(None, [predictions], "beginning"))
        self._until(flow, 0)
        _say("every camera has predictions")
        self._watch("before", 5, flow)
        stand.send([Output(stand.topics.cameras, "recording", self.recording.to_json())])
        self._watch("before", 2, flow)
        _say(f"the broker is killed and stays away for {seconds:g} s")
        stand.kafka.kill()
        self._watch("during", seconds, flow)
        stand.kafka.start(wait=False)
        stand.kafka.wait_ready()
        back = time.time()
        _say("it is back")
        self._until(flow, back)
        came_back = time.time() - back
        _say(f"every camera has predictions of new pictures after {came_back:.1f} s")
        self._watch("after", 5, flow)
        self._played()
        stand.send(Output(stand.topics.cameras, c.id, None) for c in (*self.live, self.recording))
        self._drained()
        ended = list(stand.services.unexpected)
        stand.services.end(60)
        shape = stand.bundle.description.classifier
        rules = Rules(stand.lane, FPS, shape.window, shape.stride, shape.max_gap, regular=False)
        logs = read_logs(stand.bus, stand.topics, stand.lane)
        incidents = IncidentRules.of(stand.bundle.description, AlertingSettings())
        verdict = judge(logs, rules, incidents, [back])
        size = sum(len(record.value or b"") for record in logs.frames) / (1 << 20)
        return Found(verdict, ended, self.memory, _dropped(logs.frames), size, came_back)

    def _watch(self, phase: str, seconds: float, flow: Flow) -> None:
        """The largest memory of each process in this phase, in MiB."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.stand.services.tend()
            for replica in self.stand.services.all:
                seen = self.memory.setdefault(replica.service, {})
                assert replica.process is not None
                seen[phase] = max(seen.get(phase, 0.0), _resident(replica.process.pid))
            flow.follow(0.5)

    def _until(self, flow: Flow, moment: float) -> None:
        deadline = time.monotonic() + _SECONDS
        while not flow.reaches(len(self.live), moment):
            assert time.monotonic() < deadline, "the cameras do not come back"
            self.stand.services.tend()
            flow.follow(0.2)

    def _played(self) -> None:
        """Until the recording has come to its end in the predictions."""
        topic = self.stand.topics.predictions(self.stand.lane)
        reader = self.stand.bus.consumer(None, [topic], "beginning")
        deadline = time.monotonic() + _SECONDS
        while True:
            assert time.monotonic() < deadline, "the recording is not played to its end"
            for record in reader.poll(1000, 0.5):
                message = decode(record.value, Prediction, EndOfStream)
                if message.camera_id == "recording" and isinstance(message, EndOfStream):
                    assert message.reason == "end"
                    return

    def _drained(self) -> None:
        deadline = time.monotonic() + _SECONDS
        while self.stand.lag():
            assert time.monotonic() < deadline, "it is not worked off"
            time.sleep(0.5)


def _resident(pid: int) -> float:
    """MiB; 0 for a process that has just ended."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0.0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20) if fields else 0.0


def _dropped(frames: Sequence[Record]) -> dict[str, int]:
    """Frames that never reached Kafka, as their followers say, by reason."""
    counts: Counter[str] = Counter()
    for record in frames:
        counts.update(decode(record.value, Frame, EndOfStream).dropped_before)
    return dict(counts)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: nothing lost, nobody died, memory bounded; 1: not so; 2: no broker can be started."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.outage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long Kafka is away (120)")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="citywatch-outage-"))
    outage = Outage(folder)
    try:
        found = outage.run(options.seconds)
    except CannotStart as error:
        _say(f"outage: {error}")
        return 2
    finally:
        outage.stand.close()
    print(f"{'resident, MiB':14} {'before':>7} {'during':>7} {'after':>7}")
    for service, seen in found.memory.items():
        values = " ".join(f"{seen[phase]:7.0f}" for phase in ("before", "during", "after"))
        print(f"{service:14} {values}")
    for line in [*found.ended, *found.verdict.broken[:20]]:
        print(line)
    verdict = found.verdict
    print(json.dumps({
        "seconds": options.seconds, "expected": verdict.expected, "missing": verdict.missing,
        "incidents_expected": verdict.incidents_expected, "incidents_lost": verdict.incidents_lost,
        "incidents_repeated": verdict.incidents_repeated, "dropped": found.dropped,
        "frames_mib": round(found.frame_mib, 1), "growth_mib": round(found.growth, 1),
        "ended": len(found.ended), "back_seconds": round(found.back_seconds, 1),
    }))  # fmt: skip
    if found.good:
        shutil.rmtree(folder)
    else:
        _say(f"logs are kept in {folder}")
    return 0 if found.good else 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
