"""The alerting stage whatever goes wrong in the store, and however its input is cut."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from alerting.incidents import Rules
from alerting.settings import AlertingSettings
from alerting.store import Step
from alerting.store_sqlite import SqliteStore
from shared.bus import Output
from shared.errors import Transient
from tests.support.predictions import LIVE, Log, description, end, prediction
from tests.unit.test_alerting_stage import NEWER, NOW, make, told


class Faulty(SqliteStore):
    """Fails as a server does: before the step, or after it with the answer lost."""

    def __init__(self) -> None:
        super().__init__(":memory:", "street")
        self.plan: list[str] = []

    def apply(self, steps: Sequence[Step]) -> None:
        fault = self.plan.pop() if self.plan else ""
        if fault == "before":
            raise Transient("not reached")
        if fault == "halfway" and steps:
            super().apply(steps[:1])
            raise Transient("cut off")
        super().apply(steps)
        if fault == "after":
            raise Transient("answer lost")


LONG = 62
"""Half seconds: longer than a camera may be silent."""
CURVE = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([LIVE, NEWER, "file-0-0"]),
              st.booleans(), st.sampled_from([1, 2, 3, 4, 5, LONG])),
    min_size=5, max_size=40,
)  # fmt: skip


@pytest.mark.parametrize("quantile", [None, 0.5], ids=["fixed", "adaptive"])
@given(
    apart=st.booleans(),
    curve=CURVE,
    faults=st.lists(
        st.sampled_from(["", "before", "halfway", "after", "die", "die delivered", "forget"])
    ),
    sizes=st.lists(st.integers(1, 6), min_size=1),
)
@example(  # an older session goes on after a newer one ended, and the answer of that step is lost
    apart=False,
    curve=[*[("a", LIVE, False, 1)] * 2, ("b", NEWER, False, 5), ("b", LIVE, True, 1),
           ("b", LIVE, True, 2)],
    faults=["after"], sizes=[4],
)  # fmt: skip
@hypothesis_settings(deadline=None, max_examples=60)
def test_faults_change_nothing_of_what_is_recorded_and_told(
    quantile: float | None,
    apart: bool,
    curve: list[tuple[str, str, bool, int]],
    faults: list[str],
    sizes: list[int],
) -> None:
    """Replay from the commit point after each fault: each transition once, in order, same bytes.

    Camera b lies in a partition of its own if `apart`.
    """
    rules = Rules.of(description(), AlertingSettings(adaptive_quantile=quantile))
    log = curve_log(curve, apart)
    places = {received.record.partition for received in log.received}
    calm = SqliteStore(":memory:", "street")
    straight = [o for r in log.take() for o in make(calm, rules).process([r])]
    calm_events = _first_of_each(straight)

    store, committed, position, sent = Faulty(), 0, 0, list[Output]()
    stage = make(store, rules)
    plan, size = list(faults), list(sizes)
    while committed < len(log.received):
        fault = plan.pop(0) if plan else ""
        count = size.pop(0) if size else 5
        store.plan = [fault] if fault in ("before", "halfway", "after") else []
        try:
            outputs = stage.process(log.take(position)[:count])
        except Transient:
            stage.forget(places)
            position = committed
            continue
        position = min(position + count, len(log.received))
        if fault == "die":
            stage, position = make(store, rules), committed
            continue
        sent += outputs
        if fault == "die delivered":
            stage, position = make(store, rules), committed
            continue
        stage.durable(outputs)
        committed = position
        if fault == "forget":
            stage.forget(places)
    assert _first_of_each(sent) == calm_events
    assert all(store.load(place.number).outbox == () for place in places)
    assert store.incidents() == calm.incidents()


def curve_log(curve: list[tuple[str, str, bool, int]], apart: bool = False) -> Log:
    log, at = Log(), float(NOW)
    for camera, session, is_high, gap in curve:
        log.partition = log.partition._replace(number=int(apart and camera == "b"))
        at += gap / 2
        if gap == 5:
            log.add(end(at, camera_id=camera, session=session))
        else:
            log.add(prediction(at, 0.9 if is_high else 0.1, camera_id=camera, session=session))
    return log


def _first_of_each(outputs: list[Output]) -> dict[str, list[bytes]]:
    """By camera."""
    found: dict[str, dict[str, bytes]] = {}
    for output in outputs:
        assert output.key is not None and output.value is not None
        own = found.setdefault(output.key, {})
        name = json.loads(output.value)["id"]
        assert own.setdefault(name, output.value) == output.value
    return {camera: list(values.values()) for camera, values in found.items()}


def test_messages_of_the_stage_are_received_in_batches_of_any_size() -> None:
    log = curve_log([("a", LIVE, True, 4)] * 12)
    whole = told(make().process(log.take()))
    single = make()
    assert whole == told([o for r in log.take() for o in single.process([r])])
    assert whole == ["a fighting open"]
