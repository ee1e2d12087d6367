"""A bundle: everything that the stages of a lane must agree on, in one folder.

    bundle.toml               what goes in, what comes out, thresholds (the classes below)
    backbone.safetensors      weights of the feature extractor
    classifier.safetensors    weights of the temporal network
    drift.safetensors         optional: statistics of the training's windows
    CARD.md                   data, numbers with intervals, limits

`Bundle.backbone_fingerprint` travels in every Features message, `Bundle.fingerprint` in every
Prediction: a classifier refuses features of another backbone.
"""

from __future__ import annotations

import hashlib
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import InvalidBundle

NORMAL = "normal"
DRIFT_FILE = "drift.safetensors"


def find(path: Path | str) -> Path:
    """The folder at `path` as given, else relative to the checkout; raises InvalidBundle."""
    given = Path(path).expanduser()
    checkout = Path(__file__).resolve().parent.parent
    for folder in (given, checkout / given):
        if folder.is_dir():
            return folder
    raise InvalidBundle(f"{path}: no such bundle, neither here nor in {checkout}")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(_Part):
    """How frames become the backbone's input.

    `rgb`: the picture. `difference`: |grey(t) - grey(t - d)| for three distances d, as channels.
    `flow`: optical flow from t - d to t, across and down, and |grey(t) - grey(t - d)|, for one d.
    Both are taken only from a frame whose distance in time is within `tolerance_ms` of d; else the
    step is missing, for a longer distance would look like violence.
    """

    fps: float = Field(gt=0, le=120)
    kind: Literal["rgb", "difference", "flow"]
    distances_ms: tuple[float, ...] = ()
    tolerance_ms: float = 35.0
    region: Literal["whole", "motion"] = "whole"
    region_share: float = Field(0.5, gt=0, le=1, description="of the frame's width and height")
    size: int = Field(224, ge=32, le=1024)
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    scale: tuple[float, float, float] = (127.5, 127.5, 127.5)

    @model_validator(mode="after")
    def _distances(self) -> Input:
        if len(self.distances_ms) != {"rgb": 0, "difference": 3, "flow": 1}[self.kind]:
            raise ValueError("distances_ms: three for difference, one for flow, none for rgb")
        return self

    @property
    def of_motion(self) -> bool:
        """Whether motion is all that is seen: grey pictures do, and stillness is one input."""
        return self.kind != "rgb"


class Backbone(_Part):
    """The feature extractor: one image in, `features` numbers out."""

    kind: Literal["mobilenet_v2"] = "mobilenet_v2"
    padding: Literal["torch", "tensorflow"] = "torch"
    features: int = Field(1280, ge=1)


class Classifier(_Part):
    """The temporal network and its windows, in steps."""

    kind: Literal["residual_attention_lstm"] = "residual_attention_lstm"
    window: int = Field(30, ge=1)
    stride: int = Field(5, ge=1)
    max_gap: int = Field(4, ge=0, description="missing steps that the last vector may fill")


class Label(_Part):
    """One activity, and when an incident of it opens and closes."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    evidence: Literal["real", "synthetic", "both"]
    open_score: float = Field(0.5, ge=0, le=1)
    close_score: float = Field(0.3, ge=0, le=1)


class Incidents(_Part):
    """Times of the incident state machine, in event time."""

    open_after_seconds: float = Field(0.6, ge=0)
    close_after_seconds: float = Field(2.0, ge=0)
    cooldown_seconds: float = Field(5.0, ge=0)


class Description(_Part):
    """What `bundle.toml` holds."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    version: str = "1"
    input: Input
    backbone: Backbone = Backbone()
    classifier: Classifier = Classifier()
    incidents: Incidents = Incidents()
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _has_normal(self) -> Description:
        names = [label.name for label in self.labels]
        if len(set(names)) != len(names):
            raise ValueError("labels: a name stands twice")
        if NORMAL not in names:
            raise ValueError(f"labels: one must be named {NORMAL!r}")
        return self


class Bundle:
    """A bundle folder, checked. Weights are read by whoever needs them, from the paths here."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        toml = self.folder / "bundle.toml"
        if not toml.is_file():
            raise InvalidBundle(f"{self.folder}: no bundle here (bundle.toml is absent)")
        try:
            self.description = Description.model_validate(tomllib.loads(toml.read_text()))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidBundle(f"{toml}: {error}") from None
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, problem["loc"]))
            raise InvalidBundle(f"{toml}: {where}: {problem['msg']}") from None
        self.backbone_file = self._file("backbone.safetensors")
        self.classifier_file = self._file("classifier.safetensors")

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise InvalidBundle(f"{path}: this file of the bundle is absent")
        return path

    @property
    def drift_file(self) -> Path | None:
        """Statistics of what it has learnt from, if they are there: they decide no prediction."""
        path = self.folder / DRIFT_FILE
        return path if path.is_file() else None

    @property
    def name(self) -> str:
        """The bundle's name, by default also the lane's."""
        return self.description.name

    @property
    def label_names(self) -> tuple[str, ...]:
        """In the order of the network's outputs."""
        return tuple(label.name for label in self.description.labels)

    @cached_property
    def backbone_fingerprint(self) -> str:
        """Of the backbone's weights and of how its input is made."""
        parts = (
            self.description.input.model_dump_json() + self.description.backbone.model_dump_json()
        )
        return _digest(parts.encode(), self.backbone_file.read_bytes())

    @cached_property
    def fingerprint(self) -> str:
        """Of everything that decides a prediction."""
        parts = self.description.model_dump_json(exclude={"incidents"})
        return _digest(
            parts.encode(), self.backbone_file.read_bytes(), self.classifier_file.read_bytes()
        )


def _digest(*parts: bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()[:16]
