"""Addresses of drawn cameras: `synthetic://street?seed=7&events=fighting@12-18`.

`docs/synthetic.md` lists the options.
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shared.errors import InvalidInput

ABNORMAL = {
    "assault": "assault",
    "explosion": "explosion",
    "fighting": "fighting",
    "accident": "road_accident",
}
"""Acts that carry a label of their own: the name in an address, and the label."""

DISTRACTORS = (
    "running",
    "hugging",
    "dancing",
    "crowd",
    "group",
    "playing",
    "braking",
    "flicker",
)
"""Acts that are lively and normal."""

HELD_OUT_STYLE = 1
"""Never drawn for training: evaluation asks whether a model learnt the act or the drawing."""

STYLES = (0, 1, 2)

_ACT = re.compile(r"([a-z_-]+)@(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")


class Options(BaseModel):
    """What an address says; None means that the seed decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0, lt=2**63)
    fps: float = Field(15.0, gt=0, le=120)
    width: int = Field(640, ge=16, le=1920)
    height: int = Field(360, ge=16, le=1080)
    seconds: float | None = Field(None, gt=0)
    style: int = Field(0, ge=0, le=max(STYLES))
    light: Literal["day", "dusk", "night"] | None = None
    weather: Literal["clear", "rain"] | None = None
    detail: Literal["full", "tiny"] = "full"
    events: str = "none"
    distractors: str = "random"
    people: int | None = Field(None, ge=0, le=40)
    traffic: float | None = Field(None, ge=0, le=60, description="vehicles a minute")
    noise: float | None = Field(None, ge=0, le=30, description="deviation in grey levels")
    shake: float | None = Field(None, ge=0, le=10, description="pixels")
    flicker: float | None = Field(None, ge=0, le=0.5, description="share of the exposure")

    @field_validator("events", "distractors")
    @classmethod
    def _known_acts(cls, value: str) -> str:
        acts_in(value)
        return value


def acts_in(text: str) -> list[tuple[str, float, float]]:
    """`fighting@12-18,explosion@30-36` as (act, start, end); empty for `none` and `random`."""
    if text in {"none", "random", ""}:
        return []
    acts = []
    for part in text.split(","):
        match = _ACT.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part!r} is not ACT@START-END, in seconds")
        act = match[1].replace("road_", "").replace("road-", "")
        if act not in ABNORMAL and act not in DISTRACTORS:
            raise ValueError(f"{match[1]!r} is not one of {', '.join([*ABNORMAL, *DISTRACTORS])}")
        start, end = float(match[2]), float(match[3])
        if end - start < 0.5:
            raise ValueError(f"{part!r} lasts less than half a second")
        acts.append((act, start, end))
    return sorted(acts, key=lambda item: item[1])


def parse(url: str) -> Options:
    """Reads an address; raises InvalidInput with what is wrong in it."""
    parts = urlsplit(url)
    if parts.scheme != "synthetic" or parts.netloc != "street" or parts.path.strip("/"):
        raise InvalidInput(f"{url!r} is not a drawn camera: synthetic://street?seed=…")
    try:
        query: dict[str, str] = dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        )
    except ValueError:
        raise InvalidInput(f"{url!r}: its options are not name=value&name=value") from None
    if query.pop("night", "0") not in {"0", ""}:
        query.setdefault("light", "night")
    try:
        return Options.model_validate(query)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(map(str, problem["loc"])) or "options"
        raise InvalidInput(f"{url!r}: {name}: {problem['msg']}") from None


def clip_url(
    label: str, seed: int, style: int | None = None, seconds: float = 4.0, fps: float = 15.0
) -> str:
    """The address of a short clip of one label in a scene of its own, for training.

    `label` is a label (`road_accident`), an act (`hugging`) or `normal`, which is a street with
    or without one lively distractor. The act covers most of the clip, and its onset varies.
    Without a style, any but the one that is held out. Raises InvalidInput.
    """
    random = np.random.default_rng([seed, 0xC11F])
    if style is None:
        style = int(random.choice([number for number in STYLES if number != HELD_OUT_STYLE]))
    by_label = {name: act for act, name in ABNORMAL.items()}
    act = by_label.get(label, label)
    if label == "normal":
        act = str(random.choice([*DISTRACTORS, "none", "none"]))
    elif act not in ABNORMAL and act not in DISTRACTORS:
        raise InvalidInput(f"{label!r} is neither a label nor an act of drawn scenes")
    start = float(random.uniform(0.0, min(1.0, seconds / 4)))
    span = f"{act}@{start:.2f}-{seconds + random.uniform(0.0, 2.0):.2f}"
    query: dict[str, object] = {"seed": seed, "fps": f"{fps:g}", "seconds": f"{seconds:g}"}
    query["style"] = style
    query["events"] = span if act in ABNORMAL else "none"
    query["distractors"] = span if act in DISTRACTORS else "none"
    return "synthetic://street?" + urlencode(query, safe="@,.-")
