"""The store of the alerting service: Redis. The only file that knows it.

    <prefix>:{<lane>.<partition>}:session:<camera> <session>   its state; expires
    <prefix>:{<lane>.<partition>}:unfinished                   set of "<camera> <session>"
    <prefix>:{<lane>.<partition>}:progress                     hash: steps, clock
    <prefix>:{<lane>.<partition>}:outbox                       list of events, oldest first
    <prefix>:{<lane>.<partition>}:incidents                    hash: id -> incident
    <prefix>:{<lane>.<partition>}:written                      zset: id by wall clock, for retention
    <prefix>:<lane>:partitions                                 set: where incidents may lie

What is in braces is the hash tag: all keys of a partition, hence all of a camera, share a slot, so
one Lua step may touch them together on Redis Cluster too. The number of steps fences a paused owner
and tells a Redis that has lost its last second.
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
from alerting.store import INCIDENT, Conflict, Key, Loaded, Step, selected
from shared.errors import InvalidSettings, Transient, Unavailable

_DAY = 86_400

# Answers OK, or how many steps of the partition there are instead.
# KEYS: progress, unfinished, outbox, incidents, written, session*
# ARGV: the step's number, clock, seconds a session is kept, now, seconds an incident is kept,
#       how many incidents, then of each session: member, finished (0 | 1), state; of each incident:
#       id, incident; events
_STEP = """
local steps = tonumber(redis.call('HGET', KEYS[1], 'steps') or '0')
if steps ~= ARGV[1] - 1 then return steps end
redis.call('HSET', KEYS[1], 'steps', ARGV[1], 'clock', ARGV[2])
local at = 7
for i = 6, #KEYS do
  redis.call('SET', KEYS[i], ARGV[at + 2], 'EX', ARGV[3])
  if ARGV[at + 1] == '1' then redis.call('SREM', KEYS[2], ARGV[at])
  else redis.call('SADD', KEYS[2], ARGV[at]) end
  at = at + 3
end
for _ = 1, tonumber(ARGV[6]) do
  redis.call('HSET', KEYS[4], ARGV[at], ARGV[at + 1])
  redis.call('ZADD', KEYS[5], ARGV[4], ARGV[at])
  at = at + 2
end
if tonumber(ARGV[6]) > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[5], '-inf', ARGV[4] - ARGV[5], 'BYSCORE',
                                 'LIMIT', 0, 100)) do
    redis.call('HDEL', KEYS[4], id)
    redis.call('ZREM', KEYS[5], id)
  end
end
for i = at, #ARGV do redis.call('RPUSH', KEYS[3], ARGV[i]) end
return redis.status_reply('OK')
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
        self._step = self._redis.register_script(_STEP)
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
                pipe.get(self._key(partition, f"session:{member}"))
            pipe.lrange(self._key(partition, "outbox"), 0, -1)
            pipe.hmget(self._key(partition, "progress"), "steps", "clock")
            *states, outbox, (steps, clock) = pipe.execute()
            sessions = {}
            for member, state in zip(members, states, strict=True):
                if state is None:  # expired
                    self._redis.srem(self._key(partition, "unfinished"), member)
                else:
                    sessions[Key(*member.split(" "))] = SessionState.from_json(state)
        self._steps[partition] = int(steps or 0)
        return Loaded(sessions, tuple(outbox), int(clock or 0), int(steps or 0))

    def find(self, partition: int, key: Key) -> SessionState:
        with self._answering():
            state = self._redis.get(self._key(partition, f"session:{_member(key)}"))
        return SessionState() if state is None else SessionState.from_json(state)

    def apply(self, steps: Sequence[Step]) -> None:
        if not steps:
            return
        with self._answering():
            pipe = self._redis.pipeline(transaction=False)
            for step in steps:
                self._queue(pipe, step)
            answers = pipe.execute()
        for step, answer in zip(steps, answers, strict=True):
            if answer != "OK":
                raise _conflict(step.partition, int(answer), step.number - 1)
            self._steps[step.partition] = step.number

    def verify(self, partitions: Collection[int]) -> None:
        known = sorted(self._steps.keys() & set(partitions))
        if not known:
            return
        with self._answering():
            pipe = self._redis.pipeline(transaction=False)
            for partition in known:
                pipe.hget(self._key(partition, "progress"), "steps")
            found = pipe.execute()
        for partition, steps in zip(known, found, strict=True):
            if int(steps or 0) != self._steps[partition]:
                raise _conflict(partition, int(steps or 0), self._steps[partition])

    def _queue(self, pipe: Any, step: Step) -> None:
        names = ("progress", "unfinished", "outbox", "incidents", "written")
        members = [f"session:{_member(key)}" for key in step.states]
        arguments: list[str | int | float] = [
            step.number, step.clock, self._session_seconds, time.time(), self._incident_seconds,
            len(step.incidents),
        ]  # fmt: skip
        for key, state in step.states.items():
            arguments += [_member(key), int(state.finished), state.to_json()]
        for incident in step.incidents:
            arguments += [incident.id, INCIDENT.dump_json(incident).decode()]
        self._step(
            keys=[self._key(step.partition, name) for name in (*names, *members)],
            args=[*arguments, *step.events],
            client=pipe,
        )

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


def _conflict(partition: int, steps: int, known: int) -> Conflict:
    return Conflict(f"Redis has {steps} steps of partition {partition}, not {known}", partition)


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
