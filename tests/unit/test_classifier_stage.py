"""The classifier's stage on features made by hand, and both stages behind real workers."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from classifier.inference import open_classifier
from classifier.settings import ClassifierSettings
from classifier.stage import ClassifierStage, FeaturesDecoder, build_worker
from shared import metrics
from shared.bus import Partition, Received, Record
from shared.bus_memory import MemoryBus
from shared.codec import decode, encode
from shared.errors import Fatal, InvalidMessage, InvalidSettings
from shared.messages import EndOfStream, Features, FrameReference, Motion, Prediction
from shared.settings import Configuration
from shared.topics import Topics
from tests.support.bundles import write_bundle
from training import drift

STEP = 66_666_667
MILLISECOND = 1_000_000
START = 1_700_000_000 * 1_000_000_000
FILE = "file-0-0"
TOPICS = Topics("t")
P0, P1 = Partition("t.lane.features", 0), Partition("t.lane.features", 1)
Windows = npt.NDArray[np.float16]


class Sums:
    """A network that anyone can follow: P(fighting) is the window's mean, all steps count."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, windows: Windows) -> tuple[Any, Any]:
        self.batches.append(len(windows))
        share = windows[:, :, 0].astype(np.float32).mean(1)
        attention = np.full(windows.shape[:2], 1 / windows.shape[1], np.float32)
        return np.stack([share, 1 - share], 1), attention


class World:
    """A stage with windows of 6 steps, stride 3, at most 2 steps filled."""

    def __init__(self, folder: Path) -> None:
        self.bundle = write_bundle(folder, window=6, stride=3, max_gap=2)
        self.network = Sums()
        self.stage = ClassifierStage(self.bundle, "lane", TOPICS, self.network, 60.0)
        self.decoder = FeaturesDecoder(self.bundle, "lane")
        self.log: list[Record] = []

    def put(
        self, message: Features | EndOfStream, partition: Partition = P0, at: int | None = None
    ) -> Record:
        time = message.captured_at if isinstance(message, Features) else message.ended_at
        offset = sum(record.partition == partition for record in self.log)
        stamp = (time if at is None else at) // MILLISECOND
        record = Record(partition, offset, message.camera_id, encode(message), (), stamp)
        self.log.append(record)
        return record

    def run(self, records: Sequence[Record]) -> list[Any]:
        outputs = self.stage.process([Received(r, self.decoder(r)) for r in records])
        assert all(output.topic == "t.lane.predictions" for output in outputs)
        return [decode(output.value, Prediction, EndOfStream) for output in outputs]

    def send(self, *messages: Features | EndOfStream) -> list[Any]:
        return self.run([self.put(message) for message in messages])

    def step(self, step: int, value: float | None = 0.5, **more: Any) -> Features:
        """Features of a 15 fps file; `value=None`: missing."""
        vector = None if value is None else np.full(1280, value, np.float16)
        values: dict[str, Any] = {
            "lane": "lane", "camera_id": "a", "session": FILE, "index": step, "step": step,
            "captured_at": step * STEP, "fingerprint": self.bundle.backbone_fingerprint,
            "frame": FrameReference(0, 1000 + step), "vector": vector,
            "missing": "shed" if value is None else None,
        }  # fmt: skip
        return Features(**(values | more))

    def live(self, step: int, generation: int = 1, **more: Any) -> Features:
        session = f"live-{generation}-{START}"
        return self.step(step, session=session, captured_at=START + step * STEP, **more)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_window_becomes_a_prediction(world: World) -> None:
    motion = Motion(0.3, (0.0, 0.5, 0.5, 0.5))
    steps = [world.step(s, s / 8, motion=motion) for s in range(6)]
    (prediction,) = world.send(*steps)
    assert isinstance(prediction, Prediction)
    assert prediction.id == "lane:a:file-0-0:5"
    assert (prediction.first_index, prediction.last_index, prediction.gaps) == (0, 5, 0)
    assert (prediction.started_at, prediction.ended_at) == (0, 5 * STEP)
    assert prediction.probabilities == pytest.approx({"fighting": 0.3125, "normal": 0.6875})
    assert prediction.score == pytest.approx(0.3125)
    assert prediction.attention == pytest.approx([1 / 6] * 6)
    assert prediction.frames == (FrameReference(0, 1000), FrameReference(0, 1005))
    assert prediction.fingerprint == world.bundle.fingerprint
    assert prediction.motion.energy == pytest.approx(0.3)
    assert metrics.score.labels("lane", "a")._value.get() == pytest.approx(0.3125)


