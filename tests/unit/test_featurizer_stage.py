"""The featurizer's stage on frames made by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from featurizer.decoding import Decoded, FrameDecoder
from featurizer.extractor import Vectors
from featurizer.inputs import Image
from featurizer.stage import FeaturizerStage
from shared.bus import Output, Partition, Received, Record
from shared.codec import decode, encode
from shared.errors import InvalidMessage
from shared.messages import EndOfStream, Features, Frame, FrameReference, Motion
from shared.topics import Topics
from tests.support.bundles import write_bundle

STEP = 66_666_667
MILLISECOND = 1_000_000
TOPICS = Topics("t")
P0, P1 = Partition("t.frames", 0), Partition("t.frames", 1)
START = 1_700_000_000 * 1_000_000_000
LIVE = f"live-1-{START}"
FILE = "file-0-0"


class Sums:
    """An extractor that anyone can follow: the image's mean by channel, then its size."""

    name = "sums"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: Image) -> Vectors:
        self.batches.append(len(images))
        means = images.reshape(len(images), -1, 3).mean(1)
        return np.concatenate([means, np.zeros((len(images), 1277))], 1).astype(np.float16)


class World:
    """A stage, its decoder, and the log that they read."""

    def __init__(self, folder: Path, kind: Any = "rgb", **more: Any) -> None:
        bundle = write_bundle(folder, kind=kind, **more)
        self.fingerprint = bundle.backbone_fingerprint
        self.extractor = Sums()
        self.now = START
        self.stage = FeaturizerStage(bundle, "lane", TOPICS, self.extractor, 60.0)
        self.extractor.batches.clear()
        self.decoder = FrameDecoder("lane", 10.0, lambda: self.now, only_grey=kind == "difference")
        self.log: list[Record] = []

    def put(
        self, message: Frame | EndOfStream, partition: Partition = P0, at: int | None = None
    ) -> Record:
        """Append a message; `at` is the broker's time, by default the message's own."""
        time = message.captured_at if isinstance(message, Frame) else message.ended_at
        offset = sum(record.partition == partition for record in self.log)
        stamp = (time if at is None else at) // MILLISECOND
        record = Record(partition, offset, message.camera_id, encode(message), (), stamp)
        self.log.append(record)
        return record

    def run(self, records: Sequence[Record]) -> list[Features | EndOfStream | Output]:
        """What the stage says of the records; dead letters as they are."""
        outputs = self.stage.process([Received(r, self.decoder(r)) for r in records])
        return [
            o if o.topic == TOPICS.dead_letters else decode(o.value, Features, EndOfStream)
            for o in outputs
        ]

    def send(self, *messages: Frame | EndOfStream) -> list[Any]:
        return self.run([self.put(message) for message in messages])


def picture(level: int, height: int = 48, width: int = 64) -> bytes:
    return bytes(cv2.imencode(".jpg", np.full((height, width, 3), level, np.uint8))[1])


def frame(index: int, level: int | None = 100, **more: Any) -> Frame:
    """Frame `index` of a 15 fps file; `level=None`: unchanged."""
    values: dict[str, Any] = {
        "camera_id": "a", "session": FILE, "index": index, "captured_at": index * STEP,
        "live": False, "lanes": (), "encoding": "unchanged", "height": 48, "width": 64, "data": b"",
    }  # fmt: skip
    if level is not None:
        values |= {"encoding": "jpeg", "data": picture(level)}
    return Frame(**(values | more))


def kinds(results: Sequence[Any]) -> list[str]:
    return [
        "end" if isinstance(r, EndOfStream)
        else "dead" if isinstance(r, Output)
        else r.missing or (f"same {r.same_as}" if r.vector is None else "vector")
        for r in results
    ]  # fmt: skip


def live(index: int, level: int | None = 100, generation: int = 1, **more: Any) -> Frame:
    return frame(
        index, level, session=f"live-{generation}-{START}", captured_at=START + index * STEP,
        live=True, **more,
    )  # fmt: skip


def test_a_frame_becomes_features_that_name_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    motion = Motion(0.25, (0.1, 0.2, 0.5, 0.5))
    first, second = world.send(frame(0), frame(1, 50, motion=motion))
    assert isinstance(second, Features)
    assert second.vector is not None and second.vector.shape == (1280,)
    assert second.vector[:3].tolist() == pytest.approx([50, 50, 50], abs=2)
    assert (second.index, second.step, second.captured_at) == (1, 1, STEP)
    assert (second.lane, second.camera_id, second.session) == ("lane", "a", FILE)
    assert second.fingerprint == world.fingerprint
    assert second.frame == FrameReference(0, 1)
    assert second.motion.energy == 0.25
    assert first.frame == FrameReference(0, 0)


def test_cameras_share_a_batch_and_keep_their_order(tmp_path: Path) -> None:
    world = World(tmp_path)
    results = world.send(*(frame(i, 10 * i, camera_id=c) for i in range(3) for c in "abc"))
    assert world.extractor.batches == [9]
    assert [(r.camera_id, r.step) for r in results] == [(c, i) for i in range(3) for c in "abc"]
    assert [round(float(r.vector[0]) / 10) for r in results] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.stage.process([]) == []
    assert world.extractor.batches == []
    assert dict(world.stage.oldest_needed()) == {}


