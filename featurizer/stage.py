"""Frames to features: the stage of one lane, and the worker around it.

A frame becomes a vector, `same_as` an earlier step, or `missing` with a reason:
`shed` (too late, or unchanged since a picture that was), `corrupt` (its JPEG), `history` (no
earlier picture at the right distance), `key` (unchanged, but the picture that still stands is not
known here), `fenced` (a newer capture of the camera runs).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featurizer.decoding import Decoded, FrameDecoder
from featurizer.extractor import Extractor, open_extractor
from featurizer.inputs import Image, Inputs, still_input
from featurizer.settings import FeaturizerSettings
from shared import metrics
from shared.bundle import Bundle, find
from shared.bus import Bus, Output, Partition, Received, Record, dead_letter
from shared.codec import encode
from shared.messages import EndOfStream, Features, Frame, FrameReference, Session, slot
from shared.service import now_ns
from shared.sessions import Sessions
from shared.settings import Configuration, KafkaSettings
from shared.topics import Topics
from shared.worker import Route, Worker


@dataclass(slots=True)
class _Key:
    """The last full picture of a session: what `unchanged` frames stand for."""

    index: int
    picture: Image
    offset: int
    step: int | None = None  # the step that has its vector; None: its slot was taken already


@dataclass(slots=True)
class _Stream:
    """One session of one camera."""

    started_at: int
    inputs: Inputs
    shed: bool = False  # the last full picture was
    last_index: int = -1
    last_step: int = -1
    key: _Key | None = None

    def oldest_needed(self) -> int | None:
        offsets = [self.inputs.oldest_needed(), self.key.offset if self.key else None]
        return min((offset for offset in offsets if offset is not None), default=None)


class FeaturizerStage:
    """See the module's text. Batches mix cameras; outputs keep the order of the records."""

    def __init__(
        self,
        bundle: Bundle,
        lane: str,
        topics: Topics,
        extractor: Extractor,
        idle_timeout_seconds: float,
    ) -> None:
        description = bundle.description.input
        self._lane = lane
        self._fps = description.fps
        self._fingerprint = bundle.backbone_fingerprint
        self._topic = topics.features(lane)
        self._dead_letters = topics.dead_letters
        self._extractor = extractor
        self._sessions: Sessions[_Stream] = Sessions(
            lambda session: _Stream(session.started_at, Inputs(description)), idle_timeout_seconds
        )
        self._still = (
            extractor(still_input(description)[None])[0] if description.of_motion else None
        )

    def process(self, batch: Sequence[Received]) -> list[Output]:
        """One output per lane slot and per end of stream; dead letters for corrupt pictures."""
        outputs: list[Output | Features] = []
        images: list[Image] = []
        waiting: list[int] = []  # where in outputs the vectors of the images belong
        for received in batch:
            message, record = received.message, received.record
            if isinstance(message, EndOfStream):
                self._sessions.end(record, message.camera_id, message.session, message.ended_at)
                outputs.append(Output(self._topic, message.camera_id, encode(message)))
            elif isinstance(message, Decoded):
                if message.missing == "corrupt":
                    reason = "the JPEG does not decode"
                    outputs.append(dead_letter(self._dead_letters, record, reason))
                result = self._take(record, message)
                if isinstance(result, tuple):
                    waiting.append(len(outputs))
                    images.append(result[1])
                    result = result[0]
                if result is not None:
                    outputs.append(result)
        self._sessions.evict()
        if images:
            started = time.monotonic()
            vectors = self._extractor(np.stack(images))
            metrics.network_batch.labels(self._lane).observe(time.monotonic() - started)
            for at, vector in zip(waiting, vectors, strict=True):
                features = outputs[at]
                assert isinstance(features, Features)
                outputs[at] = replace(features, vector=vector)
        return [o if isinstance(o, Output) else self._output(o) for o in outputs]

    def _take(self, record: Record, decoded: Decoded) -> Features | tuple[Features, Image] | None:
        """Features, or features whose vector is that of an image, or None: nothing to say."""
        frame = decoded.frame
        stream = self._sessions.take(record, frame.camera_id, frame.session, frame.captured_at)
        if stream is None:
            started_at = Session.parse(frame.session).started_at
            step = slot(frame.captured_at, started_at, self._fps)
            return replace(self._blank(record, frame, step), missing="fenced")
        if frame.index <= stream.last_index:
            return None  # sent twice
        stream.last_index = frame.index
        if frame.encoding != "unchanged":
            picture = decoded.picture
            stream.key = None if picture is None else _Key(frame.index, picture, record.offset)
            stream.shed = decoded.missing == "shed"
        step = slot(frame.captured_at, stream.started_at, self._fps)
        if step <= stream.last_step:
            return None  # the lane took the first frame of this slot
        stream.last_step = step
        blank = self._blank(record, frame, step)
        key = stream.key
        if decoded.missing is not None:
            return replace(blank, missing=decoded.missing)
        if key is None or (frame.encoding == "unchanged" and key.index != frame.same_as):
            return replace(blank, missing="shed" if stream.shed else "key")
        given = frame.captured_at, key.picture, frame.motion, key.offset
        if frame.encoding == "unchanged":
            if self._still is None and key.step is not None:
                return replace(blank, same_as=key.step)
            # Of motion: repeating the last vector would repeat the last motion.
            if self._still is not None and stream.inputs.stands(*given):
                return replace(blank, vector=self._still)
        image = stream.inputs.take(*given)
        if image is None:
            return replace(blank, missing="history")
        key.step = step
        return blank, image

    def _blank(self, record: Record, frame: Frame, step: int) -> Features:
        return Features(
            self._lane, frame.camera_id, frame.session, step, step, frame.captured_at,
            self._fingerprint, FrameReference(record.partition.number, record.offset),
            motion=frame.motion,
        )  # fmt: skip

    def _output(self, features: Features) -> Output:
        kind = features.missing or ("same_as" if features.vector is None else "vector")
        metrics.features_total.labels(self._lane, kind).inc()
        return Output(self._topic, features.camera_id, encode(features))

    def oldest_needed(self) -> Mapping[Partition, int]:
        """The oldest record whose picture the next input of some camera may need."""
        oldest: dict[Partition, int] = {}
        for partition, stream in self._sessions:
            offset = stream.oldest_needed()
            if offset is not None:
                oldest[partition] = min(offset, oldest.get(partition, offset))
        return oldest

    def forget(self, partitions: Collection[Partition]) -> None:
        self._sessions.forget(partitions)

    def durable(self, outputs: Sequence[Output]) -> None:
        pass

    def close(self) -> None:
        pass


def build_worker(
    bus: Bus,
    configuration: Configuration,
    stop: threading.Event,
    clock: Callable[[], int] = now_ns,
) -> Worker:
    """The featurizer of the lane that the configuration names, its backbone warm."""
    settings = configuration.get(FeaturizerSettings)
    bundle = Bundle(find(settings.bundle))
    lane = settings.lane or bundle.name
    topics = Topics(configuration.get(KafkaSettings).prefix)
    extractor = open_extractor(bundle, settings)
    stage = FeaturizerStage(bundle, lane, topics, extractor, settings.idle_timeout_seconds)
    only_grey = bundle.description.input.of_motion
    decode = FrameDecoder(lane, settings.max_frame_age_seconds, clock, only_grey=only_grey)
    route = Route(
        "featurizer", topics.group("featurizer", lane), (topics.frames,), topics.dead_letters
    )
    return Worker(bus, stage, decode, route, settings, stop)
