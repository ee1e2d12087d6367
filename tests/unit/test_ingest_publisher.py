"""Drops, their accounting, and the outbox that all cameras share."""

from __future__ import annotations

import threading
import time

import pytest

from ingest.outbox import Outbox
from ingest.pipe import Kind, Parcel, Unpacker
from ingest.publisher import Publisher
from shared.bus import Output
from shared.bus_memory import MemoryBus
from shared.cameras import Camera
from shared.codec import decode, encode
from shared.messages import EndOfStream, Frame, Session

CAMERA = Camera(id="yard", source="rtsp://host/1")
SESSION = Session(1, 1000, live=True)
TOPIC = "frames"


def parcel(index: int, kind: Kind = Kind.FULL) -> Parcel:
    full = kind is Kind.FULL
    frame = Frame(
        "yard", str(SESSION), index, 1000 + index, True, (), "raw" if full else "unchanged",
        1, 1, b"abc" if full else b"", same_as=None if full else 0,
    )  # fmt: skip
    return Parcel(kind, index, 1000 + index, encode(frame))


class World:
    """A bus with room for two unread records, a publisher, and somebody who reads."""

    def __init__(self, *, may_drop: bool) -> None:
        self.bus = MemoryBus(capacity=2)
        self.reader = self.bus.consumer("reader", [TOPIC])
        self.outbox = Outbox(self.bus)
        self.stop = threading.Event()
        self.keys = 0
        self.publisher = Publisher(CAMERA, TOPIC, self.outbox, self.stop, self.key)
        self.publisher.may_drop = may_drop

    def key(self) -> None:
        self.keys += 1

    def read(self) -> list[Frame | EndOfStream]:
        return [decode(r.value, Frame, EndOfStream) for r in self.reader.poll(100, 0)]


def test_every_index_of_a_live_camera_is_published_or_counted() -> None:
    world = World(may_drop=True)
    for index in range(4):
        world.publisher.frame(parcel(index))
    seen = world.read()
    world.publisher.frame(parcel(4, Kind.UNCHANGED))  # its full frame may have been dropped
    world.publisher.frame(parcel(5))
    world.publisher.frame(parcel(6, Kind.UNCHANGED))
    seen += world.read()
    world.publisher.end("lost", None, 1)
    seen += world.read()
    assert [m.index for m in seen] == [0, 1, 5, 6, 7]
    assert dict(seen[2].dropped_before) == {"bus_full": 2, "awaiting_key": 1}
    assert not seen[3].dropped_before
    assert isinstance(seen[4], EndOfStream)
    assert (seen[4].reason, seen[4].session) == ("lost", str(SESSION))
    assert world.keys == 2  # each drop of a full frame asks for another
    assert (world.publisher.published, world.publisher.dropped) == (4, 3)


def test_what_was_dropped_last_is_counted_at_the_end() -> None:
    world = World(may_drop=True)
    for index in range(3):
        world.publisher.frame(parcel(index))
    world.read()
    world.publisher.end("stopped", None, 1)
    (end,) = world.read()
    assert (end.index, dict(end.dropped_before)) == (3, {"bus_full": 1})


def test_a_file_waits_for_room() -> None:
    world = World(may_drop=False)
    sender = threading.Thread(target=lambda: [world.publisher.frame(parcel(n)) for n in range(20)])
    sender.start()
    seen: list[int] = []
    while len(seen) < 20:
        seen += [m.index for m in world.read()]
    sender.join(10)
    assert seen == list(range(20))
    assert world.publisher.dropped == 0


def test_a_file_that_waits_can_be_stopped() -> None:
    world = World(may_drop=False)
    sender = threading.Thread(target=lambda: [world.publisher.frame(parcel(n)) for n in range(3)])
    sender.start()
    world.stop.set()
    sender.join(10)
    assert not sender.is_alive()
    assert world.publisher.dropped == 1


def test_a_recording_without_a_frame_has_an_end_and_a_live_run_has_none() -> None:
    world = World(may_drop=False)
    world.publisher.end("lost", Session(0, 0, live=False), 1)
    world.publisher.end("lost", None, 1)
    (end, *_) = world.read()
    assert (end.session, end.index) == ("file-0-0", 0)
    quiet = World(may_drop=True)
    quiet.publisher.end("lost", None, 1)
    assert quiet.read() == []


def test_the_outbox_sends_again_what_was_not_acknowledged() -> None:
    bus = MemoryBus()
    reader = bus.consumer("reader", [TOPIC])
    outbox = Outbox(bus)
    bus.fail_next("flush")
    assert outbox.offer(Output(TOPIC, "yard", b"1"))
    assert not outbox.offer(Output(TOPIC, "yard", b"2"))  # not before the first is on its way
    until = time.monotonic() + 10
    assert outbox.flush(10) == 0
    assert time.monotonic() < until
    assert outbox.offer(Output(TOPIC, "yard", b"2"))
    assert [r.value for r in reader.poll(10, 0)] == [b"1", b"2"]


def test_the_outbox_says_what_it_could_not_deliver() -> None:
    bus = MemoryBus()
    outbox = Outbox(bus)
    bus.fail_next("flush", times=1000)
    assert outbox.offer(Output(TOPIC, "yard", b"1"))
    assert outbox.flush(0.05) == 1


def test_parcels_survive_any_cut() -> None:
    parcels = [Parcel(Kind.ALIVE), parcel(1), Parcel(Kind.TROUBLE, payload=b"why"), parcel(2)]
    data = b"".join(part for p in parcels for part in p.pack())
    for size in (1, 7, 25, len(data)):
        unpacker = Unpacker()
        got, at = [], 0
        while at < len(data):
            piece = data[at : at + min(size, unpacker.wanted)]
            at += len(piece)
            if (whole := unpacker.feed(piece)) is not None:
                got.append(whole)
        assert got == parcels
    with pytest.raises(ValueError, match="wanted"):
        Unpacker().feed(data)
