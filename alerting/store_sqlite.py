"""The embedded store: one SQLite file, or memory only. What standalone and `serve` run on.

A process has the file to itself. Which partition carries a camera may differ from one run to the
next, so what an earlier run left goes to the first partition that is loaded: its live sessions are
over, and close there on silence.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from alerting.incidents import Incident, SessionState
from alerting.store import INCIDENT, Advance, Conflict, Key, Loaded, Stored, selected
from shared.errors import InvalidSettings, Transient

_DAY = 86_400
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    lane TEXT, partition INTEGER, camera TEXT, session TEXT,
    version INTEGER NOT NULL, finished INTEGER NOT NULL, state TEXT NOT NULL,
    written REAL NOT NULL,
    PRIMARY KEY (lane, camera, session)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unfinished ON sessions (lane, partition) WHERE finished = 0;
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    lane TEXT NOT NULL, partition INTEGER NOT NULL, event TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS incidents (
    id TEXT PRIMARY KEY, lane TEXT NOT NULL, written REAL NOT NULL, incident TEXT NOT NULL);
"""


class SqliteStore:
    """See the module's text. Any thread may ask; one lock guards the connection."""

    def __init__(
        self,
        file: str,
        lane: str,
        *,
        session_seconds: float = 8 * _DAY,
        incident_seconds: float = 90 * _DAY,
    ) -> None:
        self._lane = lane
        self._lock = threading.Lock()
        self._adopted = False
        try:
            self._db = sqlite3.connect(file, timeout=5, check_same_thread=False)
            # Write-ahead and NORMAL: a power cut may lose the last transactions, state and last
            # index together; it never leaves half of one.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
            now = time.time()
            with self._db as db:
                db.execute("DELETE FROM incidents WHERE written < ?", (now - incident_seconds,))
                db.execute(
                    "DELETE FROM sessions WHERE finished = 1 AND written < ?",
                    (now - session_seconds,),
                )
        except sqlite3.Error as error:
            raise InvalidSettings(f"alerting.sqlite_file {file}: {error}") from None

    def load(self, partition: int) -> Loaded:
        place = (self._lane, partition)
        with self._transaction() as db:
            if not self._adopted:
                for table in ("sessions", "outbox"):
                    db.execute(
                        f"UPDATE {table} SET partition = ? WHERE lane = ?", (partition, self._lane)
                    )
                self._adopted = True
            sessions = db.execute(
                "SELECT camera, session, state, version FROM sessions"
                " WHERE lane = ? AND partition = ? AND finished = 0",
                place,
            ).fetchall()
            outbox = db.execute(
                "SELECT event FROM outbox WHERE lane = ? AND partition = ? ORDER BY number", place
            ).fetchall()
        states = {
            Key(partition, camera, session): Stored(SessionState.from_json(state), version)
            for camera, session, state, version in sessions
        }
        return Loaded(states, tuple(event for (event,) in outbox))

    def find(self, key: Key) -> Stored:
        with self._transaction() as db:
            row = _row(db, self._lane, key)
        return Stored(SessionState.from_json(row[0]), row[1]) if row else Stored()

    def apply(self, steps: Sequence[Advance]) -> None:
        with self._transaction() as db:
            for step in steps:
                self._apply(db, step)

    def _apply(self, db: sqlite3.Connection, step: Advance) -> None:
        key, state, now = step.key, step.state, time.time()
        row = _row(db, self._lane, key)
        if (row[1] if row else 0) != step.version:
            raise Conflict(
                f"{key.camera_id} {key.session}: stored by somebody else meanwhile", key.partition
            )
        db.execute(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (self._lane, *key, step.version + 1, state.finished, state.to_json(), now),
        )
        db.executemany(
            "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?)",
            [(i.id, self._lane, now, INCIDENT.dump_json(i).decode()) for i in step.incidents],
        )
        db.executemany(
            "INSERT INTO outbox (lane, partition, event) VALUES (?, ?, ?)",
            [(self._lane, key.partition, event) for event in step.events],
        )

    def verify(self, partitions: Collection[int]) -> None:
        pass  # what this process has written, it reads

    def delivered(self, partition: int, events: Collection[str]) -> None:
        with self._transaction() as db:
            db.executemany(
                "DELETE FROM outbox WHERE lane = ? AND partition = ? AND event = ?",
                [(self._lane, partition, event) for event in events],
            )

    def incidents(
        self,
        *,
        camera_id: str | None = None,
        label: str | None = None,
        since: int | None = None,
        open_only: bool = False,
        limit: int = 1000,
    ) -> list[Incident]:
        with self._transaction() as db:
            rows = db.execute(
                "SELECT incident FROM incidents WHERE lane = ?", (self._lane,)
            ).fetchall()
        found = [INCIDENT.validate_json(text) for (text,) in rows]
        return selected(found, camera_id, label, since, open_only, limit)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with self._db as db:
                    yield db
            except sqlite3.Error as error:
                raise Transient(f"the incident store does not answer: {error}") from error


def _row(db: sqlite3.Connection, lane: str, key: Key) -> tuple[str, int] | None:
    row: tuple[str, int] | None = db.execute(
        "SELECT state, version FROM sessions WHERE lane = ? AND camera = ? AND session = ?",
        (lane, key.camera_id, key.session),
    ).fetchone()
    return row
