"""What a store of incidents keeps, and the protocol that `store_sqlite` and `store_redis` share.

A store belongs to one lane. Everything lies under the number of the partition that its camera's
predictions come from, for that is what a worker gains and loses. One `Step` of a partition is
atomic: the states of all sessions that a batch changed, the partition's clock, incidents, and the
events for its outbox; or nothing changes and `Conflict` is raised. Steps are counted, and a step
applies only on top of as many as its writer knows of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pydantic import TypeAdapter

from alerting.incidents import Incident, SessionState
from shared.errors import Transient

INCIDENT = TypeAdapter(Incident)


class Conflict(Transient):
    """The store holds something else than this worker has put there, in this `partition`.

    Another worker owns the partition now, or the store died and lost its last writes. Either way
    the records are to be read again from the committed offsets, onto the state that is there.
    """

    def __init__(self, text: str, partition: int) -> None:
        super().__init__(text)
        self.partition = partition


class Key(NamedTuple):
    """One session of one camera."""

    camera_id: str
    session: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a batch does to a partition, as its step `number` (the first is 1).

    `clock` is the event time of the partition's live cameras, ns.
    """

    partition: int
    number: int
    clock: int = 0
    states: Mapping[Key, SessionState] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a partition's new owner must know: unfinished sessions, and events not yet delivered.

    `steps` is how many there have been, `clock` that of the last one.
    """

    sessions: Mapping[Key, SessionState] = field(default_factory=dict)
    outbox: tuple[str, ...] = ()
    clock: int = 0
    steps: int = 0


class Store(Protocol):
    """Every method raises Transient when the store does not answer."""

    def load(self, partition: int) -> Loaded:
        """The unfinished sessions and the outbox, oldest event first."""

    def find(self, partition: int, key: Key) -> SessionState:
        """One session, finished or not; an empty state if it is not known (any more)."""

    def apply(self, steps: Sequence[Step]) -> None:
        """Take the steps, each atomically; raises Conflict."""

    def verify(self, partitions: Collection[int]) -> None:
        """Raise Conflict unless every step since `load` of these partitions is still there.

        What has been there for longer than the store may lose is there for good.
        """

    def delivered(self, partition: int, events: Collection[str]) -> None:
        """Take these events out of the outbox; unknown ones do not matter."""

    def incidents(
        self,
        *,
        camera_id: str | None = None,
        label: str | None = None,
        since: int | None = None,
        open_only: bool = False,
        limit: int = 1000,
    ) -> list[Incident]:
        """Incidents that had not ended before `since` (ns), newest first."""

    def close(self) -> None:
        """Free everything."""


def selected(
    found: Collection[Incident],
    camera_id: str | None,
    label: str | None,
    since: int | None,
    open_only: bool,
    limit: int,
) -> list[Incident]:
    """Those that a query asks for, newest first."""
    wanted = [
        incident
        for incident in found
        if (camera_id is None or incident.camera_id == camera_id)
        and (label is None or incident.label == label)
        and (since is None or incident.ended_at is None or incident.ended_at >= since)
        and (not open_only or incident.state == "open")
    ]
    wanted.sort(key=lambda incident: (incident.started_at, incident.id), reverse=True)
    return wanted[:limit]
