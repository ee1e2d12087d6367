"""Drawn cameras: `synthetic://street?seed=7&events=fighting@12-18`.

    source = SyntheticSource("synthetic://street?seed=7&seconds=20&events=explosion@8-14")
    for picture in source: ...
    source.script.labels_at(9.0)  # ("explosion",)

The script of a scene is its ground truth. `docs/synthetic.md` lists the options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ingest.pictures import Image, Picture
from ingest.scene.act import Event
from ingest.scene.address import HELD_OUT_STYLE, STYLES, clip_url, parse
from ingest.scene.script import Script
from ingest.scene.stage import Stage
from ingest.scene.tiny import TinyStage
from shared.messages import NANOSECONDS

__all__ = ["HELD_OUT_STYLE", "STYLES", "Event", "Script", "SyntheticSource", "clip_url"]


class SyntheticSource:
    """A drawn scene as a source of pictures, as fast as they are asked for.

    The first picture is taken at `start_ns`; the same address gives the same pictures. Raises
    InvalidInput if the address cannot be read.
    """

    def __init__(self, url: str, start_ns: int = 0) -> None:
        self.options = parse(url)
        self._start = start_ns
        stage: Stage | TinyStage
        stage = TinyStage(self.options) if self.options.detail == "tiny" else Stage(self.options)
        self._stage = stage
        self.script = stage.script

    @property
    def frames(self) -> int:
        """How many pictures there are; 0 for a scene without end."""
        return 0 if self.options.seconds is None else round(self.options.seconds * self.options.fps)

    def frame(self, number: int) -> Image:
        """Picture `number`, drawn anew: uint8 (height, width, 3), BGR."""
        return self._stage.draw(number, number / self.options.fps)

    def labels_at(self, seconds: float) -> tuple[str, ...]:
        """Labels of what goes on `seconds` after the start; `("normal",)` if nothing does."""
        return self.script.labels_at(seconds)

    def __iter__(self) -> Iterator[Picture]:
        return self.pictures(lambda at: True)

    def pictures(self, wanted: Callable[[int], bool]) -> Iterator[Picture]:
        """The pictures whose time is wanted; the others are not even drawn."""
        number = 0
        while not self.frames or number < self.frames:
            at = self._start + round(number * NANOSECONDS / self.options.fps)
            if wanted(at):
                yield Picture(at, self.frame(number))
            number += 1
