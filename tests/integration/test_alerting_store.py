"""One suite for both incident stores: the embedded one and a real Redis."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alerting.incidents import Incident, SessionState
from alerting.store import Conflict, Key, Loaded, Step, Store
from alerting.store_redis import RedisStore
from alerting.store_sqlite import SqliteStore
from shared.messages import FrameReference
from tests.support.predictions import LIVE, seconds

KEY = Key("gate-3", LIVE)
OTHER = Key("gate-4", LIVE)


@pytest.fixture(params=["memory", "file", pytest.param("redis", marks=pytest.mark.redis)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the same store again and again, as processes that follow each other do."""
    opened: list[Store] = []
    prefix = f"test-{uuid.uuid4().hex[:12]}"

    def build() -> Store:
        store: Store
        if request.param == "memory":
            store = opened[0] if opened else SqliteStore(":memory:", "street")
        elif request.param == "file":
            store = SqliteStore(str(tmp_path / "incidents.db"), "street")
        else:
            store = RedisStore(request.getfixturevalue("redis_url"), "street", prefix=prefix)
        opened.append(store)
        return store

    yield build
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


def state(last_index: int, *, finished: bool = False) -> SessionState:
    return SessionState(last_index, seconds(last_index), seconds(last_index), finished)


def incident(
    camera_id: str = "gate-3", label: str = "fighting", *, at: float = 1, closed: bool = False
) -> Incident:
    return Incident(
        lane="street", camera_id=camera_id, session=LIVE, label=label, evidence="real",
        first_index=round(at), state="closed" if closed else "open", started_at=seconds(at),
        high_until=seconds(at + 1), peak_score=0.9,
        frames=(FrameReference(0, 1), FrameReference(0, 2)), fingerprint="f" * 16,
        reason="score" if closed else None,
    )  # fmt: skip


def test_what_was_never_there(store: Store) -> None:
    assert store.find(0, KEY) == SessionState()
    assert store.load(0) == Loaded()


def test_state_clock_incidents_and_events_are_there_after_a_restart(
    open_store: Callable[[], Store],
) -> None:
    first = open_store()
    first.load(0)
    first.apply([Step(0, 1, 70, {KEY: state(5)}, (incident(),), ('{"a":1}', '{"b":2}'))])
    first.apply([Step(0, 2, 80, {KEY: state(9)})])
    second = open_store()
    loaded = second.load(0)
    assert loaded.sessions == {KEY: state(9)}
    assert loaded.outbox == ('{"a":1}', '{"b":2}')
    assert loaded.clock == 80
    assert second.find(0, KEY) == state(9)
    assert second.incidents() == [incident()]
    second.apply([Step(0, loaded.steps + 1, 90, {KEY: state(10)})])
    assert second.find(0, KEY) == state(10)


def test_a_step_applies_on_top_of_the_steps_that_its_writer_knows(store: Store) -> None:
    store.load(0)
    store.apply([Step(0, 1, 5, {KEY: state(5)})])
    for number in (1, 3):
        with pytest.raises(Conflict, match="partition 0") as caught:
            store.apply([Step(0, number, 8, {KEY: state(8)}, (incident(),), ("{}",))])
        assert caught.value.partition == 0
    assert store.find(0, KEY) == state(5)
    assert store.load(0) == Loaded({KEY: state(5)}, (), 5, 1)
    assert store.incidents() == []


def test_several_sessions_in_one_step_and_steps_of_several_partitions(store: Store) -> None:
    store.load(0)
    store.load(1)
    far = Key("lobby", LIVE)
    store.apply([Step(0, 1, 7, {KEY: state(1), OTHER: state(2)}), Step(1, 1, 9, {far: state(3)})])
    assert store.load(0) == Loaded({KEY: state(1), OTHER: state(2)}, (), 7, 1)
    assert store.load(1) == Loaded({far: state(3)}, (), 9, 1)
    store.apply([])


def test_a_finished_session_is_not_loaded_but_known_and_may_go_on(store: Store) -> None:
    store.load(0)
    store.apply([Step(0, 1, 0, {KEY: state(5, finished=True), OTHER: state(4)})])
    assert store.load(0).sessions == {OTHER: state(4)}
    assert store.find(0, KEY) == state(5, finished=True)
    store.apply([Step(0, 2, 0, {KEY: state(6)})])
    assert store.load(0).sessions == {KEY: state(6), OTHER: state(4)}


def test_partitions_are_apart(store: Store) -> None:
    store.load(0)
    store.apply([Step(1, 1, 0, {Key("lobby", LIVE): state(5)}, (), ("{}",))])
    assert store.load(0).outbox == ()
    assert store.load(1).outbox == ("{}",)
    assert [key.camera_id for key in store.load(1).sessions] == ["lobby"]


def test_delivered_events_leave_the_outbox_and_the_rest_keeps_its_order(store: Store) -> None:
    store.load(0)
    store.apply([Step(0, 1, 0, {KEY: state(5)}, (), ("a", "b", "c", "d"))])
    store.delivered(0, ["c", "a", "never there"])
    assert store.load(0).outbox == ("b", "d")
    store.delivered(0, ["a"])
    store.delivered(0, [])
    assert store.load(0).outbox == ("b", "d")


def test_incidents_by_camera_label_time_and_whether_open(store: Store) -> None:
    store.load(0)
    store.load(1)
    early = incident(at=10, closed=True)
    running = incident("lobby", at=20)
    late = incident(label="explosion", at=30, closed=True)
    store.apply([Step(0, 1, 0, {KEY: state(1)}, (incident(at=10),))])
    store.apply([Step(1, 1, 0, {Key("lobby", LIVE): state(1)}, (running,))])
    store.apply([Step(0, 2, 0, {KEY: state(2)}, (early, late))])
    assert store.incidents() == [late, running, early], "newest first, each as it is now"
    assert store.incidents(camera_id="gate-3") == [late, early]
    assert store.incidents(label="explosion") == [late]
    assert store.incidents(open_only=True) == [running]
    assert store.incidents(since=seconds(12)) == [late, running]
    assert store.incidents(since=seconds(99)) == [running], "it lasts"
    assert store.incidents(limit=1) == [late]
    assert store.incidents(camera_id="nobody") == []
