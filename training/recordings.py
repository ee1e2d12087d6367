"""What ingest would send of each clip, kept on disk, so that drawing and decoding happen once.

One file a clip: messages of `shared/codec.py`, each after its length in four bytes. Inputs of any
kind and features of any backbone start from here.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from ingest.settings import IngestSettings
from shared.codec import decode, encode
from shared.messages import EndOfStream, Frame
from training.clips import frames
from training.disturb import DISTURBANCES
from training.duplicates import digest
from training.manifest import Clip

_KNOBS = {"long_side", "jpeg_quality", "static_gating", "key_interval_seconds"}
"""Settings of ingest that change what a frame shows; the others are about cameras that fail."""

_LENGTH = struct.Struct(">I")


class Recordings:
    """Recorded clips in a folder, sampled at one rate with one set of ingest settings."""

    def __init__(self, folder: Path, fps: float, settings: IngestSettings | None = None) -> None:
        self.folder = folder
        self.fps = fps
        self.settings = settings or IngestSettings()
        self._digests: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def key(self, clip: Clip, disturbance: str = "plain") -> str:
        """Of everything that decides the messages: content, rate, settings, disturbance."""
        if clip.source not in self._digests:
            content = clip.source if clip.drawn else digest(Path(clip.source))
            self._digests[clip.source] = content
        knobs = self.settings.model_dump(include=_KNOBS)
        parts = [self._digests[clip.source], self.fps, knobs, disturbance]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]

    def messages(self, clip: Clip, disturbance: str = "plain") -> Iterator[Frame | EndOfStream]:
        """The clip's messages, recorded first if they are not yet. Raises SourceError."""
        path = self.folder / f"{self.key(clip, disturbance)}.frames"
        if not path.is_file():
            self._record(path, clip, disturbance)
        with path.open("rb") as file:
            while head := file.read(_LENGTH.size):
                message = decode(file.read(_LENGTH.unpack(head)[0]), Frame, EndOfStream)
                assert isinstance(message, Frame | EndOfStream)
                yield message

    def _record(self, path: Path, clip: Clip, disturbance: str) -> None:
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            for message in frames(clip, self.fps, self.settings, DISTURBANCES.get(disturbance)):
                value = encode(message)
                file.write(_LENGTH.pack(len(value)))
                file.write(value)
        part.replace(path)  # a killed run leaves no half file under the final name
