"""Were the promises of docs/delivery.md kept? Computed from what lies in the topics, alone.

    1  every index of a session is in the frames topic, or the next frame accounts for it
    2  every frame of the lane has a Features record: a vector, same_as, or missing with a reason
    3  every stride end whose window satisfies the gap rule in the features topic has a prediction
    4  every incident transition is recorded once, however often it was delivered

Everywhere a reader's rule is used: of one (camera, session), what does not come after the last one
taken is passed over, so the first content of an id wins. Works for any bus.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shared.bus import Bus, Partition, Record
from shared.codec import decode
from shared.errors import InvalidMessage
from shared.messages import EndOfStream, Features, Frame, Prediction, Session, slot
from shared.topics import Topics

Key = tuple[str, str]
"""Camera and session."""


@dataclass(frozen=True)
class Rules:
    """What the lane was told. `regular`: the cameras have no gaps in time (files, drawn scenes)."""

    lane: str
    fps: float
    window: int
    stride: int
    max_gap: int
    regular: bool = True
    may_shed: bool = False
    transitions: Callable[[Sequence[Prediction | EndOfStream]], Iterable[str]] | None = None
    """Ids of the transitions that one session's predictions must give; None: not compared."""


@dataclass(frozen=True)
class Logs:
    """All records of each topic, in order per partition."""

    frames: list[Record]
    features: list[Record]
    predictions: list[Record]
    anomalies: list[Record]
    dead_letters: list[Record]


def read_logs(bus: Bus, topics: Topics, lane: str) -> Logs:
    """Read five topics from their beginning to their present end."""
    names = [topics.frames, topics.features(lane), topics.predictions(lane), topics.anomalies,
             topics.dead_letters]  # fmt: skip
    bus.ensure_topics(topics.specs(lane))
    reader = bus.consumer(None, names, "beginning")
    records: dict[str, list[Record]] = {name: [] for name in names}
    try:
        while any(reader.lag().values()):
            for record in reader.poll(1000, 1.0):
                records[record.partition.topic].append(record)
    finally:
        reader.close()
    return Logs(*records.values())


def broken_promises(logs: Logs, rules: Rules) -> list[str]:
    """One line for each promise broken; an empty list if all were kept."""
    buried = _buried(logs.dead_letters)
    frames, lines = _sessions(logs.frames, buried, Frame, EndOfStream)
    features, more = _sessions(logs.features, buried, Features, EndOfStream)
    predictions, most = _sessions(logs.predictions, buried, Prediction, EndOfStream)
    lines += more + most
    for key, taken in frames.items():
        name = "/".join(key)
        lines += [f"1 {name}: {line}" for line in _unaccounted(taken, rules)]
        lines += [f"2 {name}: {line}" for line in _unanswered(taken, features.get(key, []), rules)]
    windowed, _ = _sessions(heard(logs.features), buried, Features, EndOfStream)
    for key, taken in windowed.items():
        lines += [
            f"3 {'/'.join(key)}: {line}"
            for line in _unpredicted(key, taken, predictions.get(key, []), rules)
        ]
    lines += [f"3 {'/'.join(key)}: predictions of nothing" for key in predictions.keys() - features]
    lines += [f"4 {line}" for line in _transitions(logs.anomalies, predictions, rules)]
    return lines


# --- what a reader takes --------------------------------------------------------------------------


def _position(message: Any) -> float:
    if isinstance(message, Prediction):
        return message.last_index
    if isinstance(message, Features):
        return message.step
    return message.index if isinstance(message, Frame) else float("inf")


def _sessions(
    records: Iterable[Record], buried: set[tuple[Partition, int]], *kinds: type[Any]
) -> tuple[dict[Key, list[Any]], list[str]]:
    """The messages of each session that a reader takes; and what nobody can read."""
    sessions: defaultdict[Key, list[Any]] = defaultdict(list)
    lines = []
    for record in records:
        if (record.partition, record.offset) in buried:
            continue
        try:
            message = decode(record.value, *kinds)
        except InvalidMessage as error:
            lines.append(f"2 {record.partition} {record.offset}: no dead letter for: {error}")
            continue
        if record.key != message.camera_id:
            lines.append(f"1 {record.partition} {record.offset}: the key is {record.key}")
        taken = sessions[message.camera_id, message.session]
        if not taken or _position(message) > _position(taken[-1]):
            taken.append(message)
    return dict(sessions), lines


def heard(features: Iterable[Record]) -> list[Record]:
    """Without what came of a live session after a newer one of its camera: no window counts it."""
    newest: dict[str, Session] = {}
    kept = []
    for record in features:
        try:
            message: Features | EndOfStream = decode(record.value, Features, EndOfStream)
        except InvalidMessage:
            continue
        session = Session.parse(message.session)
        if session.live and isinstance(message, Features):
            if session < newest.get(message.camera_id, session):
                continue
            newest[message.camera_id] = session
        kept.append(record)
    return kept


def _buried(letters: Iterable[Record]) -> set[tuple[Partition, int]]:
    """Where the originals of the dead letters lie."""
    places = set()
    for letter in letters:
        headers = dict(letter.headers)
        place = Partition(headers["source-topic"].decode(), int(headers["source-partition"]))
        places.add((place, int(headers["source-offset"])))
    return places


