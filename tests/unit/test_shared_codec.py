"""The codec: every message comes back, and of hostile bytes nothing comes but InvalidMessage."""

from __future__ import annotations

import struct
from dataclasses import fields, replace
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.codec import (
    MAX_LABELS,
    MAX_SIDE,
    MAX_VECTOR,
    VERSION,
    decode,
    encode,
)
from shared.errors import InvalidMessage
from shared.jpeg import jpeg_size
from shared.messages import (
    Encoding,
    EndOfStream,
    Features,
    Frame,
    FrameReference,
    Message,
    Motion,
    Prediction,
    Session,
)

ALL = (Frame, EndOfStream, Features, Prediction)


def jpeg(height: int, width: int, tail: bytes = b"") -> bytes:
    """The head of a JPEG: as much as says how large it is."""
    app = b"\xff\xe0" + struct.pack(">H", 6) + b"JFIF"
    return b"\xff\xd8" + app + b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + tail


names = st.from_regex(r"[A-Za-z0-9._-]{1,128}", fullmatch=True)
naturals = st.integers(0, (1 << 63) - 1)
shares = st.floats(0, 1)
texts = st.text(min_size=1, max_size=256)
sessions = st.builds(
    lambda g, s, live: str(Session(g, s, live)),
    st.integers(0, 9_999_999_999), st.integers(0, 9_999_999_999_999_999_999), st.booleans(),
)  # fmt: skip
motions = st.builds(Motion, shares, st.tuples(shares, shares, shares, shares))
dropped = st.dictionaries(st.text(min_size=1, max_size=20), naturals, max_size=5)
lanes = st.lists(names, max_size=4).map(tuple)
references = st.builds(FrameReference, naturals, naturals)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    encodings: list[Encoding] = ["jpeg", "raw", "grey", "unchanged"]
    encoding = draw(st.sampled_from(encodings))
    height, width = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    index = draw(st.integers(1, 1 << 40))
    data = {
        "jpeg": jpeg(height, width, draw(st.binary(max_size=50))),
        "raw": bytes(height * width * 3),
        "grey": bytes(height * width),
        "unchanged": b"",
    }[encoding]
    same_as = draw(st.integers(0, index - 1)) if encoding == "unchanged" else None
    return Frame(
        draw(names), draw(sessions), index, draw(naturals), draw(st.booleans()), draw(lanes),
        encoding, height, width, data, draw(motions), same_as, draw(dropped),
    )  # fmt: skip


ends = st.builds(EndOfStream, names, sessions, naturals, naturals, texts, lanes, dropped)


@st.composite
def features(draw: st.DrawFn) -> Features:
    step = draw(st.integers(0, 1 << 40))
    values = st.lists(st.floats(-60_000, 60_000, width=16), min_size=1, max_size=64)
    given: dict[str, Any] = draw(
        st.one_of(
            values.map(lambda v: {"vector": np.array(v, np.float16)}),
            st.integers(0, step).map(lambda s: {"same_as": s}),
            texts.map(lambda t: {"missing": t}),
        )
    )
    return Features(
        draw(names), draw(names), draw(sessions), draw(naturals), step, draw(naturals),
        draw(texts), draw(references), motion=draw(motions), **given,
    )  # fmt: skip


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    first, started = draw(st.integers(0, 1 << 40)), draw(st.integers(0, 1 << 61))
    return Prediction(
        draw(names), draw(names), draw(sessions), first, first + draw(st.integers(0, 1000)),
        started, started + draw(st.integers(0, 1 << 60)),
        draw(st.dictionaries(st.text(min_size=1, max_size=20), shares, min_size=1, max_size=6)),
        draw(shares), tuple(draw(st.lists(shares, max_size=30))), draw(naturals), draw(texts),
        (draw(references), draw(references)), draw(motions),
    )  # fmt: skip


messages: st.SearchStrategy[Message] = st.one_of(frames(), ends, features(), predictions())


def same(one: Message, other: Message) -> bool:
    if type(one) is not type(other):
        return False
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        equal = np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
        if not equal:
            return False
    return True


@given(messages)
def test_every_message_comes_back(message: Message) -> None:
    assert same(decode(encode(message), *ALL), message)


