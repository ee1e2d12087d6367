"""The backbone in int8: made by post-training quantisation, kept in the bundle's folder.

    backbone.int8.xml     OpenVINO's graph, with what was measured when it was made
    backbone.int8.bin     its weights

`featurizer/quantise.py` makes it. It names the weights that it was made from and is refused beside
others. Its features carry the backbone's ordinary fingerprint: that names weights and inputs, not
the arithmetic that a machine does them in (bf16 turns the features as much).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import openvino as ov

from shared.bundle import Bundle
from shared.errors import InvalidBundle

_PLACE = "citywatch"  # in the graph's own notes


@dataclass(frozen=True)
class Record:
    """What was measured: cosines to the float32 features over `pictures` held out."""

    origin: str
    cosine_mean: float
    cosine_p05: float
    cosine_least: float
    pictures: int
    calibrated_on: int
    kept_in_float: str
    made_by: str


def origin(bundle: Bundle) -> str:
    """Digest of all that the network follows from: weights, padding, size, normalisation."""
    of_input = bundle.description.input.model_dump_json(include={"size", "mean", "scale"})
    text = of_input + bundle.description.backbone.model_dump_json()
    return hashlib.sha256(text.encode() + bundle.backbone_file.read_bytes()).hexdigest()[:16]


def file_of(folder: Path) -> Path:
    """Where the int8 network of a bundle lies, if it has one."""
    return folder / "backbone.int8.xml"


def files_of(folder: Path) -> tuple[Path, Path]:
    """The graph and its weights."""
    return file_of(folder), file_of(folder).with_suffix(".bin")


def save(model: ov.Model, record: Record, folder: Path) -> None:
    """Write both files, the record inside the first."""
    for field in fields(record):
        model.set_rt_info(str(getattr(record, field.name)), [_PLACE, field.name])
    ov.save_model(model, file_of(folder), compress_to_fp16=False)


def load(bundle: Bundle) -> tuple[ov.Model, Record]:
    """The network and its record. Raises InvalidBundle if it is absent, damaged or another's."""
    path = file_of(bundle.folder)
    remedy = "make it: python -m training quantize --bundle BUNDLE --video FILE"
    if not path.is_file():
        raise InvalidBundle(f"{path}: this bundle has no int8 network; {remedy}")
    try:
        model = ov.Core().read_model(path)
        noted = {f.name: model.get_rt_info([_PLACE, f.name]).astype(str) for f in fields(Record)}
        record = Record(
            noted["origin"], float(noted["cosine_mean"]), float(noted["cosine_p05"]),
            float(noted["cosine_least"]), int(noted["pictures"]), int(noted["calibrated_on"]),
            noted["kept_in_float"], noted["made_by"],
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise InvalidBundle(f"{path}: not a quantised backbone: {reason}; {remedy}") from None
    if record.origin != (own := origin(bundle)):
        raise InvalidBundle(
            f"{path}: made from backbone {record.origin}, but the bundle has {own}; {remedy}"
        )
    return model, record
