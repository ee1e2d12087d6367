"""`citywatch dead-letters`: what was put aside, why, and the way back."""

from __future__ import annotations

import base64
import heapq
import json as jsonlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgpack
import typer
from rich.console import Console
from rich.table import Table

from citywatch.deployment import Deployment
from citywatch.moments import since as moment
from shared.dead_letters import DeadLetter, Redrive, Wanted, read, redrive
from shared.errors import InvalidInput

_HEAD = 48  # bytes shown of a value that is nothing we know


def wish(
    topic: str | None,
    reason: str | None,
    cameras: Sequence[str],
    since: str | None,
    places: Sequence[str] = (),
) -> Wanted:
    """The filter that the command line states; raises InvalidInput."""
    for place in places:
        if not re.fullmatch(r"\d+/\d+", place):
            raise InvalidInput(f"{place}: name a letter as `list` does, such as 3/17")
    after = None if since is None else round(moment(since) * 1000)
    return Wanted(topic, reason, frozenset(cameras), after, frozenset(places))


def list_letters(there: Deployment, wanted: Wanted, limit: int, *, json: bool) -> None:
    """Print the newest `limit` that are wanted, oldest first."""
    found, count = _newest(there, wanted, limit)
    if json:
        for letter in found:
            print(jsonlib.dumps(_fields(letter)))
        return
    console = Console(highlight=False)
    if not found:
        console.print("No dead letters." if wanted == Wanted() else "No such dead letters.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("letter", "put aside", "camera", "from", "bytes", "reason"):
        table.add_column(name, overflow="fold")
    for letter in found:
        record = letter.record
        table.add_row(
            letter.place, _clock(record.timestamp), _key(letter), _source(letter),
            f"{len(record.value or b''):,}", letter.reason,
        )  # fmt: skip
    console.print(table)
    if count > len(found):
        console.print(f"{count - len(found):,} older ones are not shown; see --limit", style="dim")


def show(there: Deployment, place: str, save: Path | None, *, json: bool) -> None:
    """Print one letter with its headers and what is in it; write its value to `save`."""
    found, _ = _newest(there, wish(None, None, (), None, [place]), 1)
    if not found:
        raise InvalidInput(f"{place}: no such dead letter; see `citywatch dead-letters list`")
    (letter,) = found
    value = letter.record.value
    if save is not None:
        save.write_bytes(value or b"")
    if json:
        encoded = None if value is None else base64.b64encode(value).decode()
        headers = {name: text.decode(errors="replace") for name, text in letter.headers}
        print(jsonlib.dumps({**_fields(letter), "headers": headers, "value_base64": encoded}))
        return
    rows = {
        "letter": letter.place, "put aside": _clock(letter.record.timestamp),
        "reason": letter.reason, "from": _source(letter), "key": _key(letter),
        "bytes": f"{len(value):,}" if value is not None else "no value",
        **{f"header {name}": text.decode(errors="replace") for name, text in letter.headers},
    }  # fmt: skip
    for name, text in rows.items():
        print(f"{name:>16}  {text}")
    print(f"{'value':>16}  {_contents(value)}")


def redrive_letters(
    there: Deployment, wanted: Wanted, limit: int | None, *, yes: bool, json: bool
) -> int:
    """Send what is wanted back to where it came from; returns the exit code.

    Asks first unless `yes`. 1 if nothing of it can go back.
    """
    found, count = _newest(there, wanted, limit)
    plan = redrive(found, there.topics)
    out = Console(highlight=False, stderr=json)
    if not found:
        out.print("No dead letters." if wanted == Wanted() else "No such dead letters.")
    elif count > len(found):
        out.print(f"{count - len(found):,} older ones stay; see --limit", style="dim")
    _announce(out, plan)
    sent = bool(plan.taken) and (yes or typer.confirm("Send them?", err=json))
    if sent:
        there.send(plan.outputs)
        out.print(f"sent {len(plan.taken):,}; the letters themselves stay where they are")
    if json:
        _report(plan if sent else replace(plan, taken=[], sessions=[]))
    sys.stdout.flush()
    return 1 if found and not plan.taken else 0


def _announce(out: Console, plan: Redrive) -> None:
    """Say what would go where, and what would not."""
    for topic, number in Counter(letter.source.topic for letter in plan.taken).items():
        out.print(f"{number:,} back to {topic}")
    if plan.sessions:
        out.print(
            "Frames and features go back as recordings, for the windows of their own sessions "
            "have moved on:"
        )
        for camera_id, session in plan.sessions:
            out.print(f"  {camera_id}  {session}")
    for why, number in Counter(why for _, why in plan.refused).items():
        out.print(f"{number:,} cannot go back: {why}", style="yellow")


def _report(plan: Redrive) -> None:
    for letter in plan.taken:
        print(jsonlib.dumps({**_fields(letter), "type": "redriven"}))
    for letter, why in plan.refused:
        print(jsonlib.dumps({**_fields(letter), "type": "refused", "why": why}))
    for camera_id, session in plan.sessions:
        print(jsonlib.dumps({"type": "session", "camera_id": camera_id, "session": session}))


def _newest(there: Deployment, wanted: Wanted, limit: int | None) -> tuple[list[DeadLetter], int]:
    """The newest of the wanted letters, oldest first, and how many there are in all."""
    count = 0

    def counted(letters: Iterable[DeadLetter]) -> Iterable[DeadLetter]:
        nonlocal count
        for letter in letters:
            count += 1
            yield letter

    letters = counted(read(there.bus, there.topics, wanted))
    found = list(letters) if limit is None else heapq.nlargest(limit, letters, key=_order)
    return sorted(found, key=_order), count


def _order(letter: DeadLetter) -> tuple[int, int, int]:
    return letter.record.timestamp, letter.record.partition.number, letter.record.offset


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {
        "type": "dead-letter",
        "letter": letter.place,
        "put_aside_at": letter.record.timestamp / 1000,
        "camera_id": letter.record.key,
        "topic": letter.source.topic,
        "partition": letter.source.number,
        "offset": letter.source_offset,
        "reason": letter.reason,
        "bytes": len(letter.record.value or b""),
    }


def _contents(value: bytes | None) -> str:
    """What is in a value, pictures and vectors as their sizes; else how its bytes begin."""
    if value is None:
        return "none"
    try:
        text = value.decode()
        return text if text.isprintable() else repr(text)
    except UnicodeDecodeError:
        pass
    try:
        wire = msgpack.unpackb(value)
    except Exception:  # msgpack raises half a dozen kinds
        wire = None
    if not isinstance(wire, dict):
        return f"{value[:_HEAD].hex(' ')}{' ...' if len(value) > _HEAD else ''}"
    short = {k: f"<{len(v)} bytes>" if isinstance(v, bytes) else v for k, v in wire.items()}
    return ", ".join(f"{k}={_cut(v)}" for k, v in islice(short.items(), 40))


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _key(letter: DeadLetter) -> str:
    return ascii(letter.record.key)[1:-1] if letter.record.key else "-"


def _source(letter: DeadLetter) -> str:
    return f"{letter.source.topic}/{letter.source.number} offset {letter.source_offset}"


def _clock(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().isoformat(" ", "seconds")