def test_windows_of_all_cameras_go_through_the_network_together(world: World) -> None:
    results = world.send(
        *(world.step(s, 0.1 * i, camera_id=c) for s in range(9) for i, c in enumerate("abc"))
    )
    assert world.network.batches == [6]
    assert [(p.camera_id, p.last_index) for p in results] == [
        (c, e) for e in (5, 8) for c in "abc"
    ]  # fmt: skip
    assert [p.score for p in results[:3]] == pytest.approx([0, 0.1, 0.2], abs=1e-3)


def test_nothing_in_nothing_out(world: World) -> None:
    assert world.stage.process([]) == []
    assert world.network.batches == []


def test_gaps_are_counted(world: World) -> None:
    messages = [world.step(s, None if s in (2, 3) else 0.5) for s in range(6)]
    (prediction,) = world.send(*messages)
    assert prediction.gaps == 2


def test_steps_without_any_record_take_their_place_in_time(world: World) -> None:
    messages = [world.step(s) for s in range(8) if s not in (5,)]
    (prediction,) = world.send(*messages)
    assert (prediction.last_index, prediction.ended_at, prediction.gaps) == (5, 5 * STEP, 1)
    assert prediction.frames[1] == FrameReference(0, 1004)


def test_a_number_just_above_one_is_still_a_probability(world: World) -> None:
    def over(windows: Windows) -> tuple[Any, Any]:
        attention = np.zeros(windows.shape[:2], np.float32)
        attention[:, 0] = 1.0000001
        return np.array([[0, 1.0000001]] * len(windows), np.float32), attention

    world.stage._classify = over
    (prediction,) = world.send(*(world.step(s) for s in range(6)))
    assert prediction.score == 0 and prediction.attention[0] == 1


def test_end_of_stream_passes_and_ends_the_window(world: World) -> None:
    end = EndOfStream("a", FILE, 5, 5 * STEP, "end")
    results = world.send(*(world.step(s) for s in range(5)), end, *map(world.step, range(5, 9)))
    assert results == [end]  # 5..8 are too few for another window
    assert dict(world.stage.oldest_needed()) == {P0: 7}


def test_the_score_of_a_camera_that_ended_is_not_shown(world: World) -> None:
    world.send(*(world.step(s, camera_id="gone") for s in range(6)))
    assert 'citywatch_score{camera="gone",lane="lane"}' in exposition()
    world.send(EndOfStream("gone", FILE, 6, 6 * STEP, "end"))
    assert 'camera="gone"' not in exposition()


def test_nor_if_it_ended_in_the_batch_of_its_last_window(world: World) -> None:
    end = EndOfStream("gone", FILE, 6, 6 * STEP, "end")
    world.send(*(world.step(s, camera_id="gone") for s in range(6)), end)
    assert 'camera="gone"' not in exposition()


def test_a_camera_whose_partition_moved_is_another_workers_to_show(world: World) -> None:
    world.send(*(world.step(s, camera_id="moved") for s in range(6)))
    world.run([world.put(world.step(s, camera_id="stays"), P1) for s in range(6)])
    world.stage.forget({P0})
    assert 'camera="moved"' not in exposition() and 'camera="stays"' in exposition()


