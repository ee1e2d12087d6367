"""Servers of their own, the four services as processes, and what can be asked of them."""

from __future__ import annotations

import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from prometheus_client.parser import text_string_to_metric_families

from shared.bundle import Bundle
from shared.bus import Output
from shared.bus_kafka import KafkaBus
from shared.errors import Transient
from shared.settings import Configuration, KafkaSettings
from shared.topics import Topics
from tests.faults.plan import SERVICES
from tests.support.broker import Kafka, Redis, free_port
from tests.support.replicas import Replicas

_SEND_SECONDS = 30.0
_ANSWER_SECONDS = 5.0
WORKERS = ("featurizer", "classifier", "alerting")
_HELD_BACK_MS = 12_000


class Stand:
    """A broker, a Redis and replicas of the services. `close` leaves no process behind."""

    def __init__(
        self, folder: Path, bundle: Bundle, prefix: str, settings: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.bundle = bundle
        self.lane = bundle.name
        self.topics = Topics(prefix)
        self.kafka = Kafka(folder / "kafka")
        self.redis = Redis(folder / "redis")
        self.environment = {
            "CITYWATCH_KAFKA_BOOTSTRAP_SERVERS": self.kafka.address,
            "CITYWATCH_KAFKA_PREFIX": prefix,
            "CITYWATCH_ALERTING_REDIS_URL": self.redis.url,
            **settings,
        }
        self.settings = Configuration(environment=self.environment).get(KafkaSettings)
        self.services = Replicas(self.environment, folder)
        self._ports: dict[str, int] = {}
        self._bus: KafkaBus | None = None

    def start(self) -> None:
        """Start both servers, and make the topics."""
        for server in (self.kafka, self.redis):
            server.start(wait=False)
        for server in (self.kafka, self.redis):
            server.wait_ready()
        self._bus = KafkaBus(self.settings)
        _patiently(lambda: self.bus.ensure_topics(self.topics.specs(self.lane)))

    def run(
        self, replicas: Mapping[str, int], broken: Collection[str] = (), *, measured: bool = False
    ) -> None:
        """Start so many processes of each service; `broken` workers commit before they send.

        Those hold their outputs back, so that there is always something for them to lose.
        `measured`: each opens a port, so that `metrics` can ask it.
        """
        for service in SERVICES:
            for number in range(replicas[service]):
                options: list[str] = []
                if measured:
                    port = self._ports[f"{service}-{number}"] = free_port()
                    options += ["--set", f"service.port={port}"]
                if service in WORKERS:
                    options += ["--set", f"{service}.bundle={self.bundle.folder}"]
                before = []
                if service in broken:
                    before = ["tests.faults.broken"]
                    options += ["--set", f"kafka.linger_ms={_HELD_BACK_MS}"]
                self.services.add(service, number, [*before, service, *options])

    @property
    def bus(self) -> KafkaBus:
        """To read from and write to."""
        assert self._bus is not None, "not started"
        return self._bus

    def send(self, outputs: Iterable[Output]) -> None:
        """Send these records; raises Transient if Kafka does not answer for a minute."""
        kept = list(outputs)

        def work() -> None:
            producer = self.bus.producer()
            try:
                for output in kept:
                    producer.send(output)
                left = producer.flush(_SEND_SECONDS)
            finally:
                producer.close()
            if left:
                raise left[0][1]

        _patiently(work)

    def lag(self) -> int:
        """Records that the three workers' groups have not committed yet."""
        return sum(self.lags().values())

    def lags(self) -> dict[str, int]:
        """The same by service."""
        of = {
            self.topics.group("featurizer", self.lane): self.topics.frames,
            self.topics.group("classifier", self.lane): self.topics.features(self.lane),
            self.topics.group("alerting", self.lane): self.topics.predictions(self.lane),
        }
        places = {
            group: [TopicPartition(topic, n) for n in range(self.settings.partitions)]
            for group, topic in of.items()
        }
        admin = KafkaAdminClient(bootstrap_servers=self.kafka.address)
        try:
            done = admin.list_group_offsets(places)
            wanted = {place: OffsetSpec.LATEST for some in places.values() for place in some}
            ends = admin.list_partition_offsets(wanted)
        finally:
            admin.close()
        return {
            service: sum(ends[p].offset - max(done[group][p].offset, 0) for p in places[group])
            for service in WORKERS
            for group in [self.topics.group(service, self.lane)]
        }

    def metrics(self, service: str) -> dict[str, float]:
        """All replicas' metrics added up: by name, and by `name{kind}` where there is a kind.

        What does not answer, for it is starting, adds nothing.
        """
        sums: defaultdict[str, float] = defaultdict(float)
        for name, port in self._ports.items():
            if not name.startswith(f"{service}-"):
                continue
            try:
                address = f"http://127.0.0.1:{port}/metrics"
                with urllib.request.urlopen(address, timeout=_ANSWER_SECONDS) as answer:
                    text = answer.read().decode()
            except OSError:
                continue
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    kind = sample.labels.get("kind")
                    sums[f"{sample.name}{{{kind}}}" if kind else sample.name] += sample.value
        return dict(sums)

    def close(self) -> None:
        """End everything."""
        self.services.kill_all()
        if self._bus is not None:
            self._bus.close()
        for server in (self.kafka, self.redis):
            server.thaw()
            server.kill()


def _patiently(work: Callable[[], None]) -> None:
    """Do it as soon as Kafka answers: on a busy machine it may miss its own heartbeats."""
    until = time.monotonic() + 2 * _SEND_SECONDS
    while True:
        try:
            work()
        except Transient:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
        else:
            return
