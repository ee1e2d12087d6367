"""Lives of the three small services on a memory bus, ended by a crash or by having done all."""

from __future__ import annotations

import threading

from shared.bus import Partition
from shared.bus_memory import MemoryBus
from shared.settings import WorkerSettings
from shared.topics import Topics
from tests.faults.checker import Logs, read_logs
from tests.faults.crashing import Crash, CrashingBus, Fuse
from tests.faults.pipeline import LANE, STAGES, film, source, worker

TOPICS = Topics("faults")
SETTINGS = WorkerSettings(max_records=7, max_wait_seconds=0, commit_interval_seconds=0, in_flight=2)


def film_bus() -> MemoryBus:
    """A bus with both cameras' frames."""
    bus = MemoryBus(partitions=2, capacity=1 << 20)
    bus.ensure_topics(TOPICS.specs(LANE))
    film(bus, TOPICS)
    return bus


def run(bus: MemoryBus, service: str, fuse: Fuse) -> None:
    """Run one service until it has worked off its topic, again from the start if it crashes."""
    if not live(bus, service, fuse):
        assert live(bus, service, fuse), "it crashed twice"


def live(bus: MemoryBus, service: str, fuse: Fuse) -> bool:
    """One life of a service; whether it ended well."""
    stop = threading.Event()
    living = worker(CrashingBus(bus, fuse), TOPICS, service, fuse, SETTINGS, stop)
    crashed: list[Crash] = []

    def body() -> None:
        try:
            living.run()
        except Crash as crash:
            with bus.changed:
                crashed.append(crash)
                bus.changed.notify_all()

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    with bus.changed:
        assert bus.changed.wait_for(lambda: crashed or committed(bus, service), 20)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    return not crashed


def committed(bus: MemoryBus, service: str) -> bool:
    """Whether the service has committed its whole topic."""
    places = [Partition(source(service, TOPICS), n) for n in range(bus.partitions)]
    offsets = bus._groups[TOPICS.group(service, LANE)].committed
    return all(offsets.get(place, 0) == bus.log(place).end for place in places)


def flow(fuses: dict[str, Fuse]) -> Logs:
    """Both cameras' films through all three services, one after the other."""
    bus = film_bus()
    for service in STAGES:
        run(bus, service, fuses.get(service, Fuse("never", 1)))
    return read_logs(bus, TOPICS, LANE)
