"""`citywatch plan`: what a fleet needs, from figures measured on a machine.

Pure arithmetic on a profile (`python -m benchmarks.machine --out FILE` measures one). Per second:

    frames   = cameras · fps              pictures = frames · (1 - static)
    cores    = frames · core-seconds a frame / utilisation, for each service and for the brokers
    network  = bytes produced · (1 + copies to followers) in, (followers + readers) out
    disk     = bytes produced · retention · replicas

docs/performance.md says what the model leaves out and how far it was off a measured run.
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.table import Table

from shared.errors import InvalidInput
from shared.topics import DAY, HOUR, Topics

PROFILE = Path(__file__).with_name("profile.toml")
CAMERAS_A_PARTITION = 15
_GIGABIT = 125e6  # bytes


class Profile(BaseModel):
    """What one machine was measured to need; times are of one core, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine: str
    measured: str = Field(description="when, with which versions and footage")
    ingest_ms: float = Field(gt=0, description="a frame: video decoded, sampled, JPEG, sent")
    ingest_unchanged_ms: float = Field(gt=0, description="a frame that is sent as unchanged")
    featurizer_ms: float = Field(gt=0, description="a picture: JPEG decoded, network, sent")
    classifier_ms: float = Field(gt=0, description="a features record, its share of windows")
    alerting_ms: float = Field(gt=0, description="a prediction")
    broker_ms: float = Field(gt=0, description="a frame through all topics, one replica")
    windows_a_frame: float = Field(gt=0, le=1)
    picture_bytes: float = Field(gt=0)
    unchanged_bytes: float = Field(gt=0)
    features_bytes: float = Field(gt=0)
    prediction_bytes: float = Field(gt=0)
    ingest_camera_mb: float = Field(gt=0, description="memory of one camera's process")
    featurizer_mb: float = Field(gt=0, description="memory of a featurizer without cameras")
    featurizer_camera_mb: float = Field(gt=0, description="earlier pictures kept per camera")
    classifier_mb: float = Field(gt=0)
    classifier_camera_kb: float = Field(gt=0)


@dataclass(frozen=True)
class Fleet:
    """What is asked for."""

    cameras: int
    fps: float
    static: float = 0.0
    """Share of frames that go out as `unchanged`."""
    lanes: int = 1
    replicas: int = 2
    retention_hours: float = 1.0
    utilisation: float = 0.7
    """Of the cores: at this load latency was measured."""
    cores_per_process: int = 4
    """Of a featurizer."""
    broker_gigabits: float = 10.0
    broker_share: float = 0.6
    """Of the brokers' network that may be in use."""
    core_month: float | None = None
    """Price of a core for a month."""


@dataclass(frozen=True)
class Plan:
    """What it needs. Cores are at the stated utilisation; bytes are a second, disk in bytes."""

    partitions: int
    brokers: int
    broker_in: float
    broker_out: float
    disk: float
    broker_cores: float
    ingest_cores: float
    featurizers: int
    featurizer_cores: float
    classifiers: int
    classifier_cores: float
    alerting_cores: float
    memory: float
    cores: float
    cores_a_camera: float
    cost_a_camera_month: float | None
    narrowest: str


