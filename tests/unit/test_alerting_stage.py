"""The alerting stage on the embedded store: fences, silence, the outbox, faults, a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from alerting.events import from_json
from alerting.incidents import Rules
from alerting.settings import AlertingSettings
from alerting.stage import AlertingStage, build_worker, decode_prediction
from alerting.store import Store
from alerting.store_sqlite import SqliteStore
from alerting.subscribe import follow
from shared import metrics
from shared.bus import Output, Partition, Received, Record
from shared.bus_memory import MemoryBus
from shared.codec import encode
from shared.errors import InvalidMessage, InvalidSettings, Transient
from shared.messages import EndOfStream, Prediction
from shared.settings import Configuration
from shared.topics import Topics
from tests.support.predictions import LIVE, Log, bundle_folder, description, end, prediction

RULES = Rules.of(description(), AlertingSettings())
TOPIC = "citywatch.anomalies"
NEWER = "live-4-1000000000000000000"
NOW = 2_000_000_000


@pytest.fixture(autouse=True)
def _stores_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    opened: list[SqliteStore] = []
    begin = SqliteStore.__init__

    def opening(store: SqliteStore, *arguments: Any, **more: Any) -> None:
        opened.append(store)
        begin(store, *arguments, **more)

    monkeypatch.setattr(SqliteStore, "__init__", opening)
    yield
    for store in opened:
        with suppress(AttributeError):  # one that could not be opened
            store.close()


def make(store: Store | None = None, rules: Rules = RULES, **more: float) -> AlertingStage:
    return AlertingStage(rules, store or SqliteStore(":memory:", "street"), TOPIC, **more)


def told(outputs: Sequence[Output]) -> list[str]:
    """`camera label state reason`, as announced."""
    found = [from_json(output.value).incident for output in outputs]
    return [f"{i.camera_id} {i.label} {i.state} {i.reason or ''}".strip() for i in found]


def run(stage: AlertingStage, log: Log) -> list[str]:
    outputs = stage.process(log.take())
    stage.durable(outputs)
    return told(outputs)


def run_one(stage: AlertingStage, received: Received) -> list[str]:
    outputs = stage.process([received])
    stage.durable(outputs)
    return told(outputs)


def high(*times: float, camera_id: str = "gate-3", session: str = LIVE) -> list[Prediction]:
    return [prediction(at, 0.9, camera_id=camera_id, session=session) for at in times]


def low(*times: float, camera_id: str = "gate-3", session: str = LIVE) -> list[Prediction]:
    return [prediction(at, 0.1, camera_id=camera_id, session=session) for at in times]


def test_an_incident_from_predictions_to_events_and_into_the_store() -> None:
    store = SqliteStore(":memory:", "street")
    stage, log = make(store), Log()
    log.add(*high(NOW, NOW + 1), *low(NOW + 2, NOW + 3, NOW + 4))
    outputs = stage.process(log.take())
    assert told(outputs) == ["gate-3 fighting open", "gate-3 fighting closed score"]
    assert {(o.topic, o.key) for o in outputs} == {(TOPIC, "gate-3")}
    assert outputs[0].headers == (("content-type", b"application/cloudevents+json"),)
    (incident,) = store.incidents()
    assert (incident.state, incident.label) == ("closed", "fighting")
    assert stage.process([]) == []


def test_end_of_stream_closes() -> None:
    stage, log = make(), Log()
    log.add(*high(1, 2, session="file-0-0"), end(2.5))
    assert run(stage, log) == ["gate-3 fighting open", "gate-3 fighting closed end"]


def test_silence_is_told_by_the_other_cameras_of_the_partition() -> None:
    stage, log = make(), Log()
    log.add(*high(NOW, NOW + 1), *low(NOW + 31, camera_id="gate-4"))
    assert run(stage, log) == ["gate-3 fighting open"]
    later = Log()
    later.add(*low(NOW + 31.1, camera_id="gate-4"), *low(NOW + 33, camera_id="gate-4"))
    assert run(stage, later) == ["gate-3 fighting closed silence"]


def test_files_neither_fall_silent_beside_live_cameras_nor_move_their_clock() -> None:
    stage, log = make(), Log()
    log.add(*high(NOW, NOW + 1))
    log.add(*high(1, 2, camera_id="tape", session="file-0-0"), appended_at=NOW + 1)
    log.add(*low(NOW + 20, camera_id="gate-4"))
    log.add(*high(5000, camera_id="tape", session="file-0-0"), appended_at=NOW + 100)
    assert run(stage, log) == [
        "gate-3 fighting open",
        "tape fighting open",
        "tape fighting closed silence",  # a hole of 5000 s in the file itself
    ]


def test_a_newer_session_closes_the_older_one_and_fences_it() -> None:
    stage, log = make(), Log()
    log.add(*high(NOW, NOW + 1), *high(NOW + 2, NOW + 3, session=NEWER))
    log.add(*high(NOW + 4, NOW + 5, NOW + 6))  # the older one, late
    assert run(stage, log) == [
        "gate-3 fighting open",
        "gate-3 fighting closed superseded",
        "gate-3 fighting open",
    ]


def test_a_fence_lapses_when_the_newer_session_fell_silent() -> None:
    """A newer session whose clock is an hour ahead: its time stamps must not keep it alive."""
    stage, log = make(), Log()
    log.add(*low(NOW + 3600, session=NEWER), appended_at=NOW)
    log.add(*high(NOW + 10, NOW + 20, NOW + 29))
    assert run(stage, log) == []
    later = Log()
    later.add(*high(NOW + 31, NOW + 32))
    assert run(stage, later) == ["gate-3 fighting open"]


def test_a_camera_whose_clock_is_an_hour_slow_is_not_silent() -> None:
    stage, log = make(), Log()
    for second in range(4):
        log.add(*low(NOW + second, camera_id="gate-4"))
        log.add(*high(NOW - 3600 + second), appended_at=NOW + second)
    heard = [text for received in log.take() for text in run_one(stage, received)]
    assert heard == ["gate-3 fighting open"]


def test_the_next_owner_keeps_the_fence() -> None:
    store, log = SqliteStore(":memory:", "street"), Log()
    log.add(*low(NOW, session=NEWER))
    run(make(store), log)
    later = Log()
    later.add(*high(NOW + 1, NOW + 2, NOW + 3))
    assert run(make(store), later) == []


def test_an_embedded_store_survives_a_crash_and_another_order_of_cameras(tmp_path: Path) -> None:
    file, log = str(tmp_path / "incidents.db"), Log(number=2)
    log.add(*high(NOW, NOW + 1), *high(1, 2, camera_id="tape", session="file-0-0"))
    run(make(SqliteStore(file, "street")), log)
    store, moved, other = SqliteStore(file, "street"), Log(number=0), Log(number=1)
    other.add(*low(NOW + 50, camera_id="gate-4"))
    moved.add(*high(1, 2, 3, camera_id="tape", session="file-0-0"), end(4, camera_id="tape"))
    stage = make(store)
    assert run(stage, other) == ["gate-3 fighting closed silence"]
    assert run(stage, moved) == ["tape fighting closed end"]
    assert store.incidents(open_only=True) == []


def test_a_replay_changes_nothing_and_says_nothing() -> None:
    stage, log = make(), Log()
    log.add(*high(NOW, NOW + 1), *low(NOW + 2, NOW + 4), *high(NOW + 20, NOW + 21, session=NEWER))
    log.add(end(NOW + 22, session=NEWER))
    assert len(run(stage, log)) == 4
    stage.forget({log.partition})
    assert run(stage, log) == []


def test_what_was_not_acknowledged_is_sent_again_first_by_the_next_owner() -> None:
    store = SqliteStore(":memory:", "street")
    log = Log()
    log.add(*high(NOW, NOW + 1))
    lost = make(store).process(log.take())
    log.add(*low(NOW + 2, NOW + 4))
    again = make(store).process(log.take())
    assert told(again) == ["gate-3 fighting open", "gate-3 fighting closed score"]
    assert again[0] == lost[0], "the same id has the same bytes"


def test_an_event_is_handed_out_once_while_it_is_on_its_way() -> None:
    store = SqliteStore(":memory:", "street")
    stage, log = make(store), Log()
    log.add(*high(NOW, NOW + 1))
    outputs = stage.process(log.take())
    assert len(outputs) == 1
    assert stage.process([]) == []
    assert len(store.load(0).outbox) == 1
    stage.durable([*outputs, Output("citywatch.dead-letters", None, b"")])
    assert store.load(0).outbox == ()


def test_another_owner_got_there_first() -> None:
    store = SqliteStore(":memory:", "street")
    paused, log = make(store), Log()
    log.add(*high(NOW))
    paused.process(log.take())
    log.add(*high(NOW + 1), *high(NOW + 2))
    outputs = make(store).process(log.take())
    assert told(outputs) == ["gate-3 fighting open"]
    with pytest.raises(Transient):
        paused.process(log.take(1))
    paused.forget({log.partition})
    assert told(paused.process(log.take())) == told(outputs), "still in the outbox, unconfirmed"


def test_commits_stay_behind_what_the_store_may_lose() -> None:
    time = [100.0]
    stage = AlertingStage(
        RULES, SqliteStore(":memory:", "street"), TOPIC,
        durability_window_seconds=2.0, clock=lambda: time[0],
    )  # fmt: skip
    log = Log()
    log.add(*low(NOW, NOW + 1, NOW + 2))
    stage.process(log.take()[:2])
    assert stage.oldest_needed() == {log.partition: 0}
    time[0] = 101.5
    stage.process(log.take(2))
    assert stage.oldest_needed() == {log.partition: 0}
    time[0] = 102.0
    stage.process([])
    assert stage.oldest_needed() == {log.partition: 2}
    time[0] = 103.5
    stage.process([])
    assert stage.oldest_needed() == {}


def test_metrics() -> None:
    before = metrics.incidents_total.labels("street", "cam-m", "fighting")._value.get()
    stage = AlertingStage(
        RULES, SqliteStore(":memory:", "street"), TOPIC, wall_ns=lambda: (NOW + 3) * 10**9
    )
    log = Log()
    log.add(*high(NOW, NOW + 1, camera_id="cam-m"))
    run(stage, log)
    text = metrics.registry.get_sample_value
    assert metrics.incidents_total.labels("street", "cam-m", "fighting")._value.get() == before + 1
    assert text("citywatch_incidents_open", {"lane": "street"}) == 1
    stage.forget({log.partition})
    assert text("citywatch_incidents_open", {"lane": "street"}) == 0
    run(stage, log)
    assert metrics.incidents_total.labels("street", "cam-m", "fighting")._value.get() == before + 1
    assert (text("citywatch_latency_seconds_count", {"lane": "street"}) or 0) >= 2


def test_a_store_that_is_away_while_events_are_confirmed_is_told_later() -> None:
    class Away(SqliteStore):
        answers: Callable[[], bool] = staticmethod(lambda: False)

        def delivered(self, partition: int, events: object) -> None:
            if not self.answers():
                raise Transient("away")
            super().delivered(partition, events)  # type: ignore[arg-type]

    store = Away(":memory:", "street")
    stage, log = make(store), Log()
    log.add(*high(NOW, NOW + 1))
    stage.durable(stage.process(log.take()))
    with pytest.raises(Transient):
        stage.process([])
    store.answers = lambda: True
    assert stage.process([]) == []
    assert store.load(0).outbox == ()


# --- as a worker ----------------------------------------------------------------------------------


def test_the_worker_announces_and_subscribe_follows(tmp_path: Path) -> None:
    file = tmp_path / "incidents.db"
    configuration = Configuration(
        overrides=[
            f"alerting.bundle={bundle_folder(tmp_path / 'bundle')}", "alerting.store=sqlite",
            f"alerting.sqlite_file={file}", "worker.commit_interval_seconds=0",
        ],
        environment={},
    )  # fmt: skip
    bus, stop, topics = MemoryBus(partitions=2), threading.Event(), Topics()
    everything = follow(bus, topics, stop=stop)
    only_lobby = follow(bus, topics, camera_id="lobby", label="fighting", stop=stop)
    worker = build_worker(bus, configuration, stop)
    thread = threading.Thread(target=worker.run)
    thread.start()
    producer = bus.producer()
    predictions: list[Prediction | EndOfStream] = [
        *high(1, 2, camera_id="gate", session="file-0-0"), end(3, camera_id="gate"),
        *high(1, 2, camera_id="lobby", session="file-0-0"),
    ]  # fmt: skip
    producer.send(Output(topics.anomalies, "gate", b"of another program"))
    producer.send(Output(topics.predictions("street"), "gate", b"damaged"))
    for message in predictions:
        producer.send(Output(topics.predictions("street"), message.camera_id, encode(message)))
    events = [next(everything) for _ in range(3)]
    assert next(only_lobby).incident.camera_id == "lobby"
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert sorted(e.id for e in events) == [
        "street:gate:file-0-0:fighting:15:closed",
        "street:gate:file-0-0:fighting:15:open",
        "street:lobby:file-0-0:fighting:15:open",
    ]
    letters = [r for n in range(2) for r in bus.read(Partition(topics.dead_letters, n), 0, 9)]
    assert [letter.value for letter in letters] == [b"damaged"]
    kept = SqliteStore(str(file), "street")
    assert [i.camera_id for i in kept.incidents(open_only=True)] == ["lobby"]
    kept.close()


def test_a_record_must_lie_under_its_camera() -> None:
    message = prediction(1, 0.5)
    record = Record(Partition("t", 0), 0, "gate-3", encode(message))
    assert decode_prediction(record) == message
    with pytest.raises(InvalidMessage, match="not the camera id"):
        decode_prediction(Record(Partition("t", 0), 0, "gate-4", encode(message)))


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is no database at all, only a line of text")
    with pytest.raises(InvalidSettings, match=r"alerting.sqlite_file .*x.db: file is not"):
        SqliteStore(str(tmp_path / "x.db"), "street")
