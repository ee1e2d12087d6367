"""Incident transitions as CloudEvents: the schema holds, and hostile bytes are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import alerting
from alerting import events
from alerting.incidents import Rules, SessionState, Transition, advance
from alerting.settings import AlertingSettings
from shared.errors import InvalidMessage
from tests.support.predictions import LIVE, description, prediction, seconds

assert alerting.__file__ is not None
SCHEMA = json.loads((Path(alerting.__file__).parent / "incident-event.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
DOCUMENT = (Path(__file__).parents[2] / "docs/events.md").read_text()


def transitions(label: str = "fighting", session: str = LIVE) -> list[Transition]:
    rules = Rules.of(description(), AlertingSettings())
    state, moved = SessionState(), list[Transition]()
    start = 1_700_000_000.25
    for i, score in enumerate([0.9, 0.9, 0.95, 0.1, 0.1, 0.1, 0.1]):
        message = prediction(start + i, {label: score}, session=session, index=i * 15)
        state, more = advance(state, message, message.ended_at, rules)
        moved += more
    return moved


def test_opened_and_closed_are_valid_cloudevents() -> None:
    opened, closed = (json.loads(events.to_json(t)) for t in transitions())
    for event in (opened, closed):
        VALIDATOR.validate(event)
    assert opened["type"] == "citywatch.incident.opened"
    assert opened["id"] == f"street:gate-3:{LIVE}:fighting:0:open"
    assert (opened["source"], opened["subject"]) == ("/citywatch/street", "gate-3")
    assert opened["time"] == "2023-11-14T22:13:21.250Z"
    assert closed["type"] == "citywatch.incident.closed"
    assert closed["data"]["started_at"] == 1_700_000_000.25
    assert closed["data"]["ended_at"] == 1_700_000_002.25
    assert closed["data"]["peak_score"] == 0.95
    assert events.HEADERS == (("content-type", b"application/cloudevents+json"),)


def test_a_label_that_was_only_drawn_says_so() -> None:
    for label, evidence in (("explosion", "synthetic"), ("fighting", "real")):
        found = [json.loads(events.to_json(t))["data"]["evidence"] for t in transitions(label)]
        assert found == [evidence, evidence]


def test_round_trip() -> None:
    for transition in transitions():
        text = events.to_json(transition)
        event = events.from_json(text.encode())
        assert event.incident == events.data_of(transition.incident)
        assert (event.id, event.text) == (transition.id, text)
        assert event.incident.as_json()["type"] == "incident"


def test_a_reader_survives_fields_of_a_newer_writer() -> None:
    event = json.loads(events.to_json(transitions()[0]))
    event["traceparent"] = "00-1-2-01"
    event["data"]["clip"] = "https://example.org/clip.mp4"
    VALIDATOR.validate(event)
    assert events.from_json(json.dumps(event)).incident.label == "fighting"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"specversion": "0.3"}, "CloudEvent 1.0"),
        ({"type": "com.example.other"}, "not an incident's"),
        ({"data": None}, "data"),
        ({"data": {"id": "x"}}, "data.lane: Field required"),
        ({"id": None}, "must be texts"),
    ],
)
def test_other_events_are_refused(change: dict[str, Any], words: str) -> None:
    event = json.loads(events.to_json(transitions()[0])) | change
    assert list(VALIDATOR.iter_errors(event)), "the schema refuses it too"
    with pytest.raises(InvalidMessage, match=words):
        events.from_json(json.dumps(event))


@given(st.one_of(st.none(), st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_hostile_bytes(value: bytes | None) -> None:
    with pytest.raises(InvalidMessage):
        events.from_json(value)


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
))  # fmt: skip
def test_hostile_data(data: Any) -> None:
    event = json.loads(events.to_json(transitions()[0])) | {"data": data}
    with pytest.raises(InvalidMessage):
        events.from_json(json.dumps(event))


def test_the_documents_example_is_an_event() -> None:
    blocks = DOCUMENT.split("```json\n")[1:]
    assert blocks
    for block in blocks:
        event = json.loads(block.split("```")[0])
        VALIDATOR.validate(event)
        events.from_json(json.dumps(event))


def test_the_document_names_every_field() -> None:
    for name in SCHEMA["properties"] | SCHEMA["properties"]["data"]["properties"]:
        assert f"`{name}`" in DOCUMENT, name


def test_times_before_the_epoch_of_files_have_a_form() -> None:
    opened = transitions(session="file-0-0")[0]
    early = Transition(opened.incident, seconds(5.0005))
    assert json.loads(events.to_json(early))["time"] == "1970-01-01T00:00:05.000Z"
