"""Features to predictions: the stage of one lane, and the worker around it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from typing import cast

import numpy as np

from classifier.inference import Classify, Numbers, open_classifier
from classifier.pins import Pins
from classifier.settings import ClassifierSettings
from classifier.shown import Shown
from classifier.window import Completed, Window
from shared import codec, metrics
from shared.bundle import NORMAL, Bundle, find
from shared.bus import Bus, Output, Partition, Received, Record
from shared.errors import Fatal, InvalidMessage, InvalidSettings
from shared.messages import EndOfStream, Features, Prediction
from shared.sessions import Sessions
from shared.settings import Configuration, KafkaSettings
from shared.topics import Topics
from shared.worker import Route, Worker

_Ready = tuple[Partition, Features, Completed]
"""A window that ended, the features that ended it, and where they came from."""


class FeaturesDecoder:
    """Decode function: also checks that vectors are of this lane and of the bundle's length."""

    def __init__(self, bundle: Bundle, lane: str) -> None:
        self._features = bundle.description.backbone.features
        self._lane = lane

    def __call__(self, record: Record) -> Features | EndOfStream:
        """Raises InvalidMessage."""
        message = cast(Features | EndOfStream, codec.decode(record.value, Features, EndOfStream))
        if isinstance(message, Features):
            if message.lane != self._lane:
                raise InvalidMessage(f"of lane {message.lane}, expected {self._lane}")
            if message.vector is not None and len(message.vector) != self._features:
                raise InvalidMessage(f"{len(message.vector)} features, not {self._features}")
        return message


class ClassifierStage:
    """Windows of all cameras; those that end in a batch go through the network together."""

    def __init__(
        self,
        bundle: Bundle,
        lane: str,
        topics: Topics,
        classify: Classify,
        idle_timeout_seconds: float,
    ) -> None:
        shape = bundle.description.classifier
        self._bundle = bundle
        self._lane = lane
        self._topic = topics.predictions(lane)
        self._classify = classify
        self._sessions: Sessions[Window] = Sessions(
            lambda _: Window(shape.window, shape.stride, shape.max_gap), idle_timeout_seconds
        )
        self._pins = Pins(self._sessions)
        self._shown = Shown(bundle, lane)

    def process(self, batch: Sequence[Received]) -> list[Output]:
        """One output per window that ends and per end of stream, in the order of the records."""
        ready: list[_Ready | EndOfStream] = []
        gone: list[str] = []
        for received in batch:
            message, record = received.message, received.record
            if isinstance(message, EndOfStream):
                self._sessions.end(record, message.camera_id, message.session, message.ended_at)
                gone.append(message.camera_id)
                ready.append(message)
            elif isinstance(message, Features):
                self._check(message)
                window = self._sessions.take(
                    record, message.camera_id, message.session, message.captured_at
                )
                if window is not None:
                    windows = window.take(message, record.offset)
                    ready += [(record.partition, message, completed) for completed in windows]
                    key = message.camera_id, message.session
                    self._pins.note(record.partition, key, window)
        gone += [camera_id for camera_id, _ in self._sessions.evict()]
        metrics.open_windows.labels(self._lane).set(len(self._sessions))
        outputs = self._outputs(ready)
        for camera_id in gone:  # after its last windows of this very batch
            self._shown.gone(camera_id)
        return outputs

    def _outputs(self, ready: Sequence[_Ready | EndOfStream]) -> list[Output]:
        ended = [item for item in ready if not isinstance(item, EndOfStream)]
        made = iter(self._predictions(ended) if ended else [])
        messages = [item if isinstance(item, EndOfStream) else next(made) for item in ready]
        return [Output(self._topic, m.camera_id, codec.encode(m)) for m in messages]

    def _predictions(self, ended: Sequence[_Ready]) -> list[Prediction]:
        windows = np.stack([completed.features for _, _, completed in ended])
        probabilities, attention = self._classify(windows)
        predictions = [
            self._prediction(of, window, *numbers)
            for (_, of, window), *numbers in zip(ended, probabilities, attention, strict=True)
        ]
        partitions = [partition for partition, *_ in ended]
        self._shown.take(list(zip(partitions, predictions, strict=True)), windows, probabilities)
        return predictions

    def _prediction(
        self,
        of: Features,
        window: Completed,
        probabilities: Numbers,
        attention: Numbers,
    ) -> Prediction:
        # A float32 softmax may exceed 1 in its last digit, which no reader would accept.
        shares = [min(float(p), 1.0) for p in probabilities]
        named = dict(zip(self._bundle.label_names, shares, strict=True))
        return Prediction(
            lane=self._lane,
            camera_id=of.camera_id,
            session=of.session,
            first_index=window.first.index,
            last_index=window.last.index,
            started_at=window.first.captured_at,
            ended_at=window.last.captured_at,
            probabilities=named,
            score=1 - named[NORMAL],
            attention=tuple(min(float(weight), 1.0) for weight in attention),
            gaps=window.gaps,
            fingerprint=self._bundle.fingerprint,
            frames=(window.first.frame, window.last.frame),
            motion=window.motion,
        )

    def _check(self, features: Features) -> None:
        expected = self._bundle.backbone_fingerprint
        if features.fingerprint != expected:
            raise Fatal(
                f"the features of lane {self._lane} were made by backbone {features.fingerprint}, "
                f"but bundle {self._bundle.folder} has backbone {expected}; give the featurizer "
                "and the classifier of a lane the same bundle, and a new bundle a new lane"
            )

    def oldest_needed(self) -> Mapping[Partition, int]:
        """The oldest record whose vector the next window of some camera begins with."""
        return dict(self._pins.oldest())

    def forget(self, partitions: Collection[Partition]) -> None:
        self._sessions.forget(partitions)
        self._pins.forget(partitions)
        self._shown.forget(partitions)

    def durable(self, outputs: Sequence[Output]) -> None:
        pass

    def close(self) -> None:
        pass


def build_worker(bus: Bus, configuration: Configuration, stop: threading.Event) -> Worker:
    """The classifier of the lane that the configuration names. Raises InvalidSettings."""
    settings = configuration.get(ClassifierSettings)
    bundle = Bundle(find(settings.bundle))
    longest = bundle.description.classifier.max_gap / bundle.description.input.fps
    if settings.idle_timeout_seconds <= longest:
        raise InvalidSettings(
            f"classifier.idle_timeout_seconds must exceed {longest:.2f} s, the longest gap that a "
            f"window of {bundle.name} forgives, plus the largest delay of ingest"
        )
    lane = settings.lane or bundle.name
    topics = Topics(configuration.get(KafkaSettings).prefix)
    classify = open_classifier(bundle, settings.backend, settings.threads)
    stage = ClassifierStage(bundle, lane, topics, classify, settings.idle_timeout_seconds)
    route = Route(
        "classifier", topics.group("classifier", lane), (topics.features(lane),),
        topics.dead_letters,
    )  # fmt: skip
    return Worker(bus, stage, FeaturesDecoder(bundle, lane), route, settings, stop)
