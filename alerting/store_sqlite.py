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
from alerting.store import INCIDENT, Conflict, Key, Loaded, Step, selected
from shared.errors import InvalidSettings, Transient

_DAY = 86_400
_LAYOUT = 2
_SCHEMA = f"""
PRAGMA user_version = {_LAYOUT};
CREATE TABLE IF NOT EXISTS partitions (
    lane TEXT, partition INTEGER, steps INTEGER NOT NULL, clock INTEGER NOT NULL,
    PRIMARY KEY (lane, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    lane TEXT, partition INTEGER, camera TEXT, session TEXT,
    finished INTEGER NOT NULL, state TEXT NOT NULL, written REAL NOT NULL,
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
            self._refuse_another_layout(file)
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

    def _refuse_another_layout(self, file: str) -> None:
        (layout,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and layout != _LAYOUT:
            self._db.close()
            raise InvalidSettings(
                f"alerting.sqlite_file {file}: written by another version of citywatch (layout "
                f"{layout}, not {_LAYOUT}); move it away, or state another file"
            )

    def load(self, partition: int) -> Loaded:
        place = (self._lane, partition)
        with self._transaction() as db:
            if not self._adopted:
                self._adopt(db, partition)
                self._adopted = True
            steps, clock = _progress(db, self._lane, partition)
            sessions = db.execute(
                "SELECT camera, session, state FROM sessions"
                " WHERE lane = ? AND partition = ? AND finished = 0",
                place,
            ).fetchall()
            outbox = db.execute(
                "SELECT event FROM outbox WHERE lane = ? AND partition = ? ORDER BY number", place
            ).fetchall()
        states = {
            Key(camera, session): SessionState.from_json(state)
            for camera, session, state in sessions
        }
        return Loaded(states, tuple(event for (event,) in outbox), clock, steps)

    def _adopt(self, db: sqlite3.Connection, partition: int) -> None:
        for table in ("sessions", "outbox"):
            db.execute(f"UPDATE {table} SET partition = ? WHERE lane = ?", (partition, self._lane))
        (clock,) = db.execute(
            "SELECT ifnull(max(clock), 0) FROM partitions WHERE lane = ?", (self._lane,)
        ).fetchone()
        db.execute("DELETE FROM partitions WHERE lane = ?", (self._lane,))
        db.execute("INSERT INTO partitions VALUES (?, ?, 0, ?)", (self._lane, partition, clock))

    def find(self, partition: int, key: Key) -> SessionState:
        with self._transaction() as db:
            row: tuple[str] | None = db.execute(
                "SELECT state FROM sessions WHERE lane = ? AND camera = ? AND session = ?",
                (self._lane, *key),
            ).fetchone()
        return SessionState.from_json(row[0]) if row else SessionState()

    def apply(self, steps: Sequence[Step]) -> None:
        for step in steps:
            with self._transaction() as db:
                self._apply(db, step)

    def _apply(self, db: sqlite3.Connection, step: Step) -> None:
        now, place = time.time(), (self._lane, step.partition)
        known, _ = _progress(db, *place)
        if known != step.number - 1:
            raise Conflict(
                f"the store has {known} steps of partition {step.partition}, not {step.number - 1}",
                step.partition,
            )
        db.execute(
            "INSERT OR REPLACE INTO partitions VALUES (?, ?, ?, ?)",
            (*place, step.number, step.clock),
        )
        db.executemany(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (*place, *key, state.finished, state.to_json(), now)
                for key, state in step.states.items()
            ],
        )
        db.executemany(
            "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?)",
            [(i.id, self._lane, now, INCIDENT.dump_json(i).decode()) for i in step.incidents],
        )
        db.executemany(
            "INSERT INTO outbox (lane, partition, event) VALUES (?, ?, ?)",
            [(*place, event) for event in step.events],
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


def _progress(db: sqlite3.Connection, lane: str, partition: int) -> tuple[int, int]:
    """Steps and clock."""
    row: tuple[int, int] | None = db.execute(
        "SELECT steps, clock FROM partitions WHERE lane = ? AND partition = ?", (lane, partition)
    ).fetchone()
    return row or (0, 0)