@given(messages, st.dictionaries(names.map(lambda name: "x-" + name), naturals, max_size=3))
def test_fields_of_a_newer_writer_are_ignored(message: Message, more: dict[str, int]) -> None:
    wire = {**msgpack.unpackb(encode(message)), **more}
    assert same(decode(msgpack.packb(wire), *ALL), message)


# --- hostile bytes: whatever they are, InvalidMessage or a message, never anything else ----------


def survives(value: bytes | None) -> None:
    try:
        message = decode(value, *ALL)
    except InvalidMessage as error:
        assert 0 < len(str(error)) < 1000
    else:
        assert isinstance(message, ALL)
        encode(message)


@given(st.binary(max_size=2000))
def test_random_bytes(value: bytes) -> None:
    survives(value)


@given(messages, st.data())
def test_truncated_bytes(message: Message, data: st.DataObject) -> None:
    value = encode(message)
    cut = value[: data.draw(st.integers(0, len(value) - 1))]
    with pytest.raises(InvalidMessage):
        decode(cut, *ALL)


@given(messages, st.data())
def test_mutated_bytes(message: Message, data: st.DataObject) -> None:
    value = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 5))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(value))


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats()
    | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(messages, st.data(), junk)
def test_a_field_of_any_other_kind(message: Message, data: st.DataObject, value: object) -> None:
    wire = msgpack.unpackb(encode(message))
    wire[data.draw(st.sampled_from(sorted(wire)))] = value
    survives(msgpack.packb(wire))


@given(messages, st.data())
def test_a_field_too_few(message: Message, data: st.DataObject) -> None:
    wire = msgpack.unpackb(encode(message))
    required = [f.name for f in fields(message) if "=" not in repr(f.default)][:3]
    del wire[data.draw(st.sampled_from(required))]
    with pytest.raises(InvalidMessage, match="is absent"):
        decode(msgpack.packb(wire), *ALL)


@given(junk)
def test_a_value_that_is_no_message(value: object) -> None:
    with pytest.raises(InvalidMessage):
        decode(msgpack.packb(value), *ALL)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xc1",  # a byte that msgpack never uses
        b"\xdb\xff\xff\xff\xff",  # a text of 4 GiB
        b"\xc6\xff\xff\xff\xff",  # bytes, 4 GiB
        b"\xdd\xff\xff\xff\xff",  # a list of four thousand million
        b"\xdf\xff\xff\xff\xff",  # a map as large
        b"\x91" * 100_000,  # lists in lists
        b"\x81\xa1v" * 10_000,  # maps in maps
        msgpack.packb({1: 2}),
        msgpack.packb([1, 2]),
        msgpack.packb(msgpack.ExtType(5, b"x")),
        b"\xd7\xff" + b"\xff" * 8,  # a time stamp out of range
        b"\x81\xa1\xff\x01",  # a key that is not UTF-8
    ],
)
def test_broken_containers(value: bytes | None) -> None:
    with pytest.raises(InvalidMessage):
        decode(value, *ALL)


FRAME = Frame("cam", "file-0-0", 3, 0, False, (), "jpeg", 4, 6, jpeg(4, 6))
VECTOR = Features("lane", "cam", "file-0-0", 3, 3, 0, "f", FrameReference(0, 0),
                  np.ones(4, np.float16))  # fmt: skip
PREDICTION = Prediction("lane", "cam", "file-0-0", 0, 9, 0, 9, {"normal": 1.0}, 0.0, (), 0, "f",
                        (FrameReference(0, 0), FrameReference(0, 1)))  # fmt: skip


def refused(message: Message, **changes: object) -> str:
    wire = msgpack.unpackb(encode(message)) | changes
    with pytest.raises(InvalidMessage) as info:
        decode(msgpack.packb(wire), *ALL)
    return str(info.value)


@pytest.mark.parametrize("version", [0, 2, -1, True, 1.0, "1", None, [1], 1 << 63])
def test_another_version(version: object) -> None:
    assert "schema version" in refused(FRAME, v=version)


