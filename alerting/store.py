"""What a store of incidents keeps, and the protocol that `store_sqlite` and `store_redis` share.

A store belongs to one lane. Everything lies under the number of the partition that its camera's
predictions come from, for that is what a worker gains and loses. One `Advance` is atomic: the new
state replaces exactly the version that it was computed from, together with its incidents and the
events for the partition's outbox; or nothing changes and `Conflict` is raised.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    """One session of one camera, in the partition that carries the camera."""

    partition: int
    camera_id: str
    session: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A session's state and how often it was replaced; version 0 is a session never stored."""

    state: SessionState = field(default_factory=SessionState)
    version: int = 0


@dataclass(frozen=True, slots=True)
class Advance:
    """One step of one session: `state` replaces version `version`."""

    key: Key
    version: int
    state: SessionState
    incidents: tuple[Incident, ...] = ()
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a partition's new owner must know: unfinished sessions, and events not yet delivered."""

    sessions: dict[Key, Stored]
    outbox: tuple[str, ...]


class Store(Protocol):
    """Every method raises Transient when the store does not answer."""

    def load(self, partition: int) -> Loaded:
        """The unfinished sessions and the outbox, oldest event first."""

    def find(self, key: Key) -> Stored:
        """One session, finished or not; version 0 if it is not known (any more)."""

    def apply(self, steps: Sequence[Advance]) -> None:
        """Take the steps in order, each atomically; raises Conflict."""

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
