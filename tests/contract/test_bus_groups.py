"""Groups: who reads what, what is committed, and what is lost when members come and go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from shared.bus import Record
from tests.support.bus_world import SECONDS, World, joined, poll_until, take


def test_members_share_the_partitions(world: World) -> None:
    one, two = world.join(), world.join()
    joined(one, two)
    assert not one.assigned() & two.assigned()
    world.fill(*((f"c{i}", b"x") for i in range(40)))
    records: list[Record] = []
    poll_until([one, two], lambda: len(records) >= 40, records)
    assert len({(r.partition, r.offset) for r in records}) == len(records) == 40


def test_a_group_goes_on_where_it_committed(world: World) -> None:
    world.fill(*(("c", str(i).encode()) for i in range(10)))
    first = world.join()
    place = take(first, 10)[0].partition
    assert first.commit({place: 4})
    first.close()
    assert [r.offset for r in take(world.join(), 6)] == [4, 5, 6, 7, 8, 9]


def test_closing_commits_nothing(world: World) -> None:
    world.fill(("c", b"x"))
    first = world.join()
    take(first, 1)
    first.close()
    assert len(take(world.join(), 1)) == 1


def test_rewind_reads_again_from_the_commit(world: World) -> None:
    world.fill(*(("c", str(i).encode()) for i in range(6)))
    member = world.join()
    place = take(member, 6)[0].partition
    member.rewind({place})  # nothing committed yet: the beginning
    assert [r.offset for r in take(member, 6)] == [0, 1, 2, 3, 4, 5]
    assert member.commit({place: 2})
    member.rewind({place})
    assert [r.offset for r in take(member, 4)] == [2, 3, 4, 5]
    member.rewind({place}, to_beginning=True)
    assert [r.offset for r in take(member, 6)] == [0, 1, 2, 3, 4, 5]
    assert member.take_lost() == frozenset()


def test_what_is_to_be_read_again_is_lag_at_once(world: World) -> None:
    """A worker takes away its notes of what may have killed it when nothing is left to read."""
    world.fill(*(("c", str(i).encode()) for i in range(6)))
    member = world.join()
    place = take(member, 6)[0].partition
    poll_until([member], lambda: not any(member.lag().values()))
    member.rewind({place})
    assert member.lag()[place] > 0


def test_rewind_knows_what_an_earlier_member_committed(world: World) -> None:
    world.fill(*(("c", str(i).encode()) for i in range(6)))
    first = world.join()
    place = take(first, 6)[0].partition
    assert first.commit({place: 3})
    first.close()
    second = world.join()
    take(second, 3)
    second.rewind({place})
    assert [r.offset for r in take(second, 3)] == [3, 4, 5]


def test_a_rewind_takes_back_what_was_fetched_but_not_polled(world: World) -> None:
    world.fill(*(("c", str(i).encode()) for i in range(6)))
    member = world.join()
    place = take(member, 2, batch=2)[0].partition
    assert member.commit({place: 1})
    member.rewind({place})
    assert [r.offset for r in take(member, 5)] == [1, 2, 3, 4, 5]


def test_lag_is_what_is_still_to_be_read(world: World) -> None:
    world.fill(*(("c", b"x") for _ in range(8)))
    member = world.join()
    place = take(member, 3, batch=3)[0].partition
    assert member.lag()[place] == 5
    take(member, 5)
    poll_until([member], lambda: not any(member.lag().values()))
    assert member.lag().keys() == member.assigned()


def test_a_member_that_loses_partitions_is_told(world: World) -> None:
    one = world.join()
    joined(one)
    assert one.take_lost() == frozenset()
    before, generation = one.assigned(), one.generation()
    two = world.join()
    joined(one, two)
    assert one.take_lost() == before - one.assigned() == two.assigned()
    assert one.take_lost() == frozenset()  # told once
    poll_until([one, two], lambda: one.generation() == two.generation())
    assert one.generation() > generation
    assert two.take_lost() == frozenset()


def test_lost_is_sticky_when_partitions_come_back(world: World) -> None:
    one = world.join()
    joined(one)
    two = world.join()
    joined(one, two)
    away = two.assigned()
    two.close()
    joined(one)
    assert one.assigned() >= away
    assert not one.commit(dict.fromkeys(away, 0))  # whoever has not let go may not commit
    assert one.take_lost() == away
    assert one.commit(dict.fromkeys(away, 0))


def test_a_commit_of_anothers_partition_is_refused(world: World) -> None:
    world.fill(*((f"c{i}", b"x") for i in range(40)))
    one, two = world.join(), world.join()
    joined(one, two)
    assert not one.commit(dict.fromkeys(two.assigned(), 1))
    mine = next(iter(one.assigned()))
    assert not one.commit({mine: 1} | dict.fromkeys(two.assigned(), 1))
    assert one.commit({mine: 1})
    one.close()
    assert not one.commit({mine: 2})


def test_a_new_owner_starts_at_the_old_ones_commit(world: World) -> None:
    world.fill(*((f"c{i}", b"x") for i in range(40)))
    one = world.join()
    ends = {r.partition: r.offset + 1 for r in take(one, 40)}
    assert one.commit(ends)
    two = world.join()
    joined(one, two)
    world.fill(*((f"c{i}", b"y") for i in range(40)))
    records: list[Record] = []
    poll_until([one, two], lambda: len(records) >= 40, records)
    assert {r.value for r in records} == {b"y"}


def test_keep_alive_holds_the_membership_without_reading(world: World) -> None:
    one = world.join()
    joined(one)
    world.fill(*((f"c{i}", b"x") for i in range(40)))
    two = world.join()
    taken: list[Record] = []

    def shared() -> bool:
        return len(one.assigned()) == len(two.assigned()) == 2

    def stay() -> None:
        while not shared():
            one.keep_alive()

    with ThreadPoolExecutor(1) as pool:
        staying = pool.submit(stay)
        poll_until([two], shared, taken)
        staying.result(SECONDS)
    poll_until([one, two], lambda: len(taken) >= 40, taken)
    assert len({(r.partition, r.offset) for r in taken}) == len(taken) == 40


def test_a_note_lies_beside_the_commit_until_the_next_one(world: World) -> None:
    world.fill(("camera", b"0"), ("camera", b"1"))
    member = world.join()
    (first, _) = take(member, 2)
    place = first.partition
    assert member.committed([place]) == {}
    member.note({place: "trying:0:1"})
    assert member.committed([place]) == {place: (0, "trying:0:1")}
    member.close()
    second = world.join()
    assert [r.offset for r in take(second, 2)] == [0, 1], "a note moves nothing"
    assert second.committed([place]) == {place: (0, "trying:0:1")}
    assert second.commit({place: 1})
    assert second.committed([place]) == {place: (1, "")}
    second.note({place: "trying:1:1"})
    second.note({place: ""})
    assert second.committed([place]) == {place: (1, "")}
    second.rewind({place})
    assert [r.offset for r in take(second, 1)] == [1]
