"""`citywatch models list` and `show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from citywatch.cli import app
from shared.bundle import Bundle
from shared.errors import InvalidBundle
from tests.support.predictions import bundle_folder


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["models", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (bundle_folder(tmp_path / "street") / "CARD.md").write_text("# what it can do\n")
    (bundle_folder(tmp_path / "damaged") / "backbone.safetensors").unlink()
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_bundles_are_listed_and_a_damaged_one_is_named(place: Path) -> None:
    damaged, street = (json.loads(line) for line in run("list", str(place), "--json").splitlines())
    assert street["name"] == "street" and street["labels"] == ["fighting"]
    assert street["fingerprint"] == Bundle(place / "street").fingerprint
    assert street["bytes"] == sum(p.stat().st_size for p in (place / "street").iterdir())
    assert "backbone.safetensors" in damaged["error"]
    said = run("list", str(place))
    assert "✗" in said and "fighting" in said and "notes" not in said


def test_the_bundle_that_ships_is_found_without_a_word() -> None:
    assert "models/street" in run("list").replace("\n", "")


def test_nothing_there(tmp_path: Path) -> None:
    assert run("list", str(tmp_path)).startswith("There is no bundle")
    with pytest.raises(InvalidBundle):
        run("show", str(tmp_path))


def test_one_bundle_with_thresholds_sizes_and_card(place: Path) -> None:
    said = run("show", str(place / "street"))
    assert "# what it can do" in said and "real footage" in said
    assert "0.75" in said and "CARD.md" in said and "2.0 s" in said
    shown = json.loads(run("show", str(place / "street"), "--json"))
    assert shown["description"]["labels"][1]["open_score"] == 0.75
    assert shown["files"]["CARD.md"] == len("# what it can do\n") and not shown["drift"]
