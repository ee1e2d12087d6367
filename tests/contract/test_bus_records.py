"""What goes into a bus comes out of it: order, content, where reading begins."""

from __future__ import annotations

import time
from collections import defaultdict

import pytest

from shared.bus import Output, Partition
from shared.topics import TopicSpec
from tests.support.bus_world import SECONDS, World, take


def test_one_key_keeps_its_order(world: World) -> None:
    sent = [(f"camera-{i % 7}", str(i).encode()) for i in range(200)]
    world.fill(*sent)
    got = defaultdict(list)
    places = defaultdict(set)
    for record in take(world.join(), 200, batch=17):
        got[record.key].append(record.value)
        places[record.key].add(record.partition)
    expected = defaultdict(list)
    for key, value in sent:
        expected[key].append(value)
    assert got == expected
    assert all(len(p) == 1 for p in places.values())


def test_content_arrives_untouched(world: World) -> None:
    producer = world.bus.producer()
    headers = (("reason", b"\xff\x00"), ("reason", b"again"))
    before = time.time_ns() // 1_000_000
    producer.send(Output(world.topic, "camera", b"\x00value", headers))
    producer.send(Output(world.topic, "camera", None))
    producer.send(Output(world.topic, "Überwachung-\udcff", b""))
    producer.send(Output(world.topic, None, b"no key"))
    assert producer.flush(SECONDS) == []
    after = time.time_ns() // 1_000_000
    records = take(world.join(), 4)
    first, second = (r for r in records if r.key == "camera")
    assert (first.value, first.headers) == (b"\x00value", headers)
    assert (second.value, second.headers) == (None, ())
    assert {r.key: r.value for r in records} == {
        "camera": None, "Überwachung-\udcff": b"", None: b"no key",
    }  # fmt: skip
    assert all(before <= r.timestamp <= after for r in records)
    assert all(r.partition.topic == world.topic for r in records)


def test_a_send_is_known_to_be_durable(world: World) -> None:
    delivery = world.bus.producer().send(Output(world.topic, "camera", b"x"))
    assert delivery.wait(SECONDS)
    assert delivery.done and delivery.error is None


@pytest.mark.parametrize("group", ["", None])
def test_beginning_and_end_ignore_what_was_committed(world: World, group: str | None) -> None:
    world.fill(("a", b"old"))
    member = world.join()
    (record,) = take(member, 1)
    assert member.commit({record.partition: record.offset + 1})
    member.close()
    early = world.join("beginning", group)
    assert take(early, 1)[0].value == b"old"
    early.close()
    late = world.join("end", group)
    while late.assigned() == frozenset() or any(late.lag().values()):
        assert late.poll(10, 0.1) == []
    world.fill(("a", b"new"))
    assert take(late, 1)[0].value == b"new"


def test_alone_every_reader_sees_everything(world: World) -> None:
    world.fill(*((f"c{i}", b"x") for i in range(20)))
    one, two = world.join("beginning", None), world.join("beginning", None)
    assert len(one.assigned()) == 4
    assert len(take(one, 20)) == len(take(two, 20)) == 20
    assert one.take_lost() == frozenset()


def test_alone_a_commit_is_a_bookmark_of_its_own(world: World) -> None:
    world.fill(*(("c", str(i).encode()) for i in range(5)))
    alone = world.join("beginning", None)
    records = take(alone, 5)
    assert alone.commit({records[0].partition: 3})
    alone.rewind({records[0].partition})
    assert [r.offset for r in take(alone, 2)] == [3, 4]


def test_records_are_read_by_offset(world: World) -> None:
    world.fill(*(("camera", str(i).encode()) for i in range(10)))
    place = take(world.join(), 10)[0].partition
    assert [r.value for r in world.bus.read(place, 3, 5)] == [b"3", b"4", b"5"]
    assert [r.offset for r in world.bus.read(place, 8, 50)] == [8, 9]
    assert world.bus.read(place, 20, 30) == []
    empty = next(n for n in range(4) if n != place.number)
    assert world.bus.read(Partition(world.topic, empty), 0, 5) == []


def test_how_far_a_key_goes_and_a_group_has_come(world: World) -> None:
    assert world.bus.standing(world.topic, "gate", world.group)[1:] == (0, 0)
    world.fill(*(("gate", b"x") for _ in range(3)), *((f"c{i}", b"x") for i in range(9)))
    member = world.join()
    records = [record for record in take(member, 12) if record.key == "gate"]
    place, offset = records[-1].partition, records[-1].offset
    there = world.bus.standing(world.topic, "gate", world.group)
    assert (there.partition, there.committed) == (place, 0)
    assert there.end > offset
    assert member.commit({place: offset + 1})
    assert world.bus.standing(world.topic, "gate", world.group).committed == offset + 1
    assert world.bus.standing(world.topic, "gate", f"{world.group}.other").committed == 0
    assert world.bus.standing(world.topic, "gate") == (place, there.end, 0)


def test_topics_are_made_once(world: World) -> None:
    world.fill(("a", b"x"))
    world.bus.ensure_topics([TopicSpec(world.topic, retention_seconds=3600)])
    assert len(take(world.join(), 1)) == 1
