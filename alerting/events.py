"""Incident transitions as CloudEvents 1.0 in JSON (structured mode), and back.

`incident-event.schema.json` beside this file says the same as JSON Schema; `docs/events.md` in
words. The bytes of a transition depend on nothing but the predictions it came from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alerting.incidents import Evidence, Incident, Reason, Transition
from shared.bus import Headers
from shared.errors import InvalidMessage
from shared.messages import NANOSECONDS, FrameReference

CONTENT_TYPE = "application/cloudevents+json"
HEADERS: Headers = (("content-type", CONTENT_TYPE.encode()),)
_TYPES = {"open": "citywatch.incident.opened", "closed": "citywatch.incident.closed"}
Seconds = Annotated[float, Field(description="since the Unix epoch; a file's: since it began")]


class _Part(BaseModel):
    # A reader must survive fields that a newer writer adds.
    model_config = ConfigDict(frozen=True, extra="ignore")


class FramePlace(_Part):
    """Where a frame lies in the frames topic."""

    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]


class IncidentData(_Part):
    """The `data` of an event."""

    id: str
    lane: str
    camera_id: str
    session: str
    label: str
    state: Literal["open", "closed"]
    started_at: Seconds
    ended_at: Seconds | None
    peak_score: Annotated[float, Field(ge=0, le=1)]
    evidence: Evidence
    reason: Reason | None
    frames: tuple[FramePlace, FramePlace]
    fingerprint: str

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {"type": "incident", **self.model_dump(mode="json")}


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """An event as read from the anomaly topic; `text` is its JSON, untouched."""

    id: str
    time: str
    incident: IncidentData
    text: str


def data_of(incident: Incident) -> IncidentData:
    """The incident as users see it: times in seconds."""
    assert incident.state != "rising", "not an incident yet"
    ended = incident.ended_at
    return IncidentData(
        id=incident.id,
        lane=incident.lane,
        camera_id=incident.camera_id,
        session=incident.session,
        label=incident.label,
        state=incident.state,
        started_at=incident.started_at / NANOSECONDS,
        ended_at=None if ended is None else ended / NANOSECONDS,
        peak_score=round(incident.peak_score, 6),
        evidence=incident.evidence,
        reason=incident.reason,
        frames=(_place(incident.frames[0]), _place(incident.frames[1])),
        fingerprint=incident.fingerprint,
    )


def to_json(transition: Transition) -> str:
    """One CloudEvent, compact."""
    incident = transition.incident
    event = {
        "specversion": "1.0",
        "id": transition.id,
        "type": _TYPES[incident.state],
        "source": f"/citywatch/{incident.lane}",
        "subject": incident.camera_id,
        "time": _rfc3339(transition.at),
        "datacontenttype": "application/json",
        "data": data_of(incident).model_dump(mode="json"),
    }
    return json.dumps(event, separators=(",", ":"))


def from_json(value: bytes | str | None) -> IncidentEvent:
    """What `to_json` wrote; raises InvalidMessage for anything else."""
    if value is None:
        raise InvalidMessage("no value")
    try:
        text = value if isinstance(value, str) else value.decode()
        event = json.loads(text)
        if not isinstance(event, dict) or event.get("specversion") != "1.0":
            raise InvalidMessage("not a CloudEvent 1.0")
        if event.get("type") not in _TYPES.values():
            raise InvalidMessage(f"type {str(event.get('type'))[:80]!r} is not an incident's")
        name, at = event.get("id"), event.get("time", "")
        if not isinstance(name, str) or not isinstance(at, str):
            raise InvalidMessage("id and time must be texts")
        incident = IncidentData.model_validate(event.get("data"))
        return IncidentEvent(name, at, incident, text)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise InvalidMessage(
            f"data.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"not a CloudEvent: {type(error).__name__}: {error}") from None


def subject(event: str) -> str:
    """The camera of an event that `to_json` wrote: the key that it is sent under."""
    return str(json.loads(event)["subject"])


def _place(reference: FrameReference) -> FramePlace:
    return FramePlace(partition=reference.partition, offset=reference.offset)


def _rfc3339(ns: int) -> str:
    seconds, rest = divmod(ns, NANOSECONDS)
    day = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{day}.{rest // 1_000_000:03d}Z"
