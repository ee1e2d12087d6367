"""Metrics and health of one process, on a port of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from shared import metrics
from shared.errors import InvalidSettings
from shared.settings import ServiceSettings


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
