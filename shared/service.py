"""What every process does around its loop: logging, signals, metrics and health on a port."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from socketserver import ThreadingMixIn
from types import FrameType, TracebackType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from shared import metrics
from shared.errors import InvalidSettings
from shared.settings import Section, ServiceSettings, redacted

log = logging.getLogger(__name__)


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; the loop finishes its batch, flushes and commits."""
    stop = threading.Event()

    def set_stop(number: int, frame: FrameType | None) -> None:
        log.info("%s: finishing what is in hand", signal.Signals(number).name)
        stop.set()

    signal.signal(signal.SIGTERM, set_stop)
    signal.signal(signal.SIGINT, set_stop)
    return stop


def start_logging(settings: ServiceSettings, *sections: Section) -> None:
    """Log to standard error, and log the resolved settings once, secrets redacted."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if settings.log_json else logging.Formatter(_FORMAT))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("kafka").setLevel(logging.ERROR)  # says at length what the bus says once
    for section in (settings, *sections):
        log.info("settings [%s] %s", section.section, json.dumps(redacted(section)))


_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


class HealthServer(AbstractContextManager["HealthServer"]):
    """`/metrics`, `/healthz` (the process lives) and `/readyz` (records flow), until closed.

    With port 0 in the settings nothing is opened. `port` is the one in use.
    """

    def __init__(self, settings: ServiceSettings, ready: Callable[[], bool]) -> None:
        self._ready = ready
        self._metrics = make_wsgi_app(metrics.registry)
        self._server: WSGIServer | None = None
        self.port = 0
        if settings.port:
            try:
                self._server = make_server(
                    settings.host, settings.port, self._answer, _Server, _QuietHandler
                )
            except OSError as error:
                raise InvalidSettings(
                    f"cannot serve metrics on {settings.host}:{settings.port}: {error.strerror}; "
                    "choose another with --set service.port=..."
                ) from None
            self.port = self._server.server_port
            threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            body_parts: Iterable[bytes] = self._metrics(environ, start)
            return body_parts
        if path == "/healthz":
            status, body = "200 OK", b"alive\n"
        elif path == "/readyz":
            ready = self._ready()
            status, body = ("200 OK", b"ready\n") if ready else ("503 Not Ready", b"not ready\n")
        else:
            status, body = "404 Not Found", b"/metrics /healthz /readyz\n"
        start(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def now_ns() -> int:
    """Wall clock, nanoseconds since the epoch: the one place that stages' clocks come from."""
    return time.time_ns()
