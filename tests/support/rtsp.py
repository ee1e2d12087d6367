"""A real RTSP server for tests: GStreamer's, in a process of the system's Python.

Run as a script it serves one moving test picture at `/camera` of a port on 127.0.0.1, to a user
and password if they are given on standard input.
"""

from __future__ import annotations

import os
import socket
import subprocess
from types import TracebackType
from typing import Self

import pytest

PYTHON = "/usr/bin/python3"  # Debian's, which has the bindings (python3-gi, gir1.2-gst-rtsp-server)

_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,"
    "framerate=15/1 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15"
    " ! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
factory.set_shared(True)
user, _, password = sys.stdin.readline().strip().partition(":")
if user:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    roles = GstRtspServer.RTSPPermissions()
    roles.add_permission_for_role("viewer", "media.factory.access", True)
    roles.add_permission_for_role("viewer", "media.factory.construct", True)
    factory.set_permissions(roles)
server.get_mount_points().add_factory("/camera", factory)
assert server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""


class RtspServer:
    """A camera that can be killed and started again on the same port."""

    def __init__(self, credentials: str = "") -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}/camera"
        self._credentials = credentials
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Serve; returns once the port is open."""
        self._process = subprocess.Popen(
            [PYTHON, "-c", _SERVER, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(self._credentials + "\n")
        self._process.stdin.close()
        if self._process.stdout.readline().strip() != "ready":
            pytest.fail("the RTSP server did not start")

    def kill(self) -> None:
        """End it as a power cut would, by its process id."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout
            self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        need_gstreamer()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def need_gstreamer() -> None:
    """Skip, or in CI fail, where the RTSP server is not installed."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    try:
        done = subprocess.run([PYTHON, "-c", probe], capture_output=True, check=False)
        missing = done.returncode != 0
    except OSError:
        missing = True
    if missing:
        reason = "no GStreamer RTSP server: install python3-gi and gir1.2-gst-rtsp-server-1.0"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
