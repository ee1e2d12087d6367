"""One TOML is one experiment: data, input, backbone, head, labels. Unknown keys are refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.bundle import Backbone, Classifier, Incidents, Input, Label
from shared.errors import InvalidInput
from training.distil import DistilRecipe
from training.fit import HeadRecipe


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Footage(_Part):
    """Clips to learn from: a manifest, or a folder whose videos all show one label.

    With `label`, `path` is a video or a folder of videos, each a group of its own unless
    `one_group` says that one camera took them all.
    """

    path: Path
    label: str | None = None
    one_group: bool = False
    every: int = Field(1, ge=1, description="take every n-th clip")
    disturbed: int = Field(
        0, ge=0, le=4, description="copies of each clip, shaken, flickering, in rain or panned"
    )


class Drawn(_Part):
    """Drawn scenes, generated from seeds.

    With `labels`, only the scenes of these labels among those of `clips` successive seeds.
    """

    clips: int = Field(ge=0)
    seconds: float = Field(10.0, ge=4)
    first_seed: int = Field(0, ge=0)
    labels: tuple[str, ...] = ()
    head_only: bool = Field(False, description="the backbone does not learn from them")


class TeacherWeights(_Part):
    """A checkpoint in torchvision's layout, and how it pads."""

    path: Path
    padding: Literal["torch", "tensorflow"] = "tensorflow"


class Experiment(_Part):
    """Everything that decides a training run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    seed: int = 0
    folds: int = Field(5, ge=2, description="for thresholds and validation, by group")
    validation: float = Field(
        0.0, ge=0, le=0.5, description="share of the clips, in whole groups, that choose the epoch"
    )
    apart: tuple[str, ...] = Field(
        (), description="groups of another look: real numbers are also given without them"
    )
    footage: tuple[Footage, ...] = ()
    drawn: tuple[Drawn, ...] = ()
    teacher: TeacherWeights
    distil: DistilRecipe | None = None
    input: Input
    classifier: Classifier = Classifier()
    incidents: Incidents = Incidents()
    labels: tuple[Label, ...]
    head: HeadRecipe = HeadRecipe()

    @property
    def backbone(self) -> Backbone:
        """Of the bundle: it pads as its teacher does."""
        return Backbone(padding=self.teacher.padding)

    @property
    def label_names(self) -> tuple[str, ...]:
        """In the order of the network's outputs."""
        return tuple(label.name for label in self.labels)


def read(path: Path, data: Path | None = None) -> Experiment:
    """Read an experiment; relative paths in it start at `data`, else at the TOML's folder."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        experiment = Experiment.model_validate(table)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise InvalidInput(f"{path}: {where}: {problem['msg']}") from None
    root = data if data is not None else path.parent
    return experiment.model_copy(
        update={
            "footage": tuple(
                f.model_copy(update={"path": root / f.path}) for f in experiment.footage
            ),
            "teacher": experiment.teacher.model_copy(
                update={"path": root / experiment.teacher.path}
            ),
        }
    )
