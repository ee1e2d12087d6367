"""Reading the dead-letters topic, and the way back from there.

What lies there is never touched. A record goes back as a new one, by its source topic:

    predictions, anomalies   the original value, as it was
    frames, features         as a recording, under a session of its own: the windows of the old one
                             have moved on, and would pass them over
    cameras                  not at all: a newer definition may stand, and would be overwritten

A session of redriven records is named after the first of them, so that redriving the same letters
again gives the same prediction ids, and no second incident.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from shared.bus import Bus, Headers, Output, Partition, Record, read_to_end
from shared.codec import decode, encode
from shared.errors import InvalidMessage
from shared.messages import EndOfStream, Features, Frame, Prediction, Session
from shared.topics import Topics

_ADDED = ("reason", "source-topic", "source-partition", "source-offset")
"""The headers that `shared.bus.dead_letter` puts behind the record's own."""
_GENERATIONS = 10**10  # that a session's name has room for


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record that was put aside. `record` is it as it lies there, `headers` its original's."""

    record: Record
    reason: str
    source: Partition
    source_offset: int
    headers: Headers

    @property
    def place(self) -> str:
        """Its name: `partition/offset` in the dead-letters topic."""
        return f"{self.record.partition.number}/{self.record.offset}"


def letter_of(record: Record) -> DeadLetter:
    """Raises InvalidMessage if the record was not put there as a dead letter."""
    own, added = record.headers[: -len(_ADDED)], record.headers[-len(_ADDED) :]
    if tuple(name for name, _ in added) != _ADDED:
        raise InvalidMessage("its headers do not say where it came from")
    reason, topic, number, offset = (value.decode(errors="replace") for _, value in added)
    try:
        return DeadLetter(record, reason, Partition(topic, int(number)), int(offset), own)
    except ValueError:
        raise InvalidMessage("its headers do not say where it came from") from None


@dataclass(frozen=True)
class Wanted:
    """Which letters are asked for; everything that is stated must hold.

    `topic` is a source topic, or how its name ends (`frames`, `street.features`); `reason` is part
    of the reason; `since` is milliseconds since the epoch; `places` are names of single letters.
    """

    topic: str | None = None
    reason: str | None = None
    cameras: frozenset[str] = frozenset()
    since: int | None = None
    places: frozenset[str] = frozenset()

    def __call__(self, letter: DeadLetter) -> bool:
        """Whether this one is."""
        return (
            (self.topic is None or f".{letter.source.topic}".endswith(f".{self.topic}"))
            and (self.reason is None or self.reason.lower() in letter.reason.lower())
            and (not self.cameras or letter.record.key in self.cameras)
            and (self.since is None or letter.record.timestamp >= self.since)
            and (not self.places or letter.place in self.places)
        )


def read(bus: Bus, topics: Topics, wanted: Wanted) -> Iterator[DeadLetter]:
    """Those that lie there now; of one camera in order, oldest first."""
    for record in read_to_end(bus, topics.dead_letters):
        try:
            letter = letter_of(record)
        except InvalidMessage:  # somebody else's, and nobody could say where it belongs
            continue
        if wanted(letter):
            yield letter


@dataclass
class Redrive:
    """What goes back, in this order, and what does not, each with why."""

    outputs: list[Output] = field(default_factory=list)
    taken: list[DeadLetter] = field(default_factory=list)
    refused: list[tuple[DeadLetter, str]] = field(default_factory=list)
    sessions: list[tuple[str, str]] = field(default_factory=list)
    """Camera and session of what goes back as a recording."""


def redrive(letters: Sequence[DeadLetter], topics: Topics) -> Redrive:
    """How these letters, oldest first, would go back. Sends nothing."""
    plan = Redrive()
    known: dict[tuple[Partition, int], DeadLetter] = {}
    pieces: dict[tuple[str, str, str], list[tuple[DeadLetter, Frame | Features]]] = {}
    for letter in letters:
        first = known.setdefault((letter.source, letter.source_offset), letter)
        if first is not letter:
            plan.refused.append((letter, f"the same record as {first.place}"))
            continue
        try:
            message = _checked(letter, topics)
        except InvalidMessage as error:
            plan.refused.append((letter, str(error)))
            continue
        if isinstance(message, Frame | Features):
            key = (letter.source.topic, message.camera_id, message.session)
            pieces.setdefault(key, []).append((letter, message))
            continue
        plan.taken.append(letter)
        plan.outputs.append(
            Output(letter.source.topic, letter.record.key, letter.record.value, _headers(letter))
        )
    for (topic, camera_id, session), parts in pieces.items():
        _as_recording(plan, topic, camera_id, Session.parse(session), parts)
    return plan


def _checked(letter: DeadLetter, topics: Topics) -> Frame | Features | None:
    """The message of a letter that has to be converted, None for one that goes back as it is.

    Raises InvalidMessage if it cannot go back, with why.
    """
    value, key, topic = letter.record.value, letter.record.key, letter.source.topic
    kind = topic.rpartition(".")[2]
    if not topic.startswith(f"{topics.prefix}.") or topic == topics.dead_letters:
        raise InvalidMessage(f"{topic} is no topic of this deployment")
    if kind == "cameras":
        raise InvalidMessage("a newer definition may stand; see `citywatch cameras add`")
    try:
        if kind == "predictions":
            decode(value, Prediction, EndOfStream)
            return None
        if kind == "anomalies":
            return None
        message = decode(value, Features if kind == "features" else Frame, EndOfStream)
    except InvalidMessage as error:
        raise InvalidMessage(f"it would be refused again: {error}") from None
    if isinstance(message, EndOfStream):
        raise InvalidMessage("the end of a session, which is over by now")
    if message.camera_id != key:
        raise InvalidMessage("it would be refused again: its key is not its camera")
    assert isinstance(message, Frame | Features)
    return message


def _as_recording(
    plan: Redrive,
    topic: str,
    camera_id: str,
    old: Session,
    parts: list[tuple[DeadLetter, Frame | Features]],
) -> None:
    """These records of one session as a session of a recording, in order, and its end.

    One camera's letters lie in one partition: the first one's offset names the session.
    """
    offset = parts[0][0].record.offset
    session = str(Session((offset + 1) % _GENERATIONS, old.started_at, live=False))
    last: Frame | Features | None = None
    for letter, message in sorted(parts, key=lambda part: part[1].index):
        if last is not None and message.index <= last.index:
            plan.refused.append((letter, f"index {message.index} is there already"))
            continue
        last = message
        moved = (
            replace(message, session=session, live=False, dropped_before={})
            if isinstance(message, Frame)
            else replace(message, session=session)
        )
        plan.taken.append(letter)
        plan.outputs.append(Output(topic, camera_id, encode(moved), _headers(letter)))
    assert last is not None
    lanes = last.lanes if isinstance(last, Frame) else (last.lane,)
    end = EndOfStream(camera_id, session, last.index + 1, last.captured_at, "end", lanes)
    plan.outputs.append(Output(topic, camera_id, encode(end)))
    plan.sessions.append((camera_id, session))


def _headers(letter: DeadLetter) -> Headers:
    return (*letter.headers, ("redriven-from", letter.place.encode()))