def test_a_camera_that_shows_something_else_is_seen_to_be_far(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    usual = random.uniform(0.4, 0.6, (200, 1280)).astype(np.float32)
    folder = write_bundle(tmp_path, window=6, stride=3, max_gap=2).folder
    drift.write(folder, drift.describe(usual, np.arange(200) // 10))
    world = World(tmp_path)

    def watched(camera_id: str, vectors: Sequence[npt.NDArray[np.float32]]) -> float:
        given = np.array(vectors, np.float16)
        given[:, 0] = 0.5  # what Sums looks at stays a probability
        world.send(*(world.step(s, camera_id=camera_id, vector=v) for s, v in enumerate(given)))
        return float(metrics.domain_distance.labels("lane", camera_id)._value.get())

    def like_training(count: int) -> list[npt.NDArray[np.float32]]:
        return list(random.uniform(0.4, 0.6, (count, 1280)).astype(np.float32))

    assert 0 < watched("usual", like_training(30)) < 1
    assert watched("inverted", [1.5 - vector for vector in like_training(30)]) > 3
    noise = random.uniform(0, 2, (30, 1280)).astype(np.float32)
    assert watched("noise", list(noise)) > 3
    # it moves with the camera, slowly: 10 s of other content after 10 s of the usual
    mixed = watched("mixed", [*like_training(150), *noise.repeat(5, 0)])
    assert 1 < mixed < watched("noise", list(noise))
    world.send(EndOfStream("noise", FILE, 60, 60 * STEP, "end"))
    assert 'citywatch_domain_distance{camera="noise"' not in exposition()
    assert 'citywatch_domain_distance{camera="mixed"' in exposition()


def test_without_statistics_no_distance_is_shown_and_scores_are_counted(world: World) -> None:
    counted = metrics.label_score.labels("lane", "fighting")._sum.get()
    world.send(*(world.step(s, 0.25, camera_id="plain") for s in range(6)))
    assert metrics.label_score.labels("lane", "fighting")._sum.get() == pytest.approx(
        counted + 0.25
    )
    assert 'citywatch_domain_distance{camera="plain"' not in exposition()


def exposition() -> str:
    from prometheus_client import generate_latest

    return generate_latest(metrics.registry).decode()


# --- refusals ------------------------------------------------------------------------------------


def test_features_of_another_backbone_are_fatal(world: World) -> None:
    with pytest.raises(Fatal) as caught:
        world.send(world.step(0, fingerprint="deadbeef"))
    assert "deadbeef" in str(caught.value)
    assert world.bundle.backbone_fingerprint in str(caught.value)


def test_vectors_of_another_length_or_lane_are_refused(world: World) -> None:
    short = world.step(0, vector=np.zeros(640, np.float16))
    with pytest.raises(InvalidMessage, match="640 features, not 1280"):
        world.decoder(world.put(short))
    with pytest.raises(InvalidMessage, match="lane other"):
        world.decoder(world.put(world.step(0, lane="other")))


def test_a_time_out_shorter_than_a_gap_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path, max_gap=30)
    configuration = Configuration(
        overrides=[f"classifier.bundle={tmp_path}", "classifier.idle_timeout_seconds=2"],
        environment={},
    )
    with pytest.raises(InvalidSettings, match=r"must exceed 2\.00 s"):
        build_worker(MemoryBus(), configuration, threading.Event())


def test_default_settings_are_valid() -> None:
    assert Configuration(environment={}).get(ClassifierSettings).threads == 1


# --- sessions and pins ---------------------------------------------------------------------------


def test_pins_are_the_oldest_of_a_partition(world: World) -> None:
    records = [
        world.put(world.step(s, camera_id=c), p)
        for s in range(7)
        for c, p in (("a", P0), ("b", P0), ("c", P1))
    ]
    world.run(records)
    # the next window of each is 3..8: records 3 of "a" and "c"
    assert dict(world.stage.oldest_needed()) == {P0: 6, P1: 3}
    world.stage.forget({P0})
    assert dict(world.stage.oldest_needed()) == {P1: 3}


def test_a_newer_live_session_fences_the_older(world: World) -> None:
    old = [world.live(s, camera_id="x") for s in range(4)]
    new = [world.live(s, generation=2, camera_id="x") for s in range(6)]
    late = [world.live(s, camera_id="x") for s in range(4, 12)]
    (prediction,) = world.send(*old, *new, *late)
    assert prediction.session == f"live-2-{START}"
    assert dict(world.stage.oldest_needed()) == {P0: 4 + 3}


def test_files_neither_fence_nor_are_fenced(world: World) -> None:
    messages = [m for s in range(6) for m in (world.live(s, generation=2), world.step(s))]
    sessions = [p.session for p in world.send(*messages)]
    assert sessions == [f"live-2-{START}", FILE]


def test_a_silent_camera_lets_go_of_the_log(world: World) -> None:
    world.send(*(world.live(s) for s in range(6)))
    assert dict(world.stage.oldest_needed()) == {P0: 3}
    for seconds, pin in ((30, 3), (59, 3), (61, 8)):
        world.send(world.live(seconds * 15, camera_id="b"))
        assert dict(world.stage.oldest_needed()) == {P0: pin}


@pytest.mark.parametrize("crash", range(1, 30, 4))
def test_a_replay_from_the_commit_point_gives_the_same(tmp_path: Path, crash: int) -> None:
    """The same predictions to the byte, after what was already sent."""
    whole = World(tmp_path / "a")
    values = [None if s % 11 == 4 else (s % 7) / 7 for s in range(30)]
    expected = whole.send(*(whole.step(s, v) for s, v in enumerate(values)))
    before = World(tmp_path / "b")
    sent = before.run(whole.log[:crash])
    point = dict(before.stage.oldest_needed()).get(P0, crash)
    assert point >= crash - 8
    after = World(tmp_path / "c")
    replayed = after.run(whole.log[point:])
    ids = {p.id for p in sent}
    assert sent + [p for p in replayed if p.id not in ids] == expected
    assert all(p in expected for p in replayed)


def test_the_real_network_gives_probabilities(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.stage._classify = open_classifier(world.bundle)
    (prediction,) = world.send(*(world.step(s, s / 5) for s in range(6)))
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert sum(prediction.attention) == pytest.approx(1, abs=1e-5)
    assert prediction.score == pytest.approx(1 - prediction.probabilities["normal"])


# --- frames to predictions, workers and bus included ---------------------------------------------


def test_frames_become_predictions_through_both_workers(tmp_path: Path) -> None:
    import cv2

    from featurizer.stage import build_worker as build_featurizer
    from shared.bus import Output
    from shared.messages import Frame

    write_bundle(tmp_path, name="lane", kind="difference", window=6, stride=3)
    configuration = Configuration(
        overrides=[f"{s}.bundle={tmp_path}" for s in ("featurizer", "classifier")],
        environment={},
    )
    bus, stop = MemoryBus(), threading.Event()
    topics = Topics()
    bus.ensure_topics(topics.specs("lane"))
    workers = [build(bus, configuration, stop) for build in (build_featurizer, build_worker)]
    reader = bus.consumer("test", [topics.predictions("lane")], start="beginning")
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        rng = np.random.default_rng(0)
        producer = bus.producer()
        for i in range(16):
            noise = rng.integers(0, 255, (48, 64, 3), np.uint8)
            data = bytes(cv2.imencode(".jpg", noise)[1])
            frame = Frame("a", FILE, i, i * STEP, False, (), "jpeg", 48, 64, data)
            producer.send(Output(topics.frames, "a", encode(frame)))
        end = EndOfStream("a", FILE, 16, 16 * STEP, "end")
        producer.send(Output(topics.frames, "a", encode(end)))
        results: list[Any] = []
        while not results or not isinstance(results[-1], EndOfStream):
            records = reader.poll(10, 1.0)
            results += [decode(r.value, Prediction, EndOfStream) for r in records]
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
        bus.close()
    # Steps 0..3 have no picture 267 ms before; windows of 6 steps end at 11 and 14.
    assert [p.last_index for p in results[:-1]] == [11, 14]
    assert all(p.gaps == 0 and 0 <= p.score <= 1 for p in results[:-1])


def test_serving_on_openvino_does_not_import_torch(tmp_path: Path) -> None:
    """Importing torch takes seconds and 200 MB that this service does not need."""
    import subprocess
    import sys

    write_bundle(tmp_path)
    code = (
        "import sys, threading; from classifier.stage import build_worker; "
        "from shared.bus_memory import MemoryBus; from shared.settings import Configuration; "
        f"c = Configuration(overrides=['classifier.bundle={tmp_path}'], environment={{}}); "
        "build_worker(MemoryBus(), c, threading.Event()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
