"""Writing a bundle folder: `bundle.toml`, and the weights of both networks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from classifier.network import save_classifier
from featurizer import int8
from featurizer.mobilenetv2 import MobileNetV2, save_backbone
from shared.bundle import DRIFT_FILE, Bundle, Description
from shared.errors import InvalidInput
from training import learnt


def export(
    folder: Path, description: Description, backbone: MobileNetV2, head: nn.Module
) -> Bundle:
    """Write the bundle and read it back, checked."""
    folder.mkdir(parents=True, exist_ok=True)
    save_backbone(backbone, folder / "backbone.safetensors")
    save_classifier(head, folder / "classifier.safetensors")
    (folder / "bundle.toml").write_text(toml(description), encoding="utf-8")
    return Bundle(folder)


def toml(description: Description) -> str:
    """The description as TOML: scalars, then tables, then one table a label."""
    values = description.model_dump(mode="json")
    labels = values.pop("labels")
    lines = [_line(key, value) for key, value in values.items() if not isinstance(value, dict)]
    for key, table in values.items():
        if isinstance(table, dict):
            lines += ["", f"[{key}]", *(_line(name, value) for name, value in table.items())]
    for label in labels:
        lines += ["", "[[labels]]", *(_line(name, value) for name, value in label.items())]
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any) -> str:
    return f"{key} = {json.dumps(value)}"  # strings, numbers and lists are written alike


LARGEST = 12_000_000
"""Bytes of a whole bundle folder."""

_PARTS = ("bundle.toml", "backbone.safetensors", "classifier.safetensors", learnt.FILE_NAME)


def ship(run: Path, out: Path) -> tuple[Bundle, int]:
    """Copy the bundle of a `train` run over `out`, which keeps its card and notice.

    Returns the bundle and the folder's size in bytes. Raises InvalidBundle, and InvalidInput if it
    is larger than a bundle may be.
    """
    source = Bundle(run / "bundle")
    out.mkdir(parents=True, exist_ok=True)
    for name in _PARTS:
        shutil.copyfile(source.folder / name, out / name)
    if source.drift_file is None:  # an older run: what lies there is of other weights
        (out / DRIFT_FILE).unlink(missing_ok=True)
    else:
        shutil.copyfile(source.drift_file, out / DRIFT_FILE)
    for path in int8.files_of(out):  # made from other weights, and refused beside these
        path.unlink(missing_ok=True)
    size = sum(path.stat().st_size for path in out.iterdir() if path.is_file())
    if size > LARGEST:
        raise InvalidInput(f"{out}: {size} bytes; a bundle has at most {LARGEST}")
    return Bundle(out), size
