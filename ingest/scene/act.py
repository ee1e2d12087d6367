"""What an act hands to the scene: performers, vehicles and effects, with the event it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.scene.choreography import Performer
from ingest.scene.effects import Debris, Plume
from ingest.scene.track import Track
from ingest.scene.vehicles import Model
from shared.messages import Region


@dataclass(frozen=True)
class Event:
    """Something that happens: `label` as a model knows it, `act` as it is drawn.

    `start` and `end` are seconds since the scene began; `region` is left, top, width and height as
    fractions of the picture.
    """

    label: str
    start: float
    end: float
    region: Region
    act: str


@dataclass(frozen=True)
class Act:
    """One drawn act. `clear` is when traffic stays away; `flee` is where people run from."""

    event: Event
    performers: list[Performer] = field(default_factory=list)
    vehicles: list[tuple[Model, Track]] = field(default_factory=list)
    plumes: list[Plume] = field(default_factory=list)
    debris: list[Debris] = field(default_factory=list)
    clear: tuple[float, float] | None = None
    flee: tuple[float, float, float] | None = None
    flash: tuple[float, float, float] | None = None

    @property
    def span(self) -> tuple[float, float]:
        """From when to when anything of it is to be seen."""
        starts = [self.event.start, *(p.track.start for p in self.performers)]
        ends = [self.event.end + 2.5, *(p.track.end for p in self.performers)]
        starts += [track.start for _, track in self.vehicles]
        ends += [track.end for _, track in self.vehicles]
        return min(starts), max(ends)
