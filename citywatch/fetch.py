"""`citywatch models fetch`: weights that others have published, for those who have a network.

What is broken off stays as FILE.part, and the next try goes on where it stopped. A file counts only
once its SHA-256 begins with the eight digits that its publisher has put into its name.
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from shared.errors import InvalidInput, Unavailable

_CHUNK = 1 << 16
_TIMEOUT = 30.0  # seconds without a byte
_AWAY = (
    urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError,
)  # fmt: skip
_PARTIAL, _NOT_SATISFIABLE = 206, 416


@dataclass(frozen=True)
class Weights:
    """A published file; `url` ends in -<8 hex digits of its SHA-256>.pth."""

    url: str
    what: str

    @property
    def file_name(self) -> str:
        """As it is published."""
        return self.url.rsplit("/", 1)[1]

    @property
    def digest(self) -> str:
        """What the file's SHA-256 begins with."""
        return self.file_name.removesuffix(".pth").rsplit("-", 1)[1]


_TORCHVISION = "https://download.pytorch.org/models"
KNOWN = {
    "mobilenet_v2": Weights(
        f"{_TORCHVISION}/mobilenet_v2-7ebf99e0.pth", "ImageNet, torchvision's newer recipe (V2)"
    ),
    "mobilenet_v2_v1": Weights(
        f"{_TORCHVISION}/mobilenet_v2-b0353104.pth", "ImageNet, torchvision's first recipe (V1)"
    ),
}


class _BrokenOff(Exception):
    """The connection ended before the file did."""


def fetch(name: str, folder: Path) -> int:
    """Download the weights of that name into `folder`; returns the exit code.

    Raises InvalidInput (a name that is not known, a wrong file), Unavailable (no network).
    """
    if name not in KNOWN:
        raise InvalidInput(f"{name}: not known; there are {', '.join(KNOWN)}")
    path = obtain(KNOWN[name], folder, f"citywatch models fetch {name} --to {folder}")
    print(f"{path} is whole: its SHA-256 begins with {KNOWN[name].digest}, as published.")
    print("To train from it, in the experiment's TOML:")
    print(f'\n[teacher]\npath = "{path.resolve()}"\npadding = "torch"')
    return 0


def obtain(weights: Weights, folder: Path, command: str) -> Path:
    """The file in `folder`, downloaded unless it is there; `command` is what to say again."""
    path = folder / weights.file_name
    if path.is_file():
        _check(path, weights)
        return path
    part = path.with_name(path.name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _download(weights.url, part)
    except urllib.error.HTTPError as error:
        raise Unavailable(f"{weights.url}: {error.code} {error.reason}") from None
    except _BrokenOff as error:
        raise Unavailable(
            f"{weights.url}: {error}; what has come is kept in {part}. Go on with: {command}"
        ) from None
    except _AWAY as error:
        raise Unavailable(
            f"{weights.url} cannot be reached from here ({getattr(error, 'reason', error)}). Where "
            f"there is a network, download that address with any browser, put the file into "
            f"{folder.resolve()} as {path.name}, and check it with: {command}"
        ) from None
    except OSError as error:  # of the folder or the disk
        raise InvalidInput(f"{error.filename or part}: {error.strerror}") from None
    _check(part, weights)
    part.replace(path)
    return path


def _download(url: str, part: Path) -> None:
    """Until the file is whole; after a break again, as long as each try brings something."""
    with _bar(url.rsplit("/", 1)[1]) as progress:
        while True:
            before = _size(part)
            try:
                _get(url, part, progress)
                return
            except urllib.error.HTTPError:
                raise
            except (_BrokenOff, *_AWAY) as error:
                if _size(part) <= before:
                    if before:
                        raise _BrokenOff(f"broke off after {before} bytes: {error}") from None
                    raise


def _get(url: str, part: Path, progress: Progress) -> None:
    """One request, from where the part ends; raises _BrokenOff."""
    begin = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-"} if begin else {})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)  # a constant, or a test's
    except urllib.error.HTTPError as error:
        if error.code != _NOT_SATISFIABLE or not begin:
            raise
        error.close()
        if error.headers.get("Content-Range", "") == f"bytes */{begin}":
            return  # it was whole already
        part.unlink()  # longer than what is there: of another file
        _get(url, part, progress)
        return
    with answer:
        goes_on = answer.status == _PARTIAL and answer.headers.get("Content-Range", "").startswith(
            f"bytes {begin}-"
        )
        if not goes_on:
            begin = 0  # a server without ranges sends all of it
        length = answer.headers.get("Content-Length")
        total = begin + int(length) if length is not None else None
        task = progress.task_ids[0]
        progress.update(task, completed=begin, total=total)
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                progress.advance(task, len(chunk))
    if total is not None and _size(part) < total:
        raise _BrokenOff(f"{_size(part)} of {total} bytes came")


def _check(path: Path, weights: Weights) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(weights.digest):
        path.unlink()
        raise InvalidInput(
            f"{path}: its SHA-256 begins with {found[:8]}, not {weights.digest}: this is not what "
            f"was published as {weights.file_name}; it has been removed"
        )


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(what, total=None)
        yield progress


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
