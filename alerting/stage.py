"""The logic of alerting on messages, and the worker that runs it.

A batch goes: events that a dead owner left in the outbox, then the predictions through the state
machine, then one atomic step per session into the store, then out with the events that are new in
the outbox. `durable` takes them out again. An event in the outbox always has an uncommitted record
behind it, so a new owner of the partition reads a record, loads the outbox with it, and sends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from alerting import events
from alerting.incidents import Incident, Rules, SessionState, advance, close_all, finish
from alerting.incidents import Transition as Moved
from alerting.open_store import open_store
from alerting.settings import AlertingSettings
from alerting.store import Advance, Conflict, Key, Store, Stored
from shared import metrics
from shared.bundle import Bundle, find
from shared.bus import Bus, Output, Partition, Received, Record
from shared.codec import decode
from shared.errors import InvalidMessage, StateLost, Transient
from shared.messages import NANOSECONDS, EndOfStream, Prediction, Session
from shared.service import now_ns
from shared.settings import Configuration, KafkaSettings, WorkerSettings
from shared.topics import Topics
from shared.worker import Route, Worker

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Step:
    """What a batch does to one session."""

    stored: Stored
    state: SessionState
    moved: list[Moved] = field(default_factory=list)


@dataclass(slots=True)
class _Owned:
    """What is known of a partition that this worker reads.

    `clock` is the event time of its live cameras. Files keep out of it: theirs begins in 1970.
    """

    sessions: dict[Key, Stored]
    waiting: list[str]
    live: dict[str, Session] = field(default_factory=dict)
    clock: int = 0
    silence_sought_at: int = -NANOSECONDS


class AlertingStage:
    """Predictions in, CloudEvents of incidents out."""

    def __init__(
        self,
        rules: Rules,
        store: Store,
        topic: str,
        *,
        durability_window_seconds: float = 0.0,
        wall_ns: Callable[[], int] = now_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._store = store
        self._topic = topic
        self._window = durability_window_seconds
        self._wall_ns = wall_ns
        self._clock = clock
        self._owned: dict[Partition, _Owned] = {}
        self._sent: dict[Output, tuple[int, str]] = {}  # where in the outbox an output lies
        self._delivered: dict[int, list[str]] = {}  # acknowledged, still in the outbox
        self._recent: dict[Partition, deque[tuple[float, int]]] = {}

    def process(self, batch: Sequence[Received]) -> list[Output]:
        try:
            return self._process(batch)
        except Conflict as error:
            lost = [place for place in self._owned if place.number == error.partition]
            raise StateLost(str(error), lost) from error

    def _process(self, batch: Sequence[Received]) -> list[Output]:
        self._empty_outboxes()
        now = self._clock()
        self._store.verify(
            {
                partition.number
                for partition, recent in self._recent.items()
                if recent and recent[0][0] <= now - self._window
            }
        )  # fmt: skip  before their records may be committed
        steps: dict[Key, _Step] = {}
        for received in batch:
            record = received.record
            owned = self._own(record.partition)
            recent = self._recent.setdefault(record.partition, deque())
            if not recent or recent[-1][0] != now:
                recent.append((now, record.offset))
            self._take(owned, record, received.message, steps)
        for partition, owned in self._owned.items():
            if owned.clock - owned.silence_sought_at >= NANOSECONDS:
                owned.silence_sought_at = owned.clock
                self._close_the_silent(partition.number, owned, steps)
        self._write(steps)
        for recent in self._recent.values():
            while recent and recent[0][0] <= now - self._window:
                recent.popleft()
        return [
            self._output(partition.number, event)
            for partition, owned in self._owned.items()
            for event in _emptied(owned.waiting)
        ]

    def oldest_needed(self) -> Mapping[Partition, int]:
        """Stays behind what the store may still lose: state and commits go back together."""
        return {partition: recent[0][1] for partition, recent in self._recent.items() if recent}

    def forget(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._owned.pop(partition, None)
            self._recent.pop(partition, None)
        self._count_open()

    def durable(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            place = self._sent.pop(output, None)
            if place is not None:
                self._delivered.setdefault(place[0], []).append(place[1])
        try:
            self._empty_outboxes()
        except Transient as error:  # the next batch tries again
            log.warning("delivered events stay in the outbox: %s", error)

    def close(self) -> None:
        self._store.close()

    def _empty_outboxes(self) -> None:
        for partition in list(self._delivered):
            self._store.delivered(partition, self._delivered[partition])
            del self._delivered[partition]

    def _own(self, partition: Partition) -> _Owned:
        owned = self._owned.get(partition)
        if owned is None:
            loaded = self._store.load(partition.number)
            owned = _Owned(loaded.sessions, list(loaded.outbox))
            for key in loaded.sessions:
                session = Session.parse(key.session)
                if session.live:
                    newest = owned.live.get(key.camera_id, session)
                    owned.live[key.camera_id] = max(newest, session)
            self._owned[partition] = owned
            self._count_open()
        return owned

    def _take(
        self, owned: _Owned, record: Record, message: object, steps: dict[Key, _Step]
    ) -> None:
        assert isinstance(message, Prediction | EndOfStream)
        session = Session.parse(message.session)
        if session.live:
            heard_at = min(message.ended_at, record.timestamp * 1_000_000)
            owned.clock = max(owned.clock, heard_at)
            if not self._admit(owned, record.partition.number, message.camera_id, session, steps):
                log.debug("%s: %s is over", message.camera_id, message.session)
                return
        key = Key(record.partition.number, message.camera_id, message.session)
        step = self._step(owned, key, steps)
        if isinstance(message, EndOfStream):
            self._become(step, finish(step.state, message.ended_at, "end"))
            return
        if session.live and message.last_index > step.state.last_index:
            delay = (self._wall_ns() - message.ended_at) / NANOSECONDS
            metrics.latency_seconds.labels(self._rules.lane).observe(max(delay, 0.0))
        self._become(step, advance(step.state, message, owned.clock, self._rules))

    def _admit(
        self,
        owned: _Owned,
        partition: int,
        camera_id: str,
        session: Session,
        steps: dict[Key, _Step],
    ) -> bool:
        """Whether a live session may speak: a newer one fences it while that one is heard."""
        newest = owned.live.get(camera_id)
        if newest is not None and newest != session:
            step = self._step(owned, Key(partition, camera_id, str(newest)), steps)
            silent = owned.clock - step.state.heard_at
            if session < newest and silent <= self._rules.silence:
                return False
            self._become(step, finish(step.state, step.state.seen_at, "superseded"))
        owned.live[camera_id] = session
        return True

    def _close_the_silent(self, partition: int, owned: _Owned, steps: dict[Key, _Step]) -> None:
        keys = owned.sessions.keys() | {key for key in steps if key.partition == partition}
        for key in sorted(keys):
            session = Session.parse(key.session)
            if not session.live:
                continue
            state = steps[key].state if key in steps else owned.sessions[key].state
            if owned.live.get(key.camera_id, session) != session:
                step = self._step(owned, key, steps)
                self._become(step, finish(state, state.seen_at, "superseded"))
            elif state.runs and owned.clock - state.heard_at > self._rules.silence:
                at = state.seen_at + self._rules.silence
                self._become(self._step(owned, key, steps), close_all(state, at, "silence"))

    def _step(self, owned: _Owned, key: Key, steps: dict[Key, _Step]) -> _Step:
        if key not in steps:
            stored = owned.sessions.get(key) or self._store.find(key)
            steps[key] = _Step(stored, stored.state)
        return steps[key]

    @staticmethod
    def _become(step: _Step, moved: tuple[SessionState, list[Moved]]) -> None:
        step.state = moved[0]
        step.moved += moved[1]

    def _write(self, steps: Mapping[Key, _Step]) -> None:
        changed = {key: step for key, step in steps.items() if step.state is not step.stored.state}
        writes = [
            Advance(
                key,
                step.stored.version,
                step.state,
                tuple(_last_of_each(step.moved)),
                tuple(events.to_json(moved) for moved in step.moved),
            )
            for key, step in changed.items()
        ]
        self._store.apply(writes)
        by_number = {partition.number: owned for partition, owned in self._owned.items()}
        for write in writes:
            owned = by_number[write.key.partition]
            if write.state.finished:
                owned.sessions.pop(write.key, None)
                if str(owned.live.get(write.key.camera_id)) == write.key.session:
                    del owned.live[write.key.camera_id]
            else:
                owned.sessions[write.key] = Stored(write.state, write.version + 1)
            owned.waiting += write.events
        self._count([moved for step in changed.values() for moved in step.moved])

    def _count(self, moved: Sequence[Moved]) -> None:
        for transition in moved:
            incident = transition.incident
            log.info("%s %s: %s on %s, peak %.2f", incident.state, incident.id, incident.label,
                     incident.camera_id, incident.peak_score)  # fmt: skip
            if incident.state == "open":
                metrics.incidents_total.labels(
                    incident.lane, incident.camera_id, incident.label
                ).inc()
        if moved:
            self._count_open()

    def _count_open(self) -> None:
        metrics.incidents_open.labels(self._rules.lane).set(
            sum(len(s.state.open) for o in self._owned.values() for s in o.sessions.values())
        )

    def _output(self, partition: int, event: str) -> Output:
        output = Output(self._topic, events.subject(event), event.encode(), events.HEADERS)
        self._sent[output] = (partition, event)
        return output


def _emptied(waiting: list[str]) -> list[str]:
    taken = waiting.copy()
    waiting.clear()
    return taken


def _last_of_each(moved: Sequence[Moved]) -> list[Incident]:
    return list({m.incident.id: m.incident for m in moved}.values())


def decode_prediction(record: Record) -> Prediction | EndOfStream:
    """For the worker; raises InvalidMessage."""
    message = decode(record.value, Prediction, EndOfStream)
    assert isinstance(message, Prediction | EndOfStream)
    if record.key != message.camera_id:
        raise InvalidMessage(f"the key is not the camera id {message.camera_id}")
    return message


def build_worker(
    bus: Bus, configuration: Configuration, stop: threading.Event, store: Store | None = None
) -> Worker:
    """The loop of this service. A `store` given here is closed with the worker all the same."""
    settings = configuration.get(AlertingSettings)
    rules = Rules.of(Bundle(find(settings.bundle)).description, settings)
    topics = Topics(configuration.get(KafkaSettings).prefix)
    window = settings.durability_window_seconds if settings.store == "redis" else 0.0
    stage = AlertingStage(
        rules,
        store or open_store(configuration, rules.lane, stop),
        topics.anomalies,
        durability_window_seconds=window,
    )
    route = Route(
        service="alerting",
        group=topics.group("alerting", rules.lane),
        topics=(topics.predictions(rules.lane),),
        dead_letters=topics.dead_letters,
    )
    worker_settings = configuration.get(WorkerSettings)
    return Worker(bus, stage, decode_prediction, route, worker_settings, stop)
