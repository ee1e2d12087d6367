"""Published weights from a server on this machine: broken off, resumed, wrong, or not there."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from citywatch import fetch
from citywatch.fetch import KNOWN, Weights, obtain
from shared.errors import InvalidInput, Unavailable

CONTENT = bytes(range(256)) * 1200  # 300 kB: several chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()[:8]
COMMAND = "citywatch models fetch it"


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `breaks` are how many bytes each of the next answers gives before it ends."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.breaks: list[int] = []
        self.ranges = True
        self.status = 200
        self.content = CONTENT
        self.asked: list[str | None] = []

    @property
    def weights(self) -> Weights:
        return Weights(f"http://127.0.0.1:{self.server_port}/models/it-{DIGEST}.pth", "a test")


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        begin = 0
        if asked is not None and server.ranges:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            last, size = len(server.content) - 1, len(server.content)
            self.send_header("Content-Range", f"bytes {begin}-{last}/{size}")
        else:
            self.send_response(200)
        body = server.content[begin:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.breaks.pop(0)] if server.breaks else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def test_a_download_is_checked_and_not_repeated(server: Server, tmp_path: Path) -> None:
    path = obtain(server.weights, tmp_path / "weights", COMMAND)
    assert path == tmp_path / "weights" / f"it-{DIGEST}.pth"
    assert path.read_bytes() == CONTENT
    assert obtain(server.weights, tmp_path / "weights", COMMAND) == path
    assert server.asked == [None]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_broke_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.breaks = [100_000, 50_000]
    assert obtain(server.weights, tmp_path, COMMAND).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_try_that_brings_nothing_is_the_last_and_the_next_command_goes_on(
    server: Server, tmp_path: Path
) -> None:
    server.breaks = [100_000, 0]
    with pytest.raises(
        Unavailable, match=re.escape(f"it-{DIGEST}.pth.part. Go on with: {COMMAND}")
    ):
        obtain(server.weights, tmp_path, COMMAND)
    assert not (tmp_path / f"it-{DIGEST}.pth").exists()
    assert obtain(server.weights, tmp_path, COMMAND).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=100000-"


def test_a_server_without_ranges_sends_all_of_it_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.breaks = False, [100_000]
    assert obtain(server.weights, tmp_path, COMMAND).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_whole_or_too_long(server: Server, tmp_path: Path, length: int) -> None:
    (tmp_path / f"it-{DIGEST}.pth.part").write_bytes((CONTENT + b"other")[:length])
    assert obtain(server.weights, tmp_path, COMMAND).read_bytes() == CONTENT
    again = [] if length == len(CONTENT) else [None]
    assert server.asked == [f"bytes={length}-", *again]


def test_a_wrong_file_is_removed(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(InvalidInput, match=f"not {DIGEST}.*removed"):
        obtain(server.weights, tmp_path, COMMAND)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_part_is_not_built_upon_twice(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"it-{DIGEST}.pth.part").write_bytes(b"?" * 1000)
    with pytest.raises(InvalidInput, match="removed"):
        obtain(server.weights, tmp_path, COMMAND)
    assert obtain(server.weights, tmp_path, COMMAND).read_bytes() == CONTENT


def test_without_a_network_it_says_what_to_do(server: Server, tmp_path: Path) -> None:
    weights = server.weights
    server.shutdown()
    server.server_close()
    with pytest.raises(Unavailable) as caught:
        obtain(weights, tmp_path / "weights", COMMAND)
    said = str(caught.value)
    assert caught.value.exit_code == 3
    assert weights.url in said and str(tmp_path / "weights") in said
    assert said.endswith(f"as it-{DIGEST}.pth, and check it with: {COMMAND}")
    # and then, with the file carried there by hand:
    (tmp_path / "weights" / f"it-{DIGEST}.pth").write_bytes(CONTENT)
    assert obtain(weights, tmp_path / "weights", COMMAND).read_bytes() == CONTENT


def test_a_file_that_is_not_there(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(Unavailable, match="404"):
        obtain(server.weights, tmp_path, COMMAND)


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file")
    with pytest.raises(InvalidInput, match="weights"):
        obtain(server.weights, tmp_path / "weights", COMMAND)


def test_a_full_disk_is_not_taken_for_a_missing_network(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"it-{DIGEST}.pth.part").symlink_to("/dev/full")
    with pytest.raises(InvalidInput, match="No space left"):
        obtain(server.weights, tmp_path, COMMAND)


def test_without_a_network_what_has_come_is_kept(server: Server, tmp_path: Path) -> None:
    weights, part = server.weights, tmp_path / f"it-{DIGEST}.pth.part"
    part.write_bytes(CONTENT[:1000])
    server.shutdown()
    server.server_close()
    with pytest.raises(Unavailable, match="kept in"):
        obtain(weights, tmp_path, COMMAND)
    assert part.read_bytes() == CONTENT[:1000]


def test_the_known_weights_carry_their_checksum() -> None:
    assert KNOWN["mobilenet_v2"].digest == "7ebf99e0"
    assert KNOWN["mobilenet_v2_v1"].digest == "b0353104"
    assert all(re.fullmatch("[0-9a-f]{8}", weights.digest) for weights in KNOWN.values())


def test_the_command_says_how_to_use_it(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(KNOWN, "it", server.weights)
    assert fetch.fetch("it", tmp_path) == 0
    assert f'path = "{tmp_path / server.weights.file_name}"' in capsys.readouterr().out
    with pytest.raises(InvalidInput, match=r"resnet.*mobilenet_v2"):
        fetch.fetch("resnet", tmp_path)
