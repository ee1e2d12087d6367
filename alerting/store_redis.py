"""The store of the alerting service: Redis. The only file that knows it.

    <prefix>:{<lane>.<partition>}:session:<camera> <session>   hash: version, state; expires
    <prefix>:{<lane>.<partition>}:unfinished                   set of "<camera> <session>"
    <prefix>:{<lane>.<partition>}:steps                        how many there were: tells losses
    <prefix>:{<lane>.<partition>}:outbox                       list of events, oldest first
    <prefix>:{<lane>.<partition>}:incidents                    hash: id -> incident
    <prefix>:{<lane>.<partition>}:written                      zset: id by wall clock, for retention
    <prefix>:<lane>:partitions                                 set: where incidents may lie

What is in braces is the hash tag: all keys of a partition, hence all of a camera, share a slot, so
one Lua step may touch them together on Redis Cluster too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from alerting.incidents import Incident, SessionState
from alerting.store import INCIDENT, Advance, Conflict, Key, Loaded, Stored, selected
from shared.errors import InvalidSettings, Transient, Unavailable

_DAY = 86_400

# Answers how many steps there have been in the partition, or as text what version it holds.
# KEYS: session, unfinished, outbox, incidents, written, steps
# ARGV: version replaced, new state, member, finished (0 | 1), seconds a session is kept,
#       now, seconds an incident is kept, how many incidents, (id, incident)*, event*
_ADVANCE = """
local stored = redis.call('HGET', KEYS[1], 'version') or '0'
if stored ~= ARGV[1] then return stored end
redis.call('HSET', KEYS[1], 'version', ARGV[1] + 1, 'state', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[5])
if ARGV[4] == '1' then redis.call('SREM', KEYS[2], ARGV[3])
else redis.call('SADD', KEYS[2], ARGV[3]) end
local at = 9
for _ = 1, tonumber(ARGV[8]) do
  redis.call('HSET', KEYS[4], ARGV[at], ARGV[at + 1])
  redis.call('ZADD', KEYS[5], ARGV[6], ARGV[at])
  at = at + 2
end
if at > 9 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[5], '-inf', ARGV[6] - ARGV[7], 'BYSCORE',
                                 'LIMIT', 0, 100)) do
    redis.call('HDEL', KEYS[4], id)
    redis.call('ZREM', KEYS[5], id)
  end