def plan(fleet: Fleet, profile: Profile) -> Plan:
    """The arithmetic above."""
    frames = fleet.cameras * fleet.fps
    pictures = frames * (1 - fleet.static)
    quiet = frames - pictures
    windows = frames * profile.windows_a_frame * fleet.lanes

    def cores(milliseconds_a_second: float) -> float:
        return milliseconds_a_second / 1000 / fleet.utilisation

    ingest = cores(pictures * profile.ingest_ms + quiet * profile.ingest_unchanged_ms)
    featurizer = cores(pictures * profile.featurizer_ms * fleet.lanes)
    classifier = cores(frames * profile.classifier_ms * fleet.lanes)
    alerting = cores(windows * profile.alerting_ms)
    broker = cores(frames * profile.broker_ms * fleet.replicas)
    featurizers = math.ceil(featurizer / fleet.cores_per_process)
    classifiers = math.ceil(classifier)  # one process, one core

    of_frames = pictures * profile.picture_bytes + quiet * profile.unchanged_bytes
    of_features = fleet.lanes * (
        pictures * profile.features_bytes + quiet * profile.unchanged_bytes
    )
    of_predictions = windows * profile.prediction_bytes
    produced = of_frames + of_features + of_predictions
    followers = fleet.replicas - 1
    broker_in = produced * (1 + followers)
    broker_out = produced * followers + of_frames * fleet.lanes + of_features + of_predictions
    kept = {spec.name: spec.retention_seconds for spec in Topics().specs("lane")}
    disk = fleet.replicas * (
        of_frames * fleet.retention_hours * HOUR
        + of_features * kept[Topics().features("lane")]
        + of_predictions * kept[Topics().predictions("lane")]
    )
    by_network = max(broker_in, broker_out) / (
        fleet.broker_gigabits * _GIGABIT * fleet.broker_share
    )
    brokers = max(math.ceil(by_network), fleet.replicas + 1, 3)
    memory = (
        fleet.cameras * (profile.ingest_camera_mb + profile.featurizer_camera_mb * fleet.lanes)
        + fleet.cameras * profile.classifier_camera_kb / 1000 * fleet.lanes
        + featurizers * profile.featurizer_mb
        + classifiers * profile.classifier_mb
    ) * 1e6
    total = ingest + featurizer + classifier + alerting + broker
    each = total / fleet.cameras
    price = None if fleet.core_month is None else each * fleet.core_month
    needs = {"decoding video (ingest)": ingest, "the backbone (featurizer)": featurizer,
             "the brokers' processors": broker}  # fmt: skip
    narrowest = max(needs, key=lambda name: needs[name])
    if by_network > 3:
        narrowest = f"the brokers' network ({by_network:.1f} brokers' worth), then {narrowest}"
    # At least one partition a featurizer and classifier, and eight an ingest host of 32 cores.
    partitions = max(
        math.ceil(fleet.cameras / CAMERAS_A_PARTITION), featurizers, classifiers,
        8 * math.ceil(ingest / 32),
    )  # fmt: skip
    return Plan(
        partitions, brokers, broker_in, broker_out, disk, broker, ingest, featurizers, featurizer,
        classifiers, classifier, alerting, memory, total, each, price, narrowest,
    )  # fmt: skip


def read(path: Path) -> Profile:
    """Raises InvalidInput."""
    try:
        return Profile.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise InvalidInput(f"{path}: {where}: {problem['msg']}") from None


def run(fleet: Fleet, profile_file: Path | None, *, as_json: bool) -> int:
    """Print the plan; returns the exit code."""
    profile = read(profile_file or PROFILE)
    found = plan(fleet, profile)
    if as_json:
        print(json.dumps({"fleet": asdict(fleet), "profile": profile.machine, **asdict(found)}))
        return 0
    console = Console(highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for row in rows(fleet, found):
        table.add_row(*row)
    console.print(
        f"{fleet.cameras:,} cameras at {fleet.fps:g} fps, {fleet.static:.0%} of frames static, "
        f"at {fleet.utilisation:.0%} of the cores\n"
    )
    console.print(table)
    console.print(f"\nnarrowest: {found.narrowest}")
    console.print(f"from: {profile.machine}; {profile.measured}")
    return 0


def rows(fleet: Fleet, found: Plan) -> list[tuple[str, str, str]]:
    """What, how much, and where it comes from."""
    gigabits = 8 / 1e9
    result = [
        ("partitions", f"{found.partitions:,}", "of every topic; kafka.partitions"),
        ("brokers", f"{found.brokers}", f"of {fleet.broker_gigabits:g} Gbit/s, "
         f"{fleet.broker_share:.0%} in use, {fleet.replicas} replicas"),
        ("  network in", f"{found.broker_in * gigabits:.1f} Gbit/s", "all brokers together"),
        ("  network out", f"{found.broker_out * gigabits:.1f} Gbit/s", "copies and readers"),
        ("  disk", f"{found.disk / 1e12:.1f} TB", f"frames {fleet.retention_hours:g} h, features "
         f"6 h, predictions {7 * DAY // DAY} days"),
        ("  cores", f"{found.broker_cores:,.0f}", ""),
        ("ingest", f"{found.ingest_cores:,.0f} cores", "decoding video, JPEG"),
        ("featurizers", f"{found.featurizers:,}", f"of {fleet.cores_per_process} cores"),
        ("classifiers", f"{found.classifiers:,}", "of one core"),
        ("alerting", f"{found.alerting_cores:,.1f} cores", ""),
        ("memory", f"{found.memory / 1e9:,.0f} GB", "services only"),
        ("all cores", f"{found.cores:,.0f}", f"{1 / found.cores_a_camera:.1f} cameras a core"),
    ]  # fmt: skip
    if found.cost_a_camera_month is not None:
        result.append(("cost", f"{found.cost_a_camera_month:.2f} a camera and month",
                       f"at {fleet.core_month:g} a core and month"))  # fmt: skip
    return result
