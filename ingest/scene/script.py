"""The script of a drawn scene: what happens when and where. It is the ground truth.

A random schedule is made minute by minute, each from its own seed, so that a scene without end
needs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from math import cos

import numpy as np

from ingest.scene.accident import accident, driving
from ingest.scene.act import Act, Event
from ingest.scene.address import ABNORMAL, DISTRACTORS, Options, acts_in
from ingest.scene.distractors import distractor
from ingest.scene.explosion import explosion
from ingest.scene.street import Street
from ingest.scene.violence import assault, fighting

NORMAL = "normal"

_MINUTE = 60.0
_DRAW = {"assault": assault, "fighting": fighting, "explosion": explosion, "accident": accident}
_ROAD = {"accident", "braking"}
_LONGEST = 20.0
"""Seconds that an act's performers may be seen before its onset and after its end."""


class Script:
    """All acts of one scene, and the labels that follow from them."""

    def __init__(self, options: Options, street: Street, sketch: bool = False) -> None:
        """With `sketch` the acts have no performers: only the events are wanted."""
        self._options, self._street, self._sketch = options, street, sketch
        self._fixed = [
            self._act(number, act, start, end)
            for number, (act, start, end) in enumerate(
                acts_in(options.events) + acts_in(options.distractors)
            )
        ]
        self._busy = [(act.event.start - 2.5, act.event.end + 2.5) for act in self._fixed]
        self._minute = lru_cache(maxsize=4)(self._draw_minute)

    def acts_at(self, time: float) -> list[Act]:
        """Acts of which anything may be seen at `time`, in seconds."""
        acts = [act for act in self._fixed if act.span[0] <= time <= act.span[1]]
        if "random" in {self._options.events, self._options.distractors}:
            first = max(0, int((time - _LONGEST) // _MINUTE))
            for number in range(first, int((time + _LONGEST) // _MINUTE) + 1):
                acts += [act for act in self._minute(number) if act.span[0] <= time <= act.span[1]]
        return acts

    def between(self, start: float, end: float) -> list[Event]:
        """Events that touch [start, end], normal ones included, in order."""
        acts = list(self._fixed)
        if "random" in {self._options.events, self._options.distractors}:
            for number in range(int(max(start, 0) // _MINUTE), int(end // _MINUTE) + 1):
                acts += self._minute(number)
        events = [act.event for act in acts]
        return sorted(
            (event for event in events if event.end > start and event.start <= end),
            key=lambda event: event.start,
        )

    @property
    def events(self) -> tuple[Event, ...]:
        """The abnormal events of a scene with an end; ValueError for a random one without."""
        return tuple(event for event in self._all() if event.label != NORMAL)

    @property
    def distractors(self) -> tuple[Event, ...]:
        """The lively normal acts of a scene with an end; ValueError for a random one without."""
        return tuple(event for event in self._all() if event.label == NORMAL)

    def _all(self) -> list[Event]:
        if self._options.seconds is not None:
            return self.between(0.0, self._options.seconds)
        if self._options.events == "random":
            raise ValueError("a random scene without end has no last event; use between()")
        return sorted((act.event for act in self._fixed), key=lambda event: event.start)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._all())

    def labels_at(self, time: float) -> tuple[str, ...]:
        """Labels of what goes on at `time`; `("normal",)` if nothing does."""
        labels = {
            event.label
            for event in self.between(time, time)
            if event.start <= time < event.end and event.label != NORMAL
        }
        return tuple(sorted(labels)) or (NORMAL,)

    def _draw_minute(self, number: int) -> tuple[Act, ...]:
        """Acts of one minute, apart from one another and from the fixed ones."""
        random = np.random.default_rng([self._options.seed, 0x5C, number])
        names: list[str] = []
        if self._options.events == "random":
            names += [str(random.choice(list(ABNORMAL))) for _ in range(random.integers(1, 3))]
        if self._options.distractors == "random":
            names += [str(random.choice(DISTRACTORS)) for _ in range(random.integers(1, 4))]
        random.shuffle(names)
        acts: list[Act] = []
        time = number * _MINUTE + float(random.uniform(3, 9))
        for name in names:
            seconds = float(random.uniform(4, 7))
            span = (time - 2.5, time + seconds + 2.5)
            time += seconds + float(random.uniform(6, 9))
            if span[1] > (number + 1) * _MINUTE:
                break
            if any(span[0] < end and start < span[1] for start, end in self._busy):
                continue
            index = 1000 + 10 * number + len(acts)
            acts.append(self._act(index, name, span[0] + 2.5, span[1] - 2.5))
        return tuple(acts)

    def _act(self, number: int, name: str, start: float, end: float) -> Act:
        random = np.random.default_rng([self._options.seed, 0xAC7, number])
        place = self._place(random, name)
        if self._sketch:
            region = self._street.view.region(*place, 1.6)
            return Act(Event(ABNORMAL.get(name, NORMAL), start, end, region, name))
        draw = _DRAW.get(name) or partial(distractor, name)
        act = draw(self._street, random, place, start, end)
        if act.clear is None and abs(place[0]) < self._street.half_road + 0.6:
            act = replace(act, clear=(start - 5, end + 7))
        return act

    def _place(self, random: np.random.Generator, name: str) -> tuple[float, float]:
        """A ground point well inside the picture, where a person is tall enough to be seen."""
        street, view = self._street, self._street.view
        inner = street.half_road + 0.5 if name not in _ROAD and random.random() < 0.7 else 0.0
        limit = street.half_road - 0.6 if name in _ROAD else street.half_width - 0.8
        rows = (0.38, 0.68) if name in _ROAD else (0.42, 0.84)
        best: tuple[float, float] = street.aim
        closest = np.inf
        for attempt in range(80):
            column = float(random.uniform(0.22, 0.78)) * view.width
            row = float(random.uniform(*rows)) * view.height
            place = view.ground(column, row)
            near = inner if attempt < 50 else 0.0
            if place is None or not near <= abs(place[0]) <= limit or abs(place[1]) > 30:
                continue
            if any(abs(place[0] - x) < 1.8 and abs(place[1] - z) < 3.2 for x, z in street.parked):
                continue
            if name in _ROAD:  # where it comes to rest must be seen too
                lane = float(np.sign(place[0]) or 1.0) * 0.5 * street.half_road
                if not view.sees(lane, place[1] + 5 * cos(driving(lane)), margin=-1.0):
                    continue
            tall = 1.75 * view.pixels_per_metre(*place) / view.height
            if (0.14 if name in _ROAD else 0.18) <= tall <= 0.5:
                return place
            if abs(tall - 0.3) < closest:
                best, closest = place, abs(tall - 0.3)
        return best
