"""Messages to bytes and back (msgpack), refusing everything that is not whole.

A message is a msgpack map: `v` (schema version), `type`, and the fields of its dataclass by name.
Unknown extra fields are ignored, so that an old reader survives a new writer; a missing field with
a default takes it; everything else that is wrong raises `InvalidMessage` with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

import msgpack
import numpy as np

from shared.errors import InvalidMessage
from shared.jpeg import jpeg_size
from shared.messages import (
    CAMERA_ID,
    EndOfStream,
    Features,
    Frame,
    FrameReference,
    Message,
    Motion,
    Prediction,
    Session,
)

VERSION = 1
MAX_SIDE = 8192
MAX_PIXELS = 16_000_000
MAX_DATA_BYTES = 64 << 20
MAX_VECTOR = 16_384
MAX_LABELS = 1024
MAX_WINDOW = 4096
_BYTES_A_PIXEL = {"raw": 3, "grey": 1}
_BUFFER = 4096
"""Bytes to pack into at first. Into a megabyte, msgpack's own choice, a quarter of one takes ten
times as long."""
_MAX_INTEGER = (1 << 63) - 1

M = TypeVar("M", bound=Message)
Check = Callable[[Any], Any]


def encode(message: Message) -> bytes:
    """Bytes of a message, schema version included."""
    wire: dict[str, Any] = {"v": VERSION, "type": _NAMES[type(message)]}
    for name in _FIELDS[type(message)]:
        wire[name] = getattr(message, name)
    packed = msgpack.packb(wire, default=_plain, buf_size=_BUFFER)
    assert isinstance(packed, bytes)
    return packed


def decode(value: bytes | None, *expected: type[M]) -> M:
    """The message in `value`, which must be of one of the `expected` types.

    Raises InvalidMessage: not msgpack, another version, another type, a field that is absent, of
    the wrong type, too long or out of range, a vector with NaN, a picture whose size is absurd.
    """
    if value is None:
        raise InvalidMessage("no value")
    try:
        wire = msgpack.unpackb(value, strict_map_key=True)
    except Exception as error:  # msgpack raises half a dozen kinds, some of them bare ValueError
        raise InvalidMessage(f"not msgpack: {type(error).__name__}") from error
    if not isinstance(wire, dict):
        raise InvalidMessage("not a map")
    if type(wire.get("v")) is not int or wire["v"] != VERSION:
        raise InvalidMessage(f"schema version {_short(wire.get('v'))}, expected {VERSION}")
    kind = next((k for k in expected if _NAMES[k] == wire.get("type")), None)
    if kind is None:
        names = " or ".join(_NAMES[k] for k in expected)
        raise InvalidMessage(f"type {_short(wire.get('type'))}, expected {names}")
    message = _build(kind, wire)
    _whole(message)
    return message


def _build(kind: type[M], wire: Mapping[str, Any]) -> M:
    values = {}
    for name, check in _FIELDS[kind].items():
        if name not in wire:
            if name in _REQUIRED[kind]:
                raise InvalidMessage(f"{name} is absent")
            continue
        try:
            values[name] = check(wire[name])
        except InvalidMessage as error:
            raise InvalidMessage(f"{name}: {error}") from None
    return kind(**values)


def _whole(message: Message) -> None:
    """What no single field can tell."""
    if isinstance(message, Frame):
        _picture(message)
    elif isinstance(message, Features):
        given = [x is not None for x in (message.vector, message.same_as, message.missing)]
        if sum(given) != 1:
            raise InvalidMessage("exactly one of vector, same_as and missing must be given")
        if message.same_as is not None and message.same_as > message.step:
            raise InvalidMessage("same_as lies in the future")
    elif isinstance(message, Prediction):
        if message.last_index < message.first_index or message.ended_at < message.started_at:
            raise InvalidMessage("the window ends before it begins")
        if not message.probabilities:
            raise InvalidMessage("no probabilities")


def _picture(frame: Frame) -> None:
    if frame.encoding == "unchanged":
        if frame.same_as is None or frame.same_as >= frame.index:
            raise InvalidMessage("an unchanged frame must name an earlier index in same_as")
        if frame.data:
            raise InvalidMessage("an unchanged frame carries no data")
        return
    if frame.same_as is not None:
        raise InvalidMessage("only an unchanged frame has same_as")
    if not 0 < frame.height * frame.width <= MAX_PIXELS:
        raise InvalidMessage(f"{frame.width}x{frame.height} is not 1 to {MAX_PIXELS} pixels")
    if frame.encoding in _BYTES_A_PIXEL:
        each = _BYTES_A_PIXEL[frame.encoding]
        if len(frame.data) != frame.height * frame.width * each:
            raise InvalidMessage(f"{frame.encoding} data is not height x width x {each} bytes")
    elif jpeg_size(frame.data) != (frame.height, frame.width):
        raise InvalidMessage("the JPEG is not of the size that the message states")


# --- checks: each takes what msgpack gave and returns the field's value, or raises ---------------


def _integer(low: int = 0, high: int = _MAX_INTEGER) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int:
            raise InvalidMessage(f"not an integer: {_short(value)}")
        if not low <= value <= high:
            raise InvalidMessage(f"{value} is not in {low}..{high}")
        return value

    return check


def _number(low: float, high: float) -> Check:
    def check(value: Any) -> float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise InvalidMessage(f"not a finite number: {_short(value)}")
        if not low <= value <= high:
            raise InvalidMessage(f"{value} is not in {low}..{high}")
        return float(value)

    return check


def _text(longest: int = 256, shortest: int = 1) -> Check:
    def check(value: Any) -> str:
        if type(value) is not str or not shortest <= len(value) <= longest:
            raise InvalidMessage(
                f"not a text of {shortest} to {longest} characters: {_short(value)}"
            )
        return value

    return check


def _name(value: Any) -> str:
    if type(value) is not str or CAMERA_ID.fullmatch(value) is None:
        raise InvalidMessage(f"not a name of letters, digits, '.', '_', '-': {_short(value)}")
    return value


def _session(value: Any) -> str:
    try:
        return str(Session.parse(_text()(value)))
    except ValueError as error:
        raise InvalidMessage(str(error)) from None


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise InvalidMessage(f"not a boolean: {_short(value)}")
    return value


def _data(value: Any) -> bytes:
    if type(value) is not bytes or len(value) > MAX_DATA_BYTES:
        raise InvalidMessage("not bytes, or too many")
    return value


def _encoding(value: Any) -> str:
    if value not in ("jpeg", "raw", "grey", "unchanged"):
        raise InvalidMessage(f"not an encoding: {_short(value)}")
    return str(value)


def _tuple(item: Check, longest: int, shortest: int = 0) -> Check:
    def check(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or not shortest <= len(value) <= longest:
            raise InvalidMessage(f"not a list of {shortest} to {longest} items")
        return tuple(item(x) for x in value)

    return check


def _mapping(item: Check, longest: int) -> Check:
    key = _text(128)

    def check(value: Any) -> dict[str, Any]:
        if type(value) is not dict or len(value) > longest:
            raise InvalidMessage(f"not a map of at most {longest} entries")
        return {key(k): item(v) for k, v in value.items()}

    return check


def _optional(item: Check) -> Check:
    return lambda value: None if value is None else item(value)


def _motion(value: Any) -> Motion:
    energy, region = _tuple(lambda x: x, 2, 2)(value)
    return Motion(_number(0, 1)(energy), _tuple(_number(0, 1), 4, 4)(region))


def _reference(value: Any) -> FrameReference:
    return FrameReference(*_tuple(_integer(), 2, 2)(value))


def _references(value: Any) -> tuple[Any, ...]:
    references: tuple[Any, ...] = _tuple(_reference, 2, 2)(value)
    return references


def _vector(value: Any) -> np.ndarray:
    if type(value) is not bytes or not 0 < len(value) <= 2 * MAX_VECTOR or len(value) % 2:
        raise InvalidMessage("not the bytes of a float16 vector")
    vector = np.frombuffer(value, np.float16)
    if not np.isfinite(vector).all():
        raise InvalidMessage("the vector holds NaN or infinity")
    return vector


def _plain(value: Any) -> Any:
    """What msgpack cannot pack by itself."""
    if isinstance(value, Motion):
        return [value.energy, list(value.region)]
    if isinstance(value, FrameReference):
        return [value.partition, value.offset]
    if isinstance(value, np.ndarray):
        return value.astype(np.float16, copy=False).tobytes()
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"cannot encode {type(value).__name__}")


def _short(value: Any) -> str:
    return repr(value)[:60]


_dropped = _mapping(_integer(), 64)
_lanes = _tuple(_name, 64)
_side = _integer(0, MAX_SIDE)
_source = {"camera_id": _name, "session": _session}

_FIELDS: dict[type[Any], dict[str, Check]] = {
    Frame: {
        **_source, "index": _integer(), "captured_at": _integer(), "live": _flag, "lanes": _lanes,
        "encoding": _encoding, "height": _side, "width": _side, "data": _data, "motion": _motion,
        "same_as": _optional(_integer()), "dropped_before": _dropped,
    },
    EndOfStream: {
        **_source, "index": _integer(), "ended_at": _integer(), "reason": _text(),
        "lanes": _lanes, "dropped_before": _dropped,
    },
    Features: {
        "lane": _name, **_source, "index": _integer(), "step": _integer(),
        "captured_at": _integer(), "fingerprint": _text(), "frame": _reference,
        "vector": _optional(_vector), "same_as": _optional(_integer()),
        "missing": _optional(_text()), "motion": _motion,
    },
    Prediction: {
        "lane": _name, **_source, "first_index": _integer(), "last_index": _integer(),
        "started_at": _integer(), "ended_at": _integer(),
        "probabilities": _mapping(_number(0, 1), MAX_LABELS), "score": _number(0, 1),
        "attention": _tuple(_number(0, 1), MAX_WINDOW), "gaps": _integer(), "fingerprint": _text(),
        "frames": _references, "motion": _motion,
    },
}  # fmt: skip
_NAMES: dict[type[Any], str] = {
    Frame: "frame",
    EndOfStream: "end",
    Features: "features",
    Prediction: "prediction",
}
_REQUIRED = {
    kind: {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    for kind in _FIELDS
}
