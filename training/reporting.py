"""The runs behind `evaluate`, `report` and `compare`: bundles and folders in, files out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featurizer.extractor import open_extractor
from featurizer.settings import FeaturizerSettings
from shared.bundle import Bundle
from shared.errors import InvalidInput
from training import manifest
from training import report as pages
from training.baseline import motion
from training.compare import compare as compared
from training.cost import cost
from training.evaluate import measure
from training.footage import videos
from training.quiet import quiet
from training.runs import Run, plain, write_json
from training.scored import Scored, score


def evaluate(
    bundle: Path,
    data: Path,
    out: Path,
    positive: str | None,
    quiet_footage: Sequence[Path],
    cache: Path,
) -> dict[str, Any]:
    """Write `metrics.json`, `run.json`, figures and `report.html`; returns the metrics."""
    opened = Bundle(bundle)
    clips = manifest.read(data)
    manifest.refuse_unknown(clips, opened.label_names)
    normal = [clip for path in quiet_footage for clip in videos(path, "normal")]
    run = Run(out, "evaluate", {"bundle": opened.fingerprint, "positive": positive}, None)
    extract = open_extractor(opened, FeaturizerSettings())
    scored = score(opened, clips, extract, cache)
    metrics = measure(scored, positive)
    metrics["motion"] = motion(scored, positive)
    if normal:
        metrics["quiet"] = quiet(opened, normal, extract, cache)
    metrics["cost"] = cost(opened, extract)
    metrics["bundle"] = {"name": opened.name, "fingerprint": opened.fingerprint}
    write_json(out / "metrics.json", metrics)
    pages.write(out, scored, plain(metrics))
    run.finish({name: metrics[name] for name in ("clip", "intervals", "cost")})
    return metrics


def report(bundle: Path, data: Path, out: Path, cache: Path) -> Path:
    """Figures and page again, from the metrics that `evaluate` left in `out`."""
    path = out / "metrics.json"
    if not path.is_file():
        raise InvalidInput(f"{path}: absent; `python -m training evaluate` writes it")
    metrics = json.loads(path.read_text(encoding="utf-8"))
    opened = Bundle(bundle)
    if metrics["bundle"]["fingerprint"] != opened.fingerprint:
        raise InvalidInput(f"{path}: measured with another bundle than {bundle}")
    return pages.write(out, _scored(opened, data, cache), metrics)


def compare(
    first: Path, second: Path, data: Path, positive: str, out: Path | None, cache: Path
) -> dict[str, Any]:
    """Both bundles on the same clips; `compare.json` if `out` is given."""
    one, other = Bundle(first), Bundle(second)
    result = compared(_scored(one, data, cache), _scored(other, data, cache), positive)
    if out is not None:
        run = Run(out, "compare", {"first": one.fingerprint, "second": other.fingerprint}, None)
        write_json(out / "compare.json", result)
        run.finish(plain(result))
    return result


def _scored(bundle: Bundle, data: Path, cache: Path) -> Scored:
    clips = manifest.read(data)
    return score(bundle, clips, open_extractor(bundle, FeaturizerSettings()), cache)