# --- promise 1 ------------------------------------------------------------------------------------


def _unaccounted(taken: Sequence[Frame | EndOfStream], rules: Rules) -> Iterator[str]:
    due = 0
    for message in taken:
        absent, counted = message.index - due, sum(message.dropped_before.values())
        if counted > absent or (rules.regular and counted < absent):
            yield f"{absent} frames absent before {message.index}, {counted} accounted for"
        due = message.index + (1 if isinstance(message, Frame) else 0)


# --- promise 2 ------------------------------------------------------------------------------------


def _unanswered(
    frames: Sequence[Frame | EndOfStream], features: Sequence[Features | EndOfStream], rules: Rules
) -> Iterator[str]:
    steps = {f.step for f in features if isinstance(f, Features)}
    ended = any(isinstance(f, EndOfStream) for f in features)
    for frame in frames:
        if frame.lanes and rules.lane not in frame.lanes:
            continue
        if isinstance(frame, EndOfStream):
            if not ended:
                yield "the end of the stream did not come through"
            continue
        step = slot(frame.captured_at, Session.parse(frame.session).started_at, rules.fps)
        if step not in steps:
            yield f"frame {frame.index} has no features of step {step}"
    shed = [f for f in features if isinstance(f, Features) and f.missing == "shed"]
    if shed and not (rules.may_shed and Session.parse(shed[0].session).live):
        yield f"{len(shed)} frames were shed"


# --- promise 3 ------------------------------------------------------------------------------------

Window = tuple[int, int, int]
"""First index, last index, steps that were filled."""


def windows(features: Sequence[Features | EndOfStream], rules: Rules) -> list[Window]:
    """The windows that the gap rule demands of one session, where index and step are the same.

    Written anew, without the classifier's code: it keeps a window, this looks at the whole session.
    """
    covered = _covered({f.step: f for f in features if isinstance(f, Features)}, rules)
    ends = [step for step in covered if (step + 1) % rules.stride == 0]
    spans = [range(end - rules.window + 1, end + 1) for end in sorted(ends)]
    return [
        (span[0], span[-1], sum(covered[step] for step in span))
        for span in spans
        if all(step in covered for step in span)
    ]


def _covered(given: dict[int, Features], rules: Rules) -> dict[int, bool]:
    """The steps that have a vector, and whether it is a fill."""
    covered: dict[int, bool] = {}
    newest, run = -1, 0  # step of the last vector, length of the gap
    for step in range(min(given, default=0), max(given, default=-1) + 1):
        f = given.get(step)
        if f is not None and f.vector is not None:
            covered[step], newest, run = False, step, 0
        elif f is not None and f.same_as == newest and step - 1 in covered:
            covered[step], run = False, 0
        else:
            run += 1
            if run <= rules.max_gap and step - 1 in covered:
                covered[step] = True
    return covered


def _unpredicted(
    key: Key,
    features: Sequence[Features | EndOfStream],
    predictions: Sequence[Prediction | EndOfStream],
    rules: Rules,
) -> Iterator[str]:
    there = {
        (p.first_index, p.last_index, p.gaps): p.id
        for p in predictions
        if isinstance(p, Prediction)
    }
    due = windows(features, rules)
    for first, last, gaps in due:
        wanted = f"{rules.lane}:{key[0]}:{key[1]}:{last}"
        if there.get((first, last, gaps)) != wanted:
            yield f"no prediction {wanted} of {first}..{last} with {gaps} gaps"
    for place in there.keys() - set(due):
        yield f"no such window: {there[place]} of {place[0]}..{place[1]} with {place[2]} gaps"
    if any(isinstance(f, EndOfStream) for f in features) and not any(
        isinstance(p, EndOfStream) for p in predictions
    ):
        yield "the end of the stream did not come through"


# --- promise 4 ------------------------------------------------------------------------------------


def _transitions(
    anomalies: Iterable[Record],
    predictions: dict[Key, list[Prediction | EndOfStream]],
    rules: Rules,
) -> Iterator[str]:
    events: dict[str, dict[str, Any]] = {}
    for record in anomalies:
        event = json.loads(record.value or b"")
        known = events.setdefault(event["id"], event)
        if known != event:
            yield f"{event['id']}: came twice with different content"
        if record.key != event["data"]["camera_id"]:
            yield f"{event['id']}: the key is {record.key}"
    story: defaultdict[str, list[str]] = defaultdict(list)
    for event in events.values():
        story[event["data"]["id"]].append(event["data"]["state"])
    for incident, states in story.items():
        if states not in (["open"], ["open", "closed"]):
            yield f"{incident}: its transitions are {', '.join(states)}"
    over = {key for key, taken in predictions.items() if isinstance(taken[-1], EndOfStream)}
    for event in events.values():
        data = event["data"]
        if (data["camera_id"], data.get("session")) in over and story[data["id"]] == ["open"]:
            yield f"{data['id']}: still open after the end of its stream"
    if rules.transitions is not None:
        wanted = {name for taken in predictions.values() for name in rules.transitions(taken)}
        for name in wanted - events.keys():
            yield f"{name}: not delivered"
        for name in events.keys() - wanted:
            yield f"{name}: nothing gives rise to it"
