"""Real captures in their own processes: good, broken, hung, killed and restarted sources."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from ingest.outbox import Outbox
from ingest.settings import IngestSettings
from ingest.stage import IngestWorker
from ingest.supervisor import CameraStatus, Supervisor, Surroundings
from shared.bus import Output
from shared.bus_memory import MemoryBus
from shared.cameras import Camera
from shared.codec import decode
from shared.jpeg import jpeg_size
from shared.messages import EndOfStream, Frame
from shared.topics import Topics
from tests.support.rtsp import RtspServer
from tests.support.videos import write_video

TOPICS = Topics("test")


class Site:
    """An ingest worker in a thread, its cameras, and everything that came from them."""

    def __init__(self, settings: IngestSettings) -> None:
        self.bus = MemoryBus(partitions=8, capacity=1000)
        self.stop = threading.Event()
        self.worker = IngestWorker(self.bus, TOPICS, settings, self.stop)
        self._view = self.bus.consumer("view", [TOPICS.frames])
        self._thread = threading.Thread(target=self.worker.run)
        self.frames: defaultdict[str, list[Frame]] = defaultdict(list)
        self.ends: defaultdict[str, list[EndOfStream]] = defaultdict(list)
        self._thread.start()

    def add(self, *cameras: Camera) -> None:
        producer = self.bus.producer()
        for camera in cameras:
            producer.send(Output(TOPICS.cameras, camera.id, camera.to_json()))
        wanted = {camera.id for camera in cameras}
        self.until(lambda: wanted <= {status.id for status in self.worker.statuses()})

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "\n".join(map(str, self.worker.statuses()))
            self.read()

    def read(self) -> None:
        for record in self._view.poll(1000, 0.1):
            message = decode(record.value, Frame, EndOfStream)
            if isinstance(message, Frame):
                self.frames[message.camera_id].append(message)
            else:
                self.ends[message.camera_id].append(message)

    def status(self, name: str) -> CameraStatus:
        return next(s for s in self.worker.statuses() if s.id == name)

    def close(self) -> None:
        self.stop.set()
        self._thread.join(30)
        self.read()
        self.bus.close()
        assert not self._thread.is_alive()


@contextmanager
def site(**settings: object) -> Iterator[Site]:
    quick = {"retry_seconds": 0.2, "max_retry_seconds": 0.5, "read_timeout_seconds": 2}
    place = Site(IngestSettings.model_validate(quick | settings))
    try:
        yield place
    finally:
        place.close()


def children() -> list[int]:
    """Process ids of the capture processes: what our nursery has forked."""
    listing = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(maxsplit=2) for line in listing.splitlines()]
    born = [(int(pid), int(parent)) for pid, parent, name in rows if "ingest.nursery" in name]
    nurseries = {pid for pid, parent in born if parent == os.getpid()}
    return [pid for pid, parent in born if parent in nurseries]


def whole(place: Site, name: str, count: int) -> None:
    """A recording came to its end, every index once and in order."""
    assert [frame.index for frame in place.frames[name]] == list(range(count))
    (end,) = place.ends[name]
    assert (end.reason, end.index, end.session) == ("end", count, "file-0-0")


@pytest.mark.timeout(180)
def test_eight_cameras_and_two_of_them_in_trouble(tmp_path: Path) -> None:
    """The broken are reported, the RTSP camera resumes by itself, the others are untouched."""
    sizes = {"a": (192, 108), "b": (320, 240), "c": (108, 192), "d": (720, 576), "e": (1280, 720)}
    rates = {"a": 15.0, "b": 10.0, "c": 25.0, "d": 12.5, "e": 30.0}
    cameras = [
        Camera(
            id=name, fps=rates[name],
            source=str(write_video(tmp_path / f"{name}.mp4", 4, rates[name], size)),
        )
        for name, size in sizes.items()
    ]  # fmt: skip
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x20ftypisom" + os.urandom(5000))
    loop = write_video(tmp_path / "loop.mp4", 1, 15.0)
    with RtspServer() as server, site() as place:
        place.add(
            *cameras,
            Camera(id="broken", source=str(broken)),
            Camera(id="loop", source=str(loop), loop=True),
            Camera(id="rtsp", source=f"rtsp://{server.address}"),
        )
        place.until(lambda: len(place.frames["rtsp"]) > 5)
        server.kill()
        place.until(lambda: place.status("rtsp").state == "down")
        error = place.status("rtsp").error
        assert error
        assert server.address in error
        looped = len(place.frames["loop"])
        server.start()
        first = place.frames["rtsp"][0].session
        place.until(lambda: place.frames["rtsp"][-1].session != first)
        place.until(lambda: place.status("rtsp").state == "up")
        place.until(lambda: len(place.ends) >= 7)
        for name, size in sizes.items():
            whole(place, name, round(4 * rates[name]))
            frame = place.frames[name][0]
            assert max(frame.width, frame.height) == min(max(size), 640)
            assert jpeg_size(frame.data) == (frame.height, frame.width)
        failed = place.status("broken")
        assert failed.state == "failed"
        assert failed.error
        assert "not a video that can be decoded" in failed.error
        assert place.ends["broken"][0].reason == "lost"
        assert place.status("rtsp").reconnects >= 1
        assert place.ends["rtsp"][0].reason == "lost"
        assert len(place.frames["loop"]) > looped
        assert place.status("loop").dropped == 0
        assert len({frame.session for frame in place.frames["loop"]}) == 1
        indices = [frame.index for frame in place.frames["loop"]]
        assert Counter(b - a for a, b in pairwise(indices)).keys() <= {1, 2}
    assert place.ends["rtsp"][-1].reason == "stopped"
    assert place.ends["loop"][-1].reason == "stopped"
    assert children() == []


def test_live_frames_lie_in_their_slots() -> None:
    """A camera whose rate is the sampled one gives a frame in nearly every slot."""
    with RtspServer() as server, site() as place:
        place.add(Camera(id="rtsp", source=f"rtsp://{server.address}"))
        place.until(lambda: len(place.frames["rtsp"]) > 60)
    frames = place.frames["rtsp"]
    assert all(frame.live for frame in frames)
    assert frames[-1].index - frames[0].index < 1.1 * len(frames)
    assert abs(frames[-1].captured_at / 1e9 - time.time()) < 60


def test_a_hung_camera_is_killed_and_hangs_nobody_else(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 3, 15.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/camera"
        with site(open_timeout_seconds=1) as place:
            place.add(Camera(id="hung", source=address), Camera(id="good", source=str(video)))
            place.until(lambda: bool(place.ends["good"]))
            whole(place, "good", 45)
            place.until(lambda: place.status("hung").reconnects >= 1)
            assert place.status("hung").state == "down"
            assert place.status("hung").error


def test_a_capture_process_that_stops_is_noticed_by_the_watchdog(tmp_path: Path) -> None:
    """Not even the decoder's own time-outs work in a stopped process."""
    video = write_video(tmp_path / "a.mp4", 2, 15.0)
    with RtspServer() as server, site(read_timeout_seconds=1) as place:
        place.add(Camera(id="rtsp", source=f"rtsp://{server.address}"))
        place.until(lambda: place.status("rtsp").state == "up")
        (child,) = children()
        os.kill(child, signal.SIGSTOP)
        place.until(lambda: place.status("rtsp").state == "down")
        assert "no answer" in (place.status("rtsp").error or "")
        place.add(Camera(id="good", source=str(video)))
        place.until(lambda: place.status("rtsp").state == "up")
        place.until(lambda: bool(place.ends["good"]))
        assert child not in children()


