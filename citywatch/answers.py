"""What the lanes of a deployment say on one session: its predictions, its end, its incidents.

Only the partitions of its camera are read, so that a fleet's other cameras cost nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from alerting.events import IncidentData, from_json
from citywatch.deployment import Deployment
from shared.bus import Bus, Record
from shared.codec import decode
from shared.errors import InvalidMessage
from shared.messages import EndOfStream, Prediction

_AT_ONCE = 500  # records


class Tail:
    """A camera's records in one topic, from now on."""

    def __init__(self, bus: Bus, topic: str, camera_id: str) -> None:
        self._bus = bus
        self._topic = topic
        self._camera_id = camera_id
        self._next = bus.standing(topic, camera_id).end

    def take(self) -> list[Record]:
        """What has come since; some of it, if it is much. Raises Transient."""
        partition, end, _ = self._bus.standing(self._topic, self._camera_id)
        end = min(end, self._next + _AT_ONCE)
        if end <= self._next:
            return []
        records = self._bus.read(partition, self._next, end - 1)
        self._next = end
        return [record for record in records if record.key == self._camera_id]


class LaneAnswers:
    """One lane, as it works through a recording that is being published."""

    def __init__(self, there: Deployment, name: str, camera_id: str, session: str) -> None:
        self.name = name
        self.windows = 0
        self.moved = 0  # grows with every sign that the lane works
        self._bus, self._topics = there.bus, there.topics
        self._camera_id, self._session = camera_id, session
        self._predictions = Tail(self._bus, self._topics.predictions(name), camera_id)
        self._last_index = -1
        self._ends: dict[int, int] = {}  # offsets of ends of the session, by their index
        self._unseen: deque[int] = deque()  # times of frames that no window has reached
        self._lag = 0  # of the featurizer, records of its neighbours included
        self._committed = 0
        self._pace = 0.0  # records a second that it commits, by the best of late
        self._committed_at = time.monotonic()

    @property
    def ahead(self) -> int:
        """Frames published that the lane has not taken yet, at most.

        The featurizer's commits tell it, and where neighbours' records lie between, the windows.
        """
        return min(self._lag, len(self._unseen))

    def takes(self, seconds: float) -> int:
        """Frames that the featurizer gets through in so long, as far as is known."""
        return round(self._pace * seconds)

    @property
    def unseen(self) -> int:
        """Frames published that are in no window yet."""
        return len(self._unseen)

    def published(self, at: int) -> None:
        """A frame of this time is on its way."""
        self._unseen.append(at)
        self._lag += 1

    def look(self) -> list[Prediction]:
        """Windows that are new, each once. Raises Transient."""
        frames = self._bus.standing(
            self._topics.frames, self._camera_id, self._topics.group("featurizer", self.name)
        )
        self._lag = frames.end - frames.committed
        if frames.committed != self._committed:
            self.moved += 1
            now = time.monotonic()
            grown = frames.committed - self._committed if self._committed else 0
            self._pace = max(grown / max(now - self._committed_at, 1e-3), 0.7 * self._pace)
            self._committed, self._committed_at = frames.committed, now
        found = []
        for record in self._predictions.take():
            try:
                message = decode(record.value, Prediction, EndOfStream)
            except InvalidMessage:  # alerting puts it aside, and says so
                continue
            if message.session != self._session:
                continue
            self.moved += 1
            if isinstance(message, EndOfStream):
                self._ends[message.index] = record.offset
            elif isinstance(message, Prediction) and message.last_index > self._last_index:
                self._last_index = message.last_index
                found.append(message)
                while self._unseen and self._unseen[0] <= message.ended_at:
                    self._unseen.popleft()
        self.windows += len(found)
        return found

    def ended(self, index: int) -> bool:
        """Whether the end of the session at this index has come out of the classifier."""
        return index in self._ends

    def over(self, end_index: int) -> bool:
        """Whether alerting has dealt with that end, too. Raises Transient."""
        offset = self._ends.get(end_index)
        if offset is None:
            return False
        self._unseen.clear()  # the last frames are in no window
        alerting = self._bus.standing(
            self._topics.predictions(self.name),
            self._camera_id,
            self._topics.group("alerting", self.name),
        )
        return alerting.committed > offset


class Incidents:
    """Transitions of the session's incidents on any of these lanes, each once."""

    def __init__(
        self, there: Deployment, lanes: Sequence[str], camera_id: str, session: str
    ) -> None:
        self._tail = Tail(there.bus, there.topics.anomalies, camera_id)
        self._lanes, self._session = lanes, session
        self._seen: set[str] = set()
        self.opened: dict[str, int] = dict.fromkeys(lanes, 0)

    def look(self) -> list[IncidentData] | None:
        """New transitions; None if there is nothing at all to read. Raises Transient."""
        records = self._tail.take()
        found = []
        for record in records:
            try:
                event = from_json(record.value)
            except InvalidMessage:  # another program's
                continue
            incident = event.incident
            ours = incident.session == self._session and incident.lane in self._lanes
            if not ours or event.id in self._seen:
                continue
            self._seen.add(event.id)
            self.opened[incident.lane] += incident.state == "open"
            found.append(incident)
        return found if records else None
