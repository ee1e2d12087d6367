"""Capture processes are forked from one that has loaded the libraries already: the nursery.

Loading OpenCV and numpy takes a process a third of a second of a core and some 50 MB; a fork takes
milliseconds and shares those pages. A worker with a hundred cameras starts in a second.

The nursery's standard input is a socket. For each byte, with the ends of four pipes, it forks: the
first three are the newborn's standard streams, on the last the nursery will say how it ended. It
answers with the process id and a descriptor of the process, by which it is killed: an id could be
another's by then. When the socket closes the nursery ends; its captures end with their own pipes.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import NoReturn

from shared.errors import SourceError

_STATUS = struct.Struct("i")
_PID = struct.Struct("i")
_lock = threading.Lock()
_nurseries: list[_Nursery] = []  # the one, or none yet


class Newborn:
    """A capture process from its parent's side. The parent owns its three descriptors.

    `down` is the process's standard input, `up` its output, `words` its standard error.
    """

    def __init__(self, pid: int, handle: int, down: int, up: int, words: int, ended: int) -> None:
        self.pid, self.down, self.up, self.words = pid, down, up, words
        self._handle = handle
        self._ended = ended
        self._lock = threading.Lock()  # a descriptor is used or closed, never both
        self._closed = False

    def kill(self) -> None:
        """End it at once. From any thread, and as often as one likes."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if not self._closed:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def wait(self) -> int | None:
        """Wait for its end: its status, less than 0 for a signal. None: nobody was there to see."""
        said = os.read(self._ended, _STATUS.size)
        return _STATUS.unpack(said)[0] if said else None

    def close(self) -> None:
        """Kill, wait, and free everything; harmless if it has been done."""
        if self._closed:
            return
        self.kill()
        with contextlib.suppress(OSError):
            self.wait()
        with self._lock:
            if not self._closed:
                self._closed = True
                for fd in (self.down, self.up, self.words, self._ended, self._handle):
                    os.close(fd)


def birth() -> Newborn:
    """A new capture process; it waits for its order. Raises SourceError if none can be had."""
    with _lock:
        trouble: Exception | None = None
        for _ in range(2):  # a nursery that was killed is replaced
            try:
                if not _nurseries:
                    _nurseries.append(_Nursery())
                return _nurseries[0].birth()
            except (OSError, EOFError) as error:
                trouble = error
                _close()
    raise SourceError(f"no process for the camera can be started: {trouble}")


def warm_up() -> None:
    """Begin loading, so that the first camera need not wait for it."""
    with _lock:
        if not _nurseries:
            _nurseries.append(_Nursery())


@atexit.register
def _close() -> None:
    while _nurseries:
        _nurseries.pop().close()


class _Nursery:
    """The parent's end."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            # A Ctrl-C at the terminal is for us: we say when it ends.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ingest.nursery"], stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def birth(self) -> Newborn:
        """Raises OSError or EOFError if the nursery is gone."""
        pipes = [os.pipe() for _ in range(4)]
        (down_end, down), *rest = pipes
        theirs = [down_end, *(write for _, write in rest)]
        ours = [down, *(read for read, _ in rest)]
        try:
            socket.send_fds(self._socket, [b"1"], theirs)
            message, handles, _, _ = socket.recv_fds(self._socket, _PID.size, 1)
            if not message:
                raise EOFError("the nursery has ended")
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        down, up, words, ended = ours
        return Newborn(_PID.unpack(message)[0], handles[0], down, up, words, ended)

    def close(self) -> None:
        self._socket.close()
        self._process.kill()  # what it has forked lives on as long as its own parent wants
        self._process.wait()


def main() -> None:
    """Load, then fork on demand until the socket closes."""
    requests = socket.socket(fileno=os.dup(0))
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a thread would not survive the fork
    capture_process = import_module("ingest.capture_process")
    import_module("ingest.planes")
    gc.freeze()  # what is shared stays shared: no collection writes into it
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ends: dict[int, int] = {}  # by process id: the pipe on which its end is told
    while True:
        ready, _, _ = select.select([requests.fileno(), wake], [], [])
        if wake in ready:
            os.read(wake, 512)
            _reap(ends)
        if requests.fileno() in ready:
            message, fds, _, _ = socket.recv_fds(requests, 1, 4)
            if not message:
                return
            pid = os.fork()
            if pid == 0:
                _live(capture_process.main, fds)
            handle = os.pidfd_open(pid)
            for fd in fds[:3]:
                os.close(fd)
            ends[pid] = fds[3]
            socket.send_fds(requests, [_PID.pack(pid)], [handle])
            os.close(handle)


def _reap(ends: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = found
            fd = ends.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # nobody wants to know
                os.write(fd, _STATUS.pack(os.waitstatus_to_exitcode(status)))
            os.close(fd)


def _live(body: Callable[[], None], fds: list[int]) -> NoReturn:
    """The life of a newborn: its streams in place, nothing else of the nursery's left open."""
    status = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for standard, fd in enumerate(fds[:3]):
            os.dup2(fd, standard)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        body()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