def test_another_type() -> None:
    with pytest.raises(InvalidMessage, match="expected features or end"):
        decode(encode(FRAME), Features, EndOfStream)
    assert "type" in refused(FRAME, type=["frame"])
    assert VERSION == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"height": 65_535, "width": 65_535}, "height"),
        ({"height": MAX_SIDE, "width": MAX_SIDE}, "pixels"),
        ({"height": 5}, "not of the size"),
        ({"data": jpeg(65_535, 65_535)}, "not of the size"),
        ({"data": b"GIF89a"}, "not of the size"),
        ({"data": b""}, "not of the size"),
        ({"encoding": "raw"}, "height x width x 3"),
        ({"encoding": "grey"}, "height x width x 1"),
        ({"encoding": "raw", "height": 0, "width": 0, "data": b""}, "0x0"),
        ({"height": 0, "width": 0, "data": jpeg(0, 0)}, "0x0"),
        ({"encoding": "png"}, "not an encoding"),
        ({"encoding": "unchanged"}, "same_as"),
        ({"encoding": "unchanged", "same_as": 3, "data": b""}, "earlier index"),
        ({"encoding": "unchanged", "same_as": 1}, "carries no data"),
        ({"same_as": 1}, "only an unchanged frame"),
        ({"camera_id": "a/b"}, "camera_id"),
        ({"camera_id": "a\n"}, "camera_id"),
        ({"session": "live-1"}, "session"),
        ({"session": "file-0-0\n"}, "session"),
        ({"index": -1}, "index"),
        ({"index": True}, "index"),
        ({"captured_at": 1 << 63}, "captured_at"),
        ({"motion": [2.0, [0, 0, 1, 1]]}, "motion"),
        ({"motion": [0.1, [0, 0, 1]]}, "motion"),
        ({"dropped_before": {"full": -1}}, "dropped_before"),
        ({"dropped_before": {str(i): 1 for i in range(65)}}, "dropped_before"),
        ({"lanes": ["x"] * 65}, "lanes"),
    ],
)
def test_frames_that_lie(changes: dict[str, object], reason: str) -> None:
    assert reason in refused(FRAME, **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vector": np.array([1, np.nan], np.float16).tobytes()}, "NaN"),
        ({"vector": np.array([np.inf], np.float16).tobytes()}, "NaN or infinity"),
        ({"vector": b"123"}, "float16"),
        ({"vector": b""}, "float16"),
        ({"vector": bytes(2 * MAX_VECTOR + 2)}, "float16"),
        ({"vector": [1.0, 2.0]}, "float16"),
        ({"vector": None}, "exactly one"),
        ({"missing": "shed"}, "exactly one"),
        ({"vector": None, "same_as": 4}, "future"),
        ({"frame": [0, -1]}, "frame"),
        ({"frame": [0]}, "frame"),
    ],
)
def test_features_that_lie(changes: dict[str, object], reason: str) -> None:
    assert reason in refused(VECTOR, **changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"probabilities": {}}, "no probabilities"),
        ({"probabilities": {"normal": float("nan")}}, "finite"),
        ({"probabilities": {"normal": 1.5}}, "not in 0..1"),
        ({"probabilities": {str(i): 0.1 for i in range(MAX_LABELS + 1)}}, "at most"),
        ({"score": float("inf")}, "finite"),
        ({"score": 1 << 60}, "not in"),
        ({"last_index": -1}, "last_index"),
        ({"first_index": 10}, "ends before it begins"),
        ({"started_at": 10}, "ends before it begins"),
        ({"attention": [0.1] * 5000}, "attention"),
        ({"frames": [[0, 0]]}, "frames"),
    ],
)
def test_predictions_that_lie(changes: dict[str, object], reason: str) -> None:
    assert reason in refused(PREDICTION, **changes)


@given(st.binary(max_size=300))
def test_jpeg_size_of_anything(data: bytes) -> None:
    for value in (data, b"\xff\xd8" + data, b"\xff\xd8\xff" + data):
        size = jpeg_size(value)
        assert size is None or all(0 <= side <= 65_535 for side in size)


def test_jpeg_size_past_other_segments() -> None:
    assert jpeg_size(jpeg(480, 640)) == (480, 640)
    padded = jpeg(480, 640).replace(b"\xff\xc0", b"\xff\xff\xc0")
    assert jpeg_size(padded) == (480, 640)
    assert jpeg_size(jpeg(480, 640)[:14]) is None


def test_a_message_that_cannot_be_packed_is_a_bug() -> None:
    with pytest.raises(TypeError, match="cannot encode"):
        encode(replace(FRAME, camera_id=object()))  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers() -> None:
    numbers: Any = np.array([0.25, 0.75], np.float32)
    message = replace(PREDICTION, score=numbers[0], probabilities={"normal": numbers[1]})
    assert decode(encode(message), Prediction).score == 0.25
