"""Sending to Kafka: every send's fate is known, and unacknowledged bytes are bounded.

kafka-python's own `flush` only logs failures and its buffer has no bound, so both are done here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer as Client
from kafka import errors

from shared.bus import Output
from shared.bus_kafka.connection import client_options, meaning, translated
from shared.errors import BusFull, Fatal, Transient
from shared.settings import KafkaSettings

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 2.0
_BLINK_SECONDS = 0.25  # whoever begins to connect waits so long in any case: it is mostly enough
_MAX_REQUEST_BYTES = 16 << 20
_OVERHEAD = 100  # bytes of a record besides key, value and headers, generously


class KafkaDelivery:
    """The fate of one send."""

    __slots__ = ("_changed", "done", "error", "output", "size")

    def __init__(self, output: Output, size: int, changed: threading.Condition) -> None:
        self.output = output
        self.size = size
        self.done = False
        self.error: Exception | None = None
        self._changed = changed

    def wait(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.done, timeout)


class KafkaProducer:
    """An idempotent producer (acks=all) that connects on its first send.

    It does so in a thread of its own, for a broker that is away must not hold up who may not wait.
    """

    def __init__(
        self, settings: KafkaSettings, limit_of: Callable[[str], int], closed: threading.Event
    ) -> None:
        self._settings = settings
        self._limit_of = limit_of
        self._bus_closed = closed
        self.closed = False
        self._changed = threading.Condition()  # guards what follows
        self._client: Client | None = None
        self._known: set[str] = set()  # topics whose partitions the client knows
        self._connecting = False
        self._trouble: BaseException | None = None  # of the last try, until somebody is told
        self._pending: dict[KafkaDelivery, None] = {}  # in order of sending
        self._failed: list[KafkaDelivery] = []
        self._bytes = 0

    def send(self, output: Output, timeout: float | None = None) -> KafkaDelivery:
        size = _size(output)
        limit = self._limit_of(output.topic)
        if size > limit:
            raise Fatal(f"a record of {size} bytes for {output.topic}, which takes {limit}")
        delivery = KafkaDelivery(output, size, self._changed)
        client = self._connected(output.topic, timeout)
        with self._changed:
            if not self._changed.wait_for(lambda: self._ended() or self._room(size), timeout):
                raise BusFull(f"{self._bytes} bytes are not acknowledged by Kafka yet")
            if self._ended():
                raise Transient("the bus is closed")
            self._pending[delivery] = None
            self._bytes += size
        try:
            future = client.send(
                output.topic,
                value=output.value,
                key=None if output.key is None else output.key.encode(errors="surrogateescape"),
                headers=list(output.headers),
            )
        except errors.KafkaError as error:  # no metadata of the topic within max_block_ms
            self._settle(delivery, meaning(f"sending to {output.topic}", error))
        except BaseException:
            self._settle(delivery, Transient("never sent"), report=False)
            raise
        else:
            future.add_callback(lambda _: self._settle(delivery, None))
            future.add_errback(
                lambda error: self._settle(delivery, meaning(f"sending to {output.topic}", error))
            )
        return delivery

    def flush(self, timeout: float) -> list[tuple[Output, Exception]]:
        deadline = time.monotonic() + timeout
        with self._changed:
            sent = list(self._pending)
            self._changed.wait_for(lambda: all(d.done for d in sent), deadline - time.monotonic())
            late = [(d.output, Transient("not acknowledged in time")) for d in self._pending]
            failed = [(d.output, d.error or Transient("unknown")) for d in self._failed]
            self._failed.clear()
            return failed + late

    def close(self) -> None:
        with self._changed:
            self.closed = True
            for delivery in list(self._pending):
                self._settle(delivery, Transient("given up before Kafka acknowledged it"))
            client, self._client = self._client, None
            self._changed.notify_all()
        if client is not None:
            _end(client)

    def wake(self) -> None:
        """Let blocked sends see that the bus is closed."""
        with self._changed:
            self._changed.notify_all()

    def _room(self, size: int) -> bool:
        return not self._pending or self._bytes + size <= self._settings.buffer_bytes

    def _ended(self) -> bool:
        return self.closed or self._bus_closed.is_set()

    def _settle(
        self, delivery: KafkaDelivery, error: Exception | None, *, report: bool = True
    ) -> None:
        """Runs on kafka-python's sender thread, or in `close` for what was given up."""
        with self._changed:
            if delivery.done:
                return
            delivery.error = error
            delivery.done = True
            self._pending.pop(delivery, None)
            self._bytes -= delivery.size
            if error is not None and report:
                self._failed.append(delivery)
            self._changed.notify_all()

    def _connected(self, topic: str, timeout: float | None) -> Client:
        """The client, once it knows the topic. Raises BusFull if that takes too long."""
        with self._changed:
            while topic not in self._known:
                if self._ended():
                    raise Transient("the bus is closed")
                if self._trouble is not None:
                    trouble, self._trouble = self._trouble, None
                    raise trouble
                if not self._connecting:
                    self._connecting = True
                    threading.Thread(target=self._connect, args=(topic,), daemon=True).start()
                    timeout = None if timeout is None else max(timeout, _BLINK_SECONDS)
                over = self._changed.wait_for(
                    lambda: not self._connecting or self._ended(), timeout
                )
                if not over:
                    raise BusFull("not connected to Kafka yet")
            assert self._client is not None
            return self._client

    def _connect(self, topic: str) -> None:
        client, trouble = self._client, None
        try:
            with translated(f"connecting to send to {topic}"):
                client = client or Client(**self._options())
                client.partitions_for(topic)
        except BaseException as error:  # told to whoever sends next
            trouble = error
        with self._changed:
            self._connecting, self._trouble = False, trouble
            if trouble is None:
                self._known.add(topic)
            late = self.closed
            if not late:
                self._client = client
            self._changed.notify_all()
        if late and client is not None:
            _end(client)

    def _options(self) -> dict[str, Any]:
        return client_options(self._settings) | {
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": self._settings.linger_ms,
            "batch_size": self._settings.batch_bytes,
            "max_request_size": _MAX_REQUEST_BYTES,
            "max_block_ms": round(_CONNECT_SECONDS * 1000),
            "delivery_timeout_ms": 30_000,
            "bootstrap_timeout_ms": round(_CONNECT_SECONDS * 1000),
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }


def _end(client: Client) -> None:
    """Close without waiting for acknowledgements.

    `KafkaProducer.close(0)` raises while anything is unacknowledged and leaves its thread running,
    so the sender is told first; it then fails whatever is left.
    """
    client._sender.force_close()
    client._sender.join(1.0)
    with suppress(errors.KafkaError):
        client.close(timeout=0)
    client._closed = True  # else its __del__ would try, and raise, again


def _size(output: Output) -> int:
    headers = sum(len(name) + len(value) for name, value in output.headers)
    return len(output.value or b"") + len(output.key or "") + headers + _OVERHEAD
