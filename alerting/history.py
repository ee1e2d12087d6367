"""The incidents that a store holds, for a look from outside: nothing is written or owned."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from alerting.incidents import Incident
from alerting.open_store import open_store
from alerting.settings import AlertingSettings
from alerting.store import INCIDENT, selected
from shared.errors import InvalidInput
from shared.settings import Configuration

_ALL = 1_000_000_000


def incidents(configuration: Configuration, lane: str, since: int | None) -> list[Incident]:
    """Those of the lane that had not ended before `since` (ns), newest first.

    Raises Unavailable if Redis does not answer, InvalidInput if the file cannot be read.
    """
    settings = configuration.get(AlertingSettings)
    if settings.store == "sqlite":
        return selected(_of_file(settings.sqlite_file, lane), None, None, since, False, _ALL)
    store = open_store(configuration, lane, threading.Event())
    try:
        return store.incidents(since=since, limit=_ALL)
    finally:
        store.close()


def _of_file(file: str, lane: str) -> list[Incident]:
    """From a file that `citywatch serve` may be writing to just now."""
    path = Path(file)
    if not path.is_file():
        raise InvalidInput(f"{file}: no such file; `citywatch serve` keeps its incidents in one")
    try:
        address = f"file:{quote(str(path.resolve()))}?mode=ro"
        with closing(sqlite3.connect(address, timeout=5, uri=True)) as db:
            rows = db.execute("SELECT incident FROM incidents WHERE lane = ?", (lane,)).fetchall()
    except sqlite3.Error as error:
        raise InvalidInput(f"{file}: not a file of incidents: {error}") from None
    return [INCIDENT.validate_json(text) for (text,) in rows]