def test_a_capture_process_that_dies_harms_only_its_camera(tmp_path: Path) -> None:
    loop = write_video(tmp_path / "loop.mp4", 1, 15.0)
    with RtspServer() as server, site() as place:
        place.add(Camera(id="rtsp", source=f"rtsp://{server.address}"))
        place.until(lambda: place.status("rtsp").state == "up")
        (child,) = children()
        place.add(Camera(id="loop", source=str(loop), loop=True))
        place.until(lambda: place.status("loop").state == "up")
        os.kill(child, signal.SIGKILL)
        place.until(lambda: bool(place.ends["rtsp"]))
        assert place.ends["rtsp"][0].reason == "lost"
        place.until(lambda: place.status("rtsp").state == "up")
        assert place.status("rtsp").reconnects >= 1
        assert place.status("loop").reconnects == 0
        assert not place.ends["loop"]


def test_who_reads_the_end_of_a_session_knows_the_trouble(tmp_path: Path) -> None:
    """Closing a session may have to wait for room, and meanwhile its camera is not up."""
    states = []

    class Witness(Outbox):
        def offer(self, output: Output) -> bool:
            message = decode(output.value, Frame, EndOfStream)
            if isinstance(message, EndOfStream):
                states.append((supervisor.status().state, message.reason))
            return super().offer(output)

    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x20ftypisom" + os.urandom(5000))
    surroundings = Surroundings(Witness(MemoryBus()), TOPICS.frames, IngestSettings(), lambda: 0)
    supervisor = Supervisor(Camera(id="broken", source=str(broken)), surroundings)
    supervisor.start()
    assert supervisor.join(60)
    assert states == [("failed", "lost")]


def test_no_capture_process_outlives_its_parent(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 1, 15.0)
    script = f"""
import threading
from ingest.settings import IngestSettings
from ingest.stage import IngestWorker
from shared.bus import Output
from shared.bus_memory import MemoryBus
from shared.cameras import Camera
from shared.topics import Topics
bus, topics = MemoryBus(), Topics()
camera = Camera(id="loop", source={str(video)!r}, loop=True)
bus.producer().send(Output(topics.cameras, "loop", camera.to_json()))
worker = IngestWorker(bus, topics, IngestSettings(), threading.Event())
while not any(s.state == "up" for s in worker.statuses()):
    worker.turn()
print(worker._fleet._running["loop"]._child._process.pid, flush=True)
threading.Event().wait()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert parent.stdout
    with parent, parent.stdout:
        child = int(parent.stdout.readline())
        descriptor = os.pidfd_open(child)
        parent.kill()
    ended, _, _ = select.select([descriptor], [], [], 20)
    os.close(descriptor)
    assert ended


def test_credentials_are_nowhere_to_be_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "good").write_text("bob:hunter2\n")
    (secrets / "wrong").write_text("bob:hunter3\n")
    caplog.set_level(logging.DEBUG)
    with RtspServer("bob:hunter2") as server, site(secrets_folder=str(secrets)) as place:
        source = f"rtsp://{{secret}}@{server.address}"
        place.add(Camera(id="good", source=source, secret="good"))
        place.until(lambda: place.status("good").state == "up")
        place.add(Camera(id="wrong", source=source, secret="wrong"))
        place.add(Camera(id="bare", source=f"rtsp://bob:hunter4@{server.address}"))
        for name in ("wrong", "bare"):
            place.until(lambda name=name: place.status(name).state == "down")  # type: ignore[misc]
            assert "401" in (place.status(name).error or "")
        processes = subprocess.run(
            ["ps", "-eo", "args"], capture_output=True, text=True, check=True
        ).stdout
        said = "".join(map(str, place.worker.statuses()))
    printed = capfd.readouterr()
    said += caplog.text + printed.out + printed.err + processes
    for secret in ("hunter2", "hunter3", "hunter4"):
        assert secret not in said
    assert "ingest.nursery" in processes
