"""The logic of alerting on messages, and the worker that runs it.

A batch goes: events that a dead owner left in the outbox, then the predictions through their
partition's ledger, then one atomic step per partition into the store, then out with the events that
are new in the outbox. `durable` takes them out again. An event in the outbox always has an
uncommitted record behind it, so a new owner of the partition reads a record, loads the outbox with
it, and sends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from alerting import events
from alerting.incidents import Incident, Rules, Transition
from alerting.ledger import Ledger
from alerting.open_store import open_store
from alerting.settings import AlertingSettings
from alerting.store import Conflict, Step, Store
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
class _Owned:
    """A partition that this worker reads: its ledger, steps stored, and events to be sent."""

    ledger: Ledger
    steps: int
    waiting: list[str]


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
        finally:  # what could not be stored is read again, and so is what it is added to
            if unstored := [p for p, owned in self._owned.items() if owned.ledger.changed]:
                self.forget(unstored)

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
        for received in batch:
            record = received.record
            owned = self._own(record.partition)
            recent = self._recent.setdefault(record.partition, deque())
            if not recent or recent[-1][0] != now:
                recent.append((now, record.offset))
            self._take(owned.ledger, record, received.message)
        self._write()
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
            number = partition.number
            loaded = self._store.load(number)
            find = partial(self._store.find, number)
            ledger = Ledger(self._rules, loaded.sessions, loaded.clock, find)
            owned = self._owned[partition] = _Owned(ledger, loaded.steps, list(loaded.outbox))
            self._count_open()
        return owned

    def _take(self, ledger: Ledger, record: Record, message: object) -> None:
        assert isinstance(message, Prediction | EndOfStream)
        new = ledger.take(message, record.timestamp * 1_000_000)
        if new and isinstance(message, Prediction) and Session.parse(message.session).live:
            delay = (self._wall_ns() - message.ended_at) / NANOSECONDS
            metrics.latency_seconds.labels(self._rules.lane).observe(max(delay, 0.0))

    def _write(self) -> None:
        changed = [(p.number, o) for p, o in self._owned.items() if o.ledger.changed]
        steps = [
            Step(
                number,
                owned.steps + 1,
                owned.ledger.clock,
                owned.ledger.changed,
                tuple(_last_of_each(owned.ledger.transitions)),
                tuple(events.to_json(moved) for moved in owned.ledger.transitions),
            )
            for number, owned in changed
        ]
        self._store.apply(steps)
        moved: list[Transition] = []
        for (_, owned), step in zip(changed, steps, strict=True):
            owned.steps = step.number
            owned.waiting += step.events
            moved += owned.ledger.transitions
            owned.ledger.stored()
        self._count(moved)

    def _count(self, moved: Sequence[Transition]) -> None:
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
            sum(len(owned.ledger.open) for owned in self._owned.values())
        )

    def _output(self, partition: int, event: str) -> Output:
        output = Output(self._topic, events.subject(event), event.encode(), events.HEADERS)
        self._sent[output] = (partition, event)
        return output


def _emptied(waiting: list[str]) -> list[str]:
    taken = waiting.copy()
    waiting.clear()
    return taken


def _last_of_each(moved: Sequence[Transition]) -> list[Incident]:
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
