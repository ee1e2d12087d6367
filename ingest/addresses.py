"""What a camera's `source` means, and how its credentials are put in and kept out of sight."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from shared.cameras import Camera
from shared.errors import SourceError

Kind = Literal["file", "folder", "stream", "device", "synthetic"]

HIDDEN = "***"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)\S*@")
_QUERY = re.compile(
    r"([?&;](?:user(?:name)?|usr|login|pass(?:word|wd)?|pwd|token|key|api_?key|auth|secret|sig\w*)=)"
    r"[^&;#\s\"']+",
    re.IGNORECASE,
)


def kind_of(source: str) -> Kind:
    """What sort of source it is; a path that does not exist counts as a file."""
    if source.startswith("synthetic://"):
        return "synthetic"
    if source.isdecimal() or source.startswith("/dev/video"):
        return "device"
    if _SCHEME.match(source) and not source.startswith("file://"):
        return "stream"
    return "folder" if path_of(source).is_dir() else "file"


def path_of(source: str) -> Path:
    """The path of a file or folder source."""
    if source.startswith("file://"):
        return Path(unquote(source.removeprefix("file://")))
    return Path(source).expanduser()


def redact(text: str) -> str:
    """The text without user, password or token of any address in it.

    Rather too much than too little: everything up to the last `@` of an address goes.
    """
    return _QUERY.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1{HIDDEN}@", text))


def has_credentials(source: str) -> bool:
    """Whether an address carries a user, password or token, which a definition must not."""
    return redact(source.replace("{secret}@", "")) != source.replace("{secret}@", "")


class Opened:
    """A camera's source with its secret put in. `str()` and `repr()` of it are redacted."""

    def __init__(self, camera: Camera, secrets_folder: Path | None) -> None:
        """Raises SourceError where the secret is absent."""
        self._secret = ""
        self.address = camera.source
        if camera.secret is not None:
            self._secret = _secret(camera, secrets_folder)
            self.address = camera.source.replace("{secret}", self._secret)
        elif "{secret}" in camera.source:
            raise SourceError(
                f"{camera.id}: the source says {{secret}}, but the camera names no secret"
            )

    def redact(self, text: str) -> str:
        """The text without the secret, however it is quoted, and without other credentials."""
        parts = {self._secret, *self._secret.split(":", 1)}
        for part in sorted(parts, key=len, reverse=True):
            for form in {part, unquote(part), quote(part), quote(part, safe="")} - {""}:
                text = text.replace(form, HIDDEN) if len(form) > 2 else text
        return redact(text)

    def __str__(self) -> str:
        return self.redact(self.address)

    __repr__ = __str__


def _secret(camera: Camera, folder: Path | None) -> str:
    if folder is None:
        raise SourceError(
            f"{camera.id}: needs the secret {camera.secret!r}, but ingest.secrets_folder is not set"
        )
    try:
        return (folder / str(camera.secret)).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise SourceError(f"{camera.id}: secret {camera.secret!r} in {folder}: {why}") from None
