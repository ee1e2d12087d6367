"""A TCP link that a test can cut, stall, delay and throttle.

with Proxy(port) as link:
    connect to link.address ...
    link.stall()      # nothing passes, nothing closes: a cable pulled out
    link.cut()        # every connection is reset, new ones are refused
    link.restore()
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK = 16 << 10


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target`, in a thread of its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.connections = 0  # since it was started
        self.passed = 0  # bytes, both ways
        self._loop = asyncio.new_event_loop()
        self.is_cut = threading.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._delay = 0.0
        self._rate: float | None = None
        self._cut_at: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def address(self) -> str:
        """Where to connect."""
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self._call(self._cut)

    def cut_after(self, passed: int) -> None:
        """Cut as soon as so many more bytes have passed: in the middle of something."""
        self._call(lambda: setattr(self, "_cut_at", self.passed + passed))

    def stall(self) -> None:
        """Let nothing pass; connections stay open, new ones are taken and hear nothing."""
        self._call(self._open.clear)

    def delay(self, seconds: float) -> None:
        """Every piece of data takes so much longer."""
        self._call(lambda: setattr(self, "_delay", seconds))

    def throttle(self, bytes_per_second: float | None) -> None:
        """At most so much in each direction of each connection."""
        self._call(lambda: setattr(self, "_rate", bytes_per_second))

    def restore(self) -> None:
        """As it was at first. What a stall held back passes now."""

        def work() -> None:
            self._refusing, self._delay, self._rate, self._cut_at = False, 0.0, None, None
            self._open.set()
            self.is_cut.clear()

        self._call(work)

    def __enter__(self) -> Self:
        self._thread.start()
        serving = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        )
        self._server = serving.result(5)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    # --- in the thread ----------------------------------------------------------------------------

    def _call(self, work: object) -> None:
        async def run() -> None:
            assert callable(work)
            work()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(5)

    def _cut(self) -> None:
        self._refusing, self._cut_at = True, None
        self._open.set()  # nobody waits for a stall to end any more
        for writer in self._writers:
            writer.transport.abort()
        self.is_cut.set()

    async def _end(self) -> None:
        self._server.close()
        self._cut()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        self.connections += 1
        self._writers.add(writer)
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:  # as if the target had been asked itself
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(there[1])
        with suppress(asyncio.CancelledError):  # at the end; asyncio would report it as an error
            await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
        self._writers -= {writer, there[1]}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._open.wait()
                pause = self._delay + (len(data) / self._rate if self._rate else 0.0)
                if pause:
                    await asyncio.sleep(pause)
                    await self._open.wait()
                if self._cut_at is not None and self.passed + len(data) >= self._cut_at:
                    writer.write(data[: max(self._cut_at - self.passed, 0)])
                    self._cut()
                    return
                self.passed += len(data)
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.close()
