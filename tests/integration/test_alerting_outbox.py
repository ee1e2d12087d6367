"""The outbox against a simple model: reserve, deliver, mark, with a fault between any two steps.

Whatever happens in whatever order: every transition is told, each with one content, and none is
handed out again after it was marked as delivered.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from alerting.incidents import Rules
from alerting.settings import AlertingSettings
from alerting.stage import AlertingStage
from alerting.store import Step, Store
from alerting.store_redis import RedisStore
from alerting.store_sqlite import SqliteStore
from shared.bus import Output
from shared.errors import Transient
from tests.support.predictions import LIVE, Log, description, end, prediction

RULES = Rules.of(description(), AlertingSettings())
TOPIC = "citywatch.anomalies"
NOW = 2_000_000_000


class Failing:
    """A store that fails once, in the way named: before the step, in its middle, or after it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.fault = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def apply(self, steps: Sequence[Step]) -> None:
        if steps:
            self._fail("before apply")
        if self.fault == "in apply" and len(steps) > 1:
            self._store.apply(steps[:1])
            self._fail("in apply")
        self._store.apply(steps)
        if steps:
            self._fail("after apply")

    def delivered(self, partition: int, events: Collection[str]) -> None:
        self._fail("before mark")
        self._store.delivered(partition, events)
        self._fail("after mark")

    def _fail(self, point: str) -> None:
        if self.fault == point:
            self.fault = ""
            raise Transient(point)


@dataclass
class Sent:
    """What came out of one batch, on its way; `position`: what may be committed after it."""

    outputs: list[Output]
    position: int
    delivered: bool = False


class Outbox(RuleBasedStateMachine):
    """One partition, one owner after the other."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = Failing(store)
        self.log = Log()
        self.at = float(NOW)
        self.committed = self.position = 0
        self.told: dict[str, bytes] = {}
        self.marked: set[str] = set()
        self.way: list[Sent] = []
        self.stage = self.owner()

    def owner(self) -> AlertingStage:
        return AlertingStage(RULES, self.store, TOPIC)  # type: ignore[arg-type]

    # --- what happens -----------------------------------------------------------------------------

    @rule(
        camera=st.sampled_from(["a", "b"]),
        moods=st.lists(st.sampled_from([0.9, 0.9, 0.1]), min_size=1, max_size=6),
        over=st.booleans(),
    )
    def predictions_come(self, camera: str, moods: list[float], over: bool) -> None:
        for score in moods:
            self.at += 1
            self.log.add(prediction(self.at, score, camera_id=camera, session=LIVE))
        if over:
            self.at += 1
            self.log.add(end(self.at, camera_id=camera, session=LIVE))

    @precondition(lambda self: self.position < len(self.log.received))
    @rule(count=st.integers(1, 8))
    def reserve(self, count: int) -> None:
        batch = self.log.take(self.position)[:count]
        try:
            outputs = self.stage.process(batch)
        except Transient:
            self.partition_is_read_again()
            return
        self.position += len(batch)
        for output in outputs:
            assert event_id(output) not in self.marked, "told again after it was marked"
        self.way.append(Sent(outputs, self.position))

    @precondition(lambda self: any(not sent.delivered for sent in self.way))
    @rule()
    def deliver(self) -> None:
        sent = next(sent for sent in self.way if not sent.delivered)
        sent.delivered = True
        for output in sent.outputs:
            assert output.value is not None
            assert self.told.setdefault(event_id(output), output.value) == output.value

    @precondition(lambda self: self.way and self.way[0].delivered)
    @rule(commit=st.booleans())
    def mark(self, commit: bool) -> None:
        sent = self.way.pop(0)
        waits = self.store.fault in ("before mark", "after mark")
        self.stage.durable(sent.outputs)
        if not waits:
            self.marked |= {event_id(output) for output in sent.outputs}
        if commit:  # a refused one leaves everything to be read again
            self.committed = max(self.committed, sent.position)

    @rule(point=st.sampled_from(
        ["before apply", "in apply", "after apply", "before mark", "after mark"]
    ))  # fmt: skip
    def the_store_is_about_to_fail(self, point: str) -> None:
        self.store.fault = point

    @rule()
    def crash(self) -> None:
        """What was not delivered never arrives; the next owner reads from the commit on."""
        self.way.clear()
        self.stage, self.position = self.owner(), self.committed

    @rule()
    def partition_is_read_again(self) -> None:
        """Lost and back, or a fault: what is on its way arrives, but is no ground to commit."""
        self.stage.forget({self.log.partition})
        self.position = self.committed
        for sent in self.way:
            sent.position = 0

    def teardown(self) -> None:
        """The storm is over: everything is told, nothing else, and the outbox is empty."""
        self.store.fault = ""
        while self.position < len(self.log.received) or self.way:
            while self.way:
                if not self.way[0].delivered:
                    self.deliver()
                self.mark(commit=True)
            if self.position < len(self.log.received):
                self.reserve(5)
        assert self.stage.process([]) == []
        assert self.told == calm(self.log)
        assert self.store.load(0).outbox == ()
        self.store.close()


def event_id(output: Output) -> str:
    return str(json.loads(output.value or b"")["id"])


def calm(log: Log) -> dict[str, bytes]:
    """The transitions of a life without faults."""
    store = SqliteStore(":memory:", "street")
    stage = AlertingStage(RULES, store, TOPIC)
    outputs = [o for received in log.received for o in stage.process([received])]
    store.close()
    return {event_id(output): output.value or b"" for output in outputs}


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def fresh(request: pytest.FixtureRequest) -> Callable[[], Store]:
    """Makes an empty store."""
    if request.param == "sqlite":
        return lambda: SqliteStore(":memory:", "street")
    url = request.getfixturevalue("redis_url")
    return lambda: RedisStore(url, "street", prefix=f"outbox-{uuid.uuid4().hex[:12]}")


@pytest.mark.timeout(120)
def test_the_outbox_keeps_its_word(fresh: Callable[[], Store]) -> None:
    run_state_machine_as_test(
        lambda: Outbox(fresh()),
        settings=settings(max_examples=40, stateful_step_count=30, deadline=None, derandomize=True),
    )