# --- lanes ---------------------------------------------------------------------------------------


def test_other_lanes_are_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    end = EndOfStream("a", FILE, 3, 3 * STEP, "end", lanes=("other",))
    results = world.send(frame(0, lanes=("other",)), frame(1, lanes=("x", "lane")), frame(2), end)
    assert [r.step for r in results] == [1, 2]


def test_a_lane_takes_the_first_frame_of_its_slots(tmp_path: Path) -> None:
    """A camera of 30 fps, a lane of 15: every second frame, and step counts the lane's slots."""
    world = World(tmp_path)
    results = world.send(*(frame(i, 10 * i, captured_at=i * STEP // 2) for i in range(7)))
    assert [r.step for r in results] == [0, 1, 2, 3]
    assert [round(float(r.vector[0]) / 10) for r in results] == [0, 2, 4, 6]


def test_a_key_that_the_lane_passed_over_still_serves(tmp_path: Path) -> None:
    """The key lay in a slot that was taken; the next slot has only an unchanged frame."""
    world = World(tmp_path)
    results = world.send(
        frame(0, 10, captured_at=0),
        frame(1, 80, captured_at=STEP // 2),
        frame(2, None, captured_at=STEP, same_as=1),
        frame(4, None, captured_at=2 * STEP, same_as=1),
    )
    assert kinds(results) == ["vector", "vector", "same 1"]
    assert round(float(results[1].vector[0])) == 80


# --- unchanged -----------------------------------------------------------------------------------


def test_rgb_unchanged_is_same_as(tmp_path: Path) -> None:
    world = World(tmp_path)
    results = world.send(
        frame(0, 10), frame(1, None, same_as=0), frame(2, None, same_as=0), frame(3, 10),
        frame(4, None, same_as=3),
    )  # fmt: skip
    assert kinds(results) == ["vector", "same 0", "same 0", "vector", "same 3"]


def test_difference_unchanged_is_the_vector_of_a_still_input(tmp_path: Path) -> None:
    world = World(tmp_path, "difference")
    frames = [frame(i, 10 + 20 * i) for i in range(6)]
    results = world.send(*frames, frame(6, None, same_as=5), frame(7, 0))
    assert kinds(results) == ["history"] * 4 + ["vector"] * 4
    assert results[5].vector[:3].tolist() == pytest.approx([20, 40, 80], abs=2)
    assert not results[6].vector.any()
    # the unchanged picture of level 110 stands at steps 5 and 6
    assert results[7].vector[:3].tolist() == pytest.approx([110, 110, 70], abs=2)
    assert world.extractor.batches == [3]


def test_flow_unchanged_is_the_vector_of_a_still_input(tmp_path: Path) -> None:
    world = World(tmp_path, "flow")
    results = world.send(frame(0, 10), frame(1, 40), frame(2, None, same_as=1), frame(3, 40))
    assert kinds(results) == ["history"] + ["vector"] * 3
    assert results[1].vector[2] == pytest.approx(30, abs=2)
    for still in results[2:]:
        assert still.vector[:3].tolist() == [128, 128, 0]
    assert world.extractor.batches == [2]


@pytest.mark.parametrize("kind", ["rgb", "difference", "flow"])
def test_an_unchanged_frame_without_its_key_is_missing(tmp_path: Path, kind: str) -> None:
    world = World(tmp_path, kind)
    results = world.send(frame(5, None, same_as=4), frame(6, 10), frame(8, None, same_as=7))
    assert kinds(results)[0] == kinds(results)[2] == "key"


# --- trouble -------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "zeroed", "header"])
def test_a_corrupt_picture_is_missing_and_kept_aside(tmp_path: Path, damage: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    data = bytes(cv2.imencode(".jpg", noise)[1])
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "zeroed":
        data = data[:2] + data[data.index(b"\xff\xc0") :][:19] + b"\xff\xd9"
    else:
        data = data[:2] + data[data.index(b"\xff\xc0") :]  # no quantisation tables
    world = World(tmp_path)
    results = world.send(frame(0), frame(1, data=data), frame(2, None, same_as=1), frame(3))
    assert kinds(results) == ["vector", "dead", "corrupt", "key", "vector"]
    letter = results[1]
    assert isinstance(letter, Output)
    assert letter.value == world.log[1].value and letter.key == "a"
    assert dict(letter.headers)["source-offset"] == b"1"


def test_bytes_that_are_no_frame_are_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(InvalidMessage):
        world.decoder(Record(P0, 0, "a", b"nonsense"))


def test_a_frame_sent_twice_is_taken_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    frames = [frame(i) for i in range(4)]
    assert len(world.send(*frames[:3])) == 3
    assert [r.step for r in world.send(*frames[1:])] == [3]


def test_old_live_frames_are_shed_before_they_are_decoded(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.now = START + 20_000 * MILLISECOND
    records = [
        world.put(live(0)),
        world.put(live(1, None, same_as=0)),  # of a picture that is not there
        world.put(live(2), at=world.now),  # captured long ago, but new to the broker
        world.put(frame(0, camera_id="b"), at=START),  # a file waits as long as it takes
    ]
    shed = world.decoder(records[0])
    assert isinstance(shed, Decoded) and shed.picture is None
    assert kinds(world.run(records)) == ["shed", "shed", "vector", "vector"]


# --- sessions ------------------------------------------------------------------------------------


def test_end_of_stream_passes_and_clears(tmp_path: Path) -> None:
    world = World(tmp_path, "difference")
    end = EndOfStream("a", FILE, 6, 6 * STEP, "end")
    results = world.send(*(frame(i) for i in range(6)), end)
    assert results[-1] == end
    assert dict(world.stage.oldest_needed()) == {}
    again = world.send(*(frame(i) for i in range(6)))  # the same file once more
    assert kinds(again) == kinds(results)[:-1]


def test_a_newer_live_session_fences_the_older(tmp_path: Path) -> None:
    world = World(tmp_path)
    results = world.send(
        live(0), live(1, generation=2), live(2), live(2, generation=2),
        frame(0),  # files take no part in it
        live(0, generation=1, camera_id="b"),
    )  # fmt: skip
    assert kinds(results) == ["vector", "vector", "fenced", "vector", "vector", "vector"]
    assert (results[2].session, results[2].step) == (LIVE, 2)


def test_a_fence_lapses_when_the_newer_session_is_silent(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.decoder = FrameDecoder("lane", float("inf"), lambda: world.now, only_grey=False)
    world.send(live(0, generation=2))
    late = [live(i) for i in (15 * 59, 15 * 61)]
    assert kinds(world.send(*late)) == ["fenced", "vector"]


def test_a_silent_camera_lets_go_of_the_log(tmp_path: Path) -> None:
    world = World(tmp_path, "difference")
    world.send(*(live(i) for i in range(6)))
    assert dict(world.stage.oldest_needed()) == {P0: 1}
    world.send(live(15 * 59, camera_id="b"))
    assert world.stage.oldest_needed()[P0] == 1
    world.send(live(15 * 61, camera_id="b"))
    assert world.stage.oldest_needed()[P0] == 7  # camera b's newest frame


def test_a_fast_file_does_not_silence_its_neighbours(tmp_path: Path) -> None:
    """Ten minutes of one file pass within a second of the broker's time."""
    world = World(tmp_path, "difference")
    now = START
    records = [world.put(frame(i, camera_id="slow"), at=now) for i in range(5)]
    records += [world.put(frame(15 * s, camera_id="fast"), at=now) for s in range(600)]
    records.append(world.put(frame(5, camera_id="slow"), at=now + 1000 * MILLISECOND))
    results = world.run(records[:-1])
    assert kinds(world.run(records[-1:])) == ["vector"], len(results)


def test_an_outage_does_not_silence_cameras(tmp_path: Path) -> None:
    """Ingest delivers what it captured an hour late: time in the pictures went on evenly."""
    world = World(tmp_path, "difference")
    world.decoder = FrameDecoder("lane", float("inf"), lambda: world.now, only_grey=True)
    world.run([world.put(live(i)) for i in range(5)])
    hour = START + 3600 * 1000 * MILLISECOND
    neighbour = world.put(live(5, camera_id="b"), at=hour)
    assert kinds(world.run([neighbour, world.put(live(5), at=hour)])) == ["history", "vector"]


def test_forget_drops_only_these_partitions(tmp_path: Path) -> None:
    world = World(tmp_path, "difference")
    records = [world.put(frame(i, camera_id=c), p) for i in range(6) for c, p in zip(
        "ab", (P0, P1), strict=True)]  # fmt: skip
    world.run(records)
    assert set(world.stage.oldest_needed()) == {P0, P1}
    world.stage.forget({P0})
    assert set(world.stage.oldest_needed()) == {P1}
    results = world.run([world.put(frame(6, camera_id="a"), P0), world.put(
        frame(6, camera_id="b"), P1)])  # fmt: skip
    assert kinds(results) == ["history", "vector"]


@pytest.mark.parametrize("kind", ["rgb", "difference"])
@pytest.mark.parametrize("crash", range(1, 24, 3))
def test_a_restart_from_the_commit_point_gives_the_same(
    tmp_path: Path, kind: str, crash: int
) -> None:
    """Whatever comes after the crash equals what an uninterrupted run gives."""
    messages = [
        frame(i, None, same_as=i - i % 6 + 1) if i % 6 in (2, 3) else frame(i, 5 * i)
        for i in range(24)
    ]
    whole = World(tmp_path / "whole", kind)
    expected = whole.send(*messages)
    before = World(tmp_path / "before", kind)
    before.send(*messages[:crash])
    point = dict(before.stage.oldest_needed()).get(P0, crash)
    assert crash - 7 <= point <= crash
    after = World(tmp_path / "after", kind)
    results = after.run(whole.log[point:])
    tail = [r for r in results if r.step >= crash]  # what was sent before the crash stands
    assert [encode(r) for r in tail] == [encode(r) for r in expected[crash:]]
