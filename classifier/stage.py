"""Features to predictions: the stage of one lane, and the worker around it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import cast

import numpy as np

from classifier.inference import Classify, Numbers, open_classifier
from classifier.pins import Pins
from classifier.settings import ClassifierSettings
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

    def process(self, batch: Sequence[Received]) -> list[Output]:
        """One output per window that ends and per end of stream, in the order of the records."""
        ready: list[tuple[Features, Completed] | EndOfStream] = []
        for received in batch:
            message, record = received.message, received.record
            if isinstance(message, EndOfStream):
                self._sessions.end(record, message.camera_id, message.session, message.ended_at)
                self._gone(message.camera_id)
                ready.append(message)
            elif isinstance(message, Features):
                self._check(message)
                window = self._sessions.take(
                    record, message.camera_id, message.session, message.captured_at
                )
                if window is not None:
                    windows = window.take(message, record.offset)
                    ready += [(message, completed) for completed in windows]
                    key = message.camera_id, message.session
                    self._pins.note(record.partition, key, window)
        for camera_id, _ in self._sessions.evict():
            self._gone(camera_id)
        metrics.open_windows.labels(self._lane).set(len(self._sessions))
        return self._outputs(ready)

    def _outputs(self, ready: Sequence[tuple[Features, Completed] | EndOfStream]) -> list[Output]:
        windows = [item[1].features for item in ready if isinstance(item, tuple)]
        results = zip(*self._classify(np.stack(windows)), strict=True) if windows else iter(())
        return [
            Output(self._topic, item.camera_id, codec.encode(item))
            if isinstance(item, EndOfStream)
            else self._predict(*item, *next(results))
            for item in ready
        ]

    def _predict(
        self,
        of: Features,
        window: Completed,
        probabilities: Numbers,
        attention: Numbers,
    ) -> Output:
        # A float32 softmax may exceed 1 in its last digit, which no reader would accept.
        shares = [min(float(p), 1.0) for p in probabilities]
        named = dict(zip(self._bundle.label_names, shares, strict=True))
        prediction = Prediction(
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
        metrics.predictions_total.labels(self._lane, prediction.label).inc()
        metrics.score.labels(self._lane, prediction.camera_id).set(prediction.score)
        return Output(self._topic, of.camera_id, codec.encode(prediction))

    def _check(self, features: Features) -> None:
        expected = self._bundle.backbone_fingerprint
        if features.fingerprint != expected:
            raise Fatal(
                f"the features of lane {self._lane} were made by backbone {features.fingerprint}, "
                f"but bundle {self._bundle.folder} has backbone {expected}; give the featurizer "
                "and the classifier of a lane the same bundle, and a new bundle a new lane"
            )

    def _gone(self, camera_id: str) -> None:
        """A camera that is no more must not show its last score for ever."""
        with contextlib.suppress(KeyError):
            metrics.score.remove(self._lane, camera_id)

    def oldest_needed(self) -> Mapping[Partition, int]:
        """The oldest record whose vector the next window of some camera begins with."""
        return dict(self._pins.oldest())

    def forget(self, partitions: Collection[Partition]) -> None:
        self._sessions.forget(partitions)
        self._pins.forget(partitions)

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
