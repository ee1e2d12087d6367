"""The way from a source topic to the dead letters and back."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from citywatch.dead_letters import list_letters, redrive_letters, show, wish
from citywatch.deployment import Deployment
from classifier.stage import build_worker
from shared.bundle import Bundle
from shared.bus import Output, Partition, Record, dead_letter, read_to_end
from shared.bus_memory import MemoryBus
from shared.cameras import Camera
from shared.codec import decode, encode
from shared.dead_letters import DeadLetter, Wanted, letter_of, read, redrive
from shared.errors import InvalidInput, InvalidMessage
from shared.messages import EndOfStream, Features, Frame, FrameReference, Prediction, Session
from shared.settings import Configuration
from shared.topics import Topics
from tests.support.bundles import write_bundle
from tests.support.predictions import prediction

TOPICS = Topics("test")
START = 1_700_000_000_000_000_000
LIVE = f"live-3-{START}"
NEVER_TWICE = iter(range(1000, 10_000))


def put_aside(
    bus: MemoryBus, topic: str, key: str | None, value: bytes | None, reason: str = "boom",
    headers: tuple[tuple[str, bytes], ...] = (), offset: int | None = None,
) -> None:  # fmt: skip
    at = next(NEVER_TWICE) if offset is None else offset
    record = Record(Partition(topic, 2), at, key, value, headers)
    bus.producer().send(dead_letter(TOPICS.dead_letters, record, reason))


def letters(bus: MemoryBus, wanted: Wanted | None = None) -> list[DeadLetter]:
    return list(read(bus, TOPICS, wanted or Wanted()))


def frame(index: int, session: str = LIVE) -> Frame:
    at = START + index * 1_000_000_000 // 15
    return Frame("gate-3", session, index, at, True, ("street",), "raw", 1, 1, b"abc",
                 dropped_before={"bus_full": 1})  # fmt: skip


def features(index: int, bundle: Bundle, lane: str) -> Features:
    at = START + index * 1_000_000_000 // 15
    vector = np.full(1280, index % 7, np.float16)
    return Features(lane, "gate-3", LIVE, index, index, at, bundle.backbone_fingerprint,
                    FrameReference(0, index), vector)  # fmt: skip


def test_a_letter_knows_what_it_was() -> None:
    bus = MemoryBus()
    own = (("trace", b"1"), ("reason", b"the record's own"))
    put_aside(bus, "test.frames", "gate-3", b"\xff", "not msgpack", own, offset=17)
    (letter,) = letters(bus)
    assert (letter.reason, letter.source, letter.source_offset, letter.headers) == (
        "not msgpack", Partition("test.frames", 2), 17, own,
    )  # fmt: skip
    assert (letter.record.value, letter.record.key, letter.place) == (b"\xff", "gate-3", "0/0")


def test_what_somebody_else_put_there_is_passed_over() -> None:
    bus = MemoryBus()
    bus.producer().send(Output(TOPICS.dead_letters, "x", b"x"))
    odd = Record(Partition("test.frames", 0), 0, "x", b"x")
    output = dead_letter(TOPICS.dead_letters, odd, "y")
    bus.producer().send(Output(output.topic, "x", b"x", (*output.headers[:-1], ("b", b""))))
    assert letters(bus) == []
    headers = (*output.headers[:-1], ("source-offset", b"seven"))
    with pytest.raises(InvalidMessage, match="where it came from"):
        letter_of(Record(Partition("d", 0), 0, None, None, headers))


def test_filters() -> None:
    bus = MemoryBus()
    put_aside(bus, "test.frames", "a", b"x", "Not msgpack")
    put_aside(bus, "test.street.features", "b", b"x", "NaN")
    put_aside(bus, "test.shop.features", None, None, "NaN")
    one, two, three = letters(bus)
    assert letters(bus, Wanted(topic="frames")) == [one]
    assert letters(bus, Wanted(topic="features")) == [two, three]
    assert letters(bus, Wanted(topic="street.features")) == [two]
    assert letters(bus, Wanted(topic="test.shop.features")) == [three]
    assert letters(bus, Wanted(topic="eatures")) == []
    assert letters(bus, Wanted(reason="MSGPACK")) == [one]
    assert letters(bus, Wanted(cameras=frozenset("ab"), topic="features")) == [two]
    assert letters(bus, Wanted(places=frozenset([three.place]))) == [three]
    assert letters(bus, Wanted(since=one.record.timestamp)) == [one, two, three]
    assert letters(bus, Wanted(since=three.record.timestamp + 1)) == []


def test_a_prediction_goes_back_as_it_was_and_a_camera_does_not() -> None:
    bus = MemoryBus()
    value = encode(prediction(3.0))
    camera = Camera(id="gate-3", source="0").to_json()
    put_aside(bus, "test.street.predictions", "gate-3", value, headers=(("trace", b"1"),))
    put_aside(bus, "test.cameras", "gate-3", camera)
    plan = redrive(letters(bus), TOPICS)
    assert plan.outputs == [
        Output("test.street.predictions", "gate-3", value,
               (("trace", b"1"), ("redriven-from", b"0/0"))),
    ]  # fmt: skip
    ((letter, why),) = plan.refused
    assert letter.source.topic == "test.cameras" and "newer definition" in why
    assert plan.sessions == []


def test_what_would_only_come_back_is_refused() -> None:
    bus = MemoryBus()
    good = encode(prediction(3.0))
    end = EndOfStream("gate-3", LIVE, 9, START, "end")
    put_aside(bus, "test.street.predictions", "gate-3", good, offset=5)
    put_aside(bus, "test.street.predictions", "gate-3", good, offset=5)  # a replay buried it again
    put_aside(bus, "test.street.predictions", "gate-3", b"\xc1")
    put_aside(bus, "test.frames", "gate-3", b"\xc1")
    put_aside(bus, "test.frames", "gate-4", encode(frame(0)))
    put_aside(bus, "test.frames", "gate-3", encode(end))
    put_aside(bus, "other.frames", "gate-3", encode(frame(0)))
    put_aside(bus, "test.cameras", "gate-3", b"{}")
    plan = redrive(letters(bus), TOPICS)
    assert [letter.place for letter in plan.taken] == ["0/0"]
    words = ("same record", "msgpack", "msgpack", "key is not", "end of a", "no topic", "camera")
    assert len(plan.refused) == len(words)
    for (_, why), word in zip(plan.refused, words, strict=True):
        assert word in why


def test_frames_go_back_as_a_recording_of_their_own() -> None:
    bus = MemoryBus()
    for index in (40, 41, 43):
        put_aside(bus, "test.frames", "gate-3", encode(frame(index)))
    put_aside(bus, "test.frames", "gate-3", encode(frame(41)))  # sent twice by ingest
    plan = redrive(letters(bus), TOPICS)
    *sent, last = [decode(o.value, Frame, EndOfStream) for o in plan.outputs]
    session = f"file-1-{START}"
    assert [m.index for m in sent if isinstance(m, Frame)] == [40, 41, 43]
    for message in sent:
        assert isinstance(message, Frame)
        old = frame(message.index)
        assert (message.session, message.live, message.dropped_before) == (session, False, {})
        assert (message.captured_at, message.data, message.lanes) == (
            old.captured_at, old.data, old.lanes,
        )  # fmt: skip
    assert last == EndOfStream("gate-3", session, 44, frame(43).captured_at, "end", ("street",))
    assert plan.sessions == [("gate-3", session)]
    assert len(plan.refused) == 1
    assert redrive(letters(bus), TOPICS).outputs == plan.outputs
    later = redrive(letters(bus)[1:3], TOPICS)
    assert later.sessions == [("gate-3", f"file-2-{START}")], "other letters are another recording"


def test_features_that_were_put_aside_make_windows_and_twice_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b", name="street", window=10, stride=5)
    settings = (f"classifier.bundle={bundle.folder}", "kafka.prefix=test")
    bus = MemoryBus()
    there = Deployment(bus, TOPICS, Configuration(None, settings, {}))
    for index in range(20):
        value = encode(features(index, bundle, "street"))
        put_aside(bus, TOPICS.features("street"), "gate-3", value)
    before = letters(bus)
    stop = threading.Event()
    worker = build_worker(bus, there.configuration, stop)
    thread = threading.Thread(target=worker.run)
    thread.start()
    ids = []
    view = bus.consumer("view", [TOPICS.predictions("street")])
    try:
        for _ in range(2):
            assert redrive_letters(there, Wanted(), None, yes=True, json=False) == 0
            ids.append([])
            while True:
                found = [decode(r.value, Prediction, EndOfStream) for r in view.poll(100, 1)]
                ids[-1] += [m.id for m in found if isinstance(m, Prediction)]
                if any(isinstance(m, EndOfStream) for m in found):
                    break
    finally:
        stop.set()
        thread.join(10)
    session = Session(1, START, live=False)
    assert ids[0] == [f"street:gate-3:{session}:{last}" for last in (9, 14, 19)]
    assert ids[1] == ids[0]
    assert letters(bus) == before, "the letters stay as they were"
    assert "20 back to test.street.features" in capsys.readouterr().out


def test_the_command_asks_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = MemoryBus()
    there = Deployment(bus, TOPICS, Configuration(None, (), {}))
    put_aside(bus, "test.street.predictions", "gate-3", encode(prediction(3.0)))
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert redrive_letters(there, Wanted(), None, yes=False, json=True) == 0
    assert capsys.readouterr().out == ""
    assert list(read_to_end(bus, "test.street.predictions")) == []
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    assert redrive_letters(there, Wanted(), None, yes=False, json=True) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["type"], json.loads(line)["letter"]) == ("redriven", "0/0")
    assert len(list(read_to_end(bus, "test.street.predictions"))) == 1


def test_the_command_says_when_nothing_can_go_back(capsys: pytest.CaptureFixture[str]) -> None:
    bus = MemoryBus()
    there = Deployment(bus, TOPICS, Configuration(None, (), {}))
    assert redrive_letters(there, Wanted(), None, yes=True, json=False) == 0
    put_aside(bus, "test.frames", "gate-3", b"\xc1")
    assert redrive_letters(there, Wanted(), None, yes=True, json=False) == 1
    said = capsys.readouterr().out
    assert "No dead letters." in said
    assert "1 cannot go back: it would be refused again: not msgpack" in said


def test_list_and_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bus = MemoryBus()
    there = Deployment(bus, TOPICS, Configuration(None, (), {}))
    list_letters(there, Wanted(), 10, json=False)
    for index in range(3):
        put_aside(bus, "test.frames", "gate-3", encode(frame(index)), f"reason {index}")
    put_aside(bus, "test.frames", "gate-3\n", b"\xff\x00", "garbage", offset=7)
    list_letters(there, Wanted(), 2, json=False)
    said = capsys.readouterr().out
    assert "No dead letters." in said
    assert "reason 2" in said
    assert "reason 1" not in said
    assert "2 older ones are not shown" in said
    list_letters(there, Wanted(reason="garbage"), 2, json=True)
    listed = json.loads(capsys.readouterr().out)
    listed.pop("put_aside_at")
    assert listed == {
        "type": "dead-letter", "letter": "0/3", "camera_id": "gate-3\n", "topic": "test.frames",
        "partition": 2, "offset": 7, "reason": "garbage", "bytes": 2,
    }  # fmt: skip
    show(there, "0/0", tmp_path / "value", json=False)
    assert (tmp_path / "value").read_bytes() == encode(frame(0))
    said = capsys.readouterr().out
    assert f"session={LIVE}" in said
    assert "data=<3 bytes>" in said
    show(there, "0/3", None, json=True)
    assert json.loads(capsys.readouterr().out)["value_base64"] == "/wA="
    with pytest.raises(InvalidInput, match="no such dead letter"):
        show(there, "0/9", None, json=False)


def test_wishes() -> None:
    assert wish("frames", None, ["a"], "2000-01-01T00:00:00Z") == Wanted(
        "frames", None, frozenset("a"), 946684800000
    )
    ago = wish(None, None, [], "2h").since
    assert ago is not None
    assert ago < wish(None, None, [], "1.5h").since  # type: ignore[operator]
    for since in ("yesterday", "2w"):
        with pytest.raises(InvalidInput, match="--since"):
            wish(None, None, [], since)
    with pytest.raises(InvalidInput, match="3/17"):
        wish(None, None, [], None, ["3-17"])
