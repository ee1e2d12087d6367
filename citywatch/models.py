"""`citywatch models list` and `show`: the bundles that are there, and what one of them says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from citywatch.jsonlines import print_json
from shared.bundle import NORMAL, Bundle, find
from shared.errors import InvalidBundle


def list_all(folder: Path | None, *, json: bool) -> None:
    """Every bundle in the folder, `models` by default; one that is damaged is named as such."""
    place = find(folder or Path("models"))
    found = sorted(path.parent for path in place.glob("*/bundle.toml"))
    rows = [(path, *_opened(path)) for path in found]
    if json:
        for path, bundle, trouble in rows:
            print_json(_summary(bundle) if bundle else {"folder": str(path), "error": trouble})
        return
    if not rows:
        print(f"There is no bundle in {place}.")
        return
    table = _table("folder", "name", "fps", "labels", "MB", "fingerprint")
    for path, bundle, trouble in rows:
        if bundle is None:
            table.add_row(str(path), f"✗ {trouble}")
            continue
        table.add_row(
            str(path), bundle.name, f"{bundle.description.input.fps:g}",
            ", ".join(_alarming(bundle)), f"{_bytes(path) / 1e6:.1f}", bundle.fingerprint,
        )  # fmt: skip
    Console(highlight=False).print(table)


def show(folder: Path, *, json: bool) -> None:
    """One bundle: input, windows, thresholds, files, and its card. Raises InvalidBundle."""
    bundle = Bundle(find(folder))
    if json:
        print_json(
            _summary(bundle)
            | {"description": bundle.description.model_dump(mode="json"), "files": _files(bundle)}
        )
        return
    said, console = bundle.description, Console(highlight=False)
    window = said.classifier
    seconds = window.window / said.input.fps
    print(f"{bundle.name} {said.version} in {bundle.folder}, fingerprint {bundle.fingerprint}")
    print(
        f"input: {said.input.kind}, {said.input.region} picture, {said.input.size}² at "
        f"{said.input.fps:g} fps\nwindows: {window.window} steps ({seconds:.1f} s), one every "
        f"{window.stride}; {window.max_gap} missing steps are forgiven\nincidents: open after "
        f"{said.incidents.open_after_seconds:g} s, close after "
        f"{said.incidents.close_after_seconds:g} s\n"
    )
    table = _table("label", "learnt from", "opens at", "closes below")
    for label in said.labels:
        if label.name != NORMAL:
            table.add_row(
                label.name, _EVIDENCE[label.evidence],
                f"{label.open_score:g}", f"{label.close_score:g}",
            )  # fmt: skip
    console.print(table)
    print()
    table = _table("file", "MB")
    for name, size in _files(bundle).items():
        table.add_row(name, f"{size / 1e6:.2f}")
    console.print(table)
    card = bundle.folder / "CARD.md"
    if card.is_file():
        print(f"\n{card.read_text(encoding='utf-8').rstrip()}")


_EVIDENCE = {
    "real": "real footage", "synthetic": "drawn scenes", "both": "real footage, drawn scenes"
}  # fmt: skip


def _opened(folder: Path) -> tuple[Bundle | None, str]:
    try:
        return Bundle(folder), ""
    except InvalidBundle as error:
        return None, str(error)


def _summary(bundle: Bundle) -> dict[str, Any]:
    return {
        "folder": str(bundle.folder),
        "name": bundle.name,
        "version": bundle.description.version,
        "labels": _alarming(bundle),
        "bytes": _bytes(bundle.folder),
        "drift": bundle.drift_file is not None,
        "fingerprint": bundle.fingerprint,
    }


def _alarming(bundle: Bundle) -> list[str]:
    return [name for name in bundle.label_names if name != NORMAL]


def _files(bundle: Bundle) -> dict[str, int]:
    """Names and bytes."""
    return {p.name: p.stat().st_size for p in sorted(bundle.folder.iterdir()) if p.is_file()}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
