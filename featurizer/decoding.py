"""Records to frames with their pictures; any thread may do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import cv2
import numpy as np

from featurizer.inputs import Image, grey
from featurizer.shedding import Shedding
from shared import codec
from shared.bus import Record
from shared.errors import InvalidMessage
from shared.messages import EndOfStream, Frame

_END_OF_IMAGE = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame and its picture: BGR, or grey (H, W); else `missing` says why there is none.

    The frame no longer holds its bytes. An `unchanged` frame has neither picture nor `missing`.
    """

    frame: Frame
    picture: Image | None = None
    missing: str | None = None


class FrameDecoder:
    """Decode function of one lane. `clock` gives nanoseconds since the epoch.

    Stateless but for what is shed.
    """

    def __init__(
        self, lane: str, max_age_seconds: float, clock: Callable[[], int], *, only_grey: bool
    ) -> None:
        self._lane = lane
        self._shed = Shedding(max_age_seconds)
        self._clock = clock
        self._only_grey = only_grey

    def __call__(self, record: Record) -> Decoded | EndOfStream | None:
        """None for what other lanes watch. Raises InvalidMessage.

        A live frame is shed before its JPEG costs anything; a JPEG that does not decode is
        `corrupt`, for the message around it still says which step it was.
        """
        message = cast(Frame | EndOfStream, codec.decode(record.value, Frame, EndOfStream))
        if message.lanes and self._lane not in message.lanes:
            return None
        if isinstance(message, EndOfStream):
            return message
        if message.encoding == "unchanged":
            return Decoded(message)
        bare = replace(message, data=b"")  # a batch does not hold the bytes twice
        # The broker's time: the capture host's clock may be wrong.
        if message.live and self._shed(
            record.partition, record.timestamp / 1e3, self._clock() / 1e9
        ):
            return Decoded(bare, missing="shed")
        picture = self._picture(message)
        return Decoded(bare, picture, None if picture is not None else "corrupt")

    def _picture(self, frame: Frame) -> Image | None:
        """The codec has checked the size that the JPEG declares: no bomb comes this far."""
        if frame.encoding == "raw":
            raw = np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, 3)
            return grey(raw) if self._only_grey else raw
        if frame.encoding == "grey":
            if not self._only_grey:
                raise InvalidMessage("a grey picture, and this lane's model looks at colours")
            return np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width)
        if not frame.data.endswith(_END_OF_IMAGE):  # libjpeg would fill the rest with grey
            return None
        flags = cv2.IMREAD_GRAYSCALE if self._only_grey else cv2.IMREAD_COLOR
        try:
            picture = cv2.imdecode(np.frombuffer(frame.data, np.uint8), flags)
        except cv2.error:
            return None
        if picture is None or picture.shape[:2] != (frame.height, frame.width):
            return None  # an EXIF orientation would turn the picture
        return np.asarray(picture, np.uint8)