end
for i = at, #ARGV do redis.call('RPUSH', KEYS[3], ARGV[i]) end
return redis.call('INCR', KEYS[6])
"""

_AWAY = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.ReadOnlyError,  # a replica that is about to become the primary
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
)


class RedisStore:
    """See the module's text. Thread-safe: the client keeps a pool of connections."""

    def __init__(
        self,
        url: str,
        lane: str,
        *,
        prefix: str = "citywatch",
        session_seconds: float = 8 * _DAY,
        incident_seconds: float = 90 * _DAY,
    ) -> None:
        self.address = _address(url)
        self._root = prefix
        self._lane = lane
        self._session_seconds = max(int(session_seconds), 1)
        self._incident_seconds = incident_seconds
        # Any, for the client's own types say that every answer may be awaitable.
        self._redis: Any = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=5,
            socket_connect_timeout=5,
            retry=Retry(NoBackoff(), 0),  # the worker backs off, polling its group meanwhile
        )
        self._advance = self._redis.register_script(_ADVANCE)
        self._steps: dict[int, int] = {}  # by partition, as this process has seen them

    def wait(self, timeout: float, stop: threading.Event) -> None:
        """Return once Redis answers; raises Unavailable naming the address after `timeout` s."""
        until = time.monotonic() + timeout
        while True:
            try:
                with self._answering():
                    self._redis.ping()
                return
            except Transient as error:
                left = until - time.monotonic()
                if left <= 0 or stop.wait(min(0.5, left)):
                    raise Unavailable(
                        f"Redis at {self.address} did not answer within {timeout:g} s: "
                        f"{error.__cause__}"
                    ) from None

    def load(self, partition: int) -> Loaded:
        with self._answering():
            self._redis.sadd(f"{self._root}:{self._lane}:partitions", partition)
            members = sorted(self._redis.smembers(self._key(partition, "unfinished")))
            pipe = self._redis.pipeline(transaction=False)
            for member in members:
                pipe.hmget(self._key(partition, f"session:{member}"), "state", "version")
            pipe.lrange(self._key(partition, "outbox"), 0, -1)
            pipe.get(self._key(partition, "steps"))
            *rows, outbox, steps = pipe.execute()
            sessions = {}
            for member, row in zip(members, rows, strict=True):
                if row[0] is None:  # expired
                    self._redis.srem(self._key(partition, "unfinished"), member)
                else:
                    sessions[Key(partition, *member.split(" "))] = _stored(row)
        self._steps[partition] = int(steps or 0)
        return Loaded(sessions, tuple(outbox))

    def find(self, key: Key) -> Stored:
        with self._answering():
            row = self._redis.hmget(
                self._key(key.partition, f"session:{_member(key)}"), "state", "version"
            )
        return _stored(row)

    def apply(self, steps: Sequence[Advance]) -> None:
        if not steps:
            return
        with self._answering():
            pipe = self._redis.pipeline(transaction=False)
            for step in steps:
                self._queue(pipe, step)
            answers = pipe.execute()
        for step, answer in zip(steps, answers, strict=True):
            key = step.key
            if isinstance(answer, str):
                raise Conflict(
                    f"{key.camera_id} {key.session}: Redis holds version {answer}, "
                    f"not {step.version}",
                    key.partition,
                )
            if key.partition in self._steps:
                self._steps[key.partition] += 1
                self._compare(key.partition, answer)

    def verify(self, partitions: Collection[int]) -> None:
        known = sorted(self._steps.keys() & set(partitions))
        if not known:
            return
        with self._answering():
            pipe = self._redis.pipeline(transaction=False)
            for partition in known:
                pipe.get(self._key(partition, "steps"))
            found = pipe.execute()
        for partition, steps in zip(known, found, strict=True):
            self._compare(partition, int(steps or 0))

    def _compare(self, partition: int, steps: int) -> None:
        if steps != self._steps[partition]:
            raise Conflict(
                f"Redis has {steps} steps of partition {partition}, not {self._steps[partition]}",
                partition,
            )

    def _queue(self, pipe: Any, step: Advance) -> None:
        partition, member = step.key.partition, _member(step.key)
        names = (f"session:{member}", "unfinished", "outbox", "incidents", "written", "steps")
        found: list[str] = []
        for incident in step.incidents:
            found += [incident.id, INCIDENT.dump_json(incident).decode()]
        self._advance(
            keys=[self._key(partition, name) for name in names],
            args=[
                step.version, step.state.to_json(), member, int(step.state.finished),
                self._session_seconds, time.time(), self._incident_seconds,
                len(step.incidents), *found, *step.events,
            ],
            client=pipe,
        )  # fmt: skip

    def delivered(self, partition: int, events: Collection[str]) -> None:
        with self._answering():
            pipe = self._redis.pipeline(transaction=False)
            for event in events:
                pipe.lrem(self._key(partition, "outbox"), 0, event)
            pipe.execute()

    def incidents(
        self,
        *,
        camera_id: str | None = None,
        label: str | None = None,
        since: int | None = None,
        open_only: bool = False,
        limit: int = 1000,
    ) -> list[Incident]:
        with self._answering():
            pipe = self._redis.pipeline(transaction=False)
            for partition in self._redis.smembers(f"{self._root}:{self._lane}:partitions"):
                pipe.hvals(self._key(partition, "incidents"))
            texts = [text for values in pipe.execute() for text in values]
        found = [INCIDENT.validate_json(text) for text in texts]
        return selected(found, camera_id, label, since, open_only, limit)

    def close(self) -> None:
        self._redis.close()

    def _key(self, partition: int | str, name: str) -> str:
        return f"{self._root}:{{{self._lane}.{partition}}}:{name}"

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except _AWAY as error:
            raise Transient(f"Redis at {self.address}: {error}") from error


def _member(key: Key) -> str:
    return f"{key.camera_id} {key.session}"


def _stored(row: Sequence[str | None]) -> Stored:
    state, version = row
    if state is None or version is None:
        return Stored()
    return Stored(SessionState.from_json(state), int(version))


def _address(url: str) -> str:
    """Host and port, without user and password; raises InvalidSettings."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidSettings(f"alerting.redis_url: {error}") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise InvalidSettings("alerting.redis_url must begin with redis://, rediss:// or unix://")
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{port or 6379}"
