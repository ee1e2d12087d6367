"""`citywatch incidents`: filters, table and JSON, from a file that another process holds open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alerting.incidents import Incident, SessionState
from alerting.store import Key, Step
from alerting.store_sqlite import SqliteStore
from citywatch.cli import app
from shared.errors import InvalidInput
from shared.messages import NANOSECONDS, FrameReference
from tests.support.predictions import LIVE, bundle_folder

BEGUN = 1_760_000_000  # seconds: October 2025


def incident(number: int, camera: str, label: str, *, ended: bool = True) -> Incident:
    at = (BEGUN + 3600 * number) * NANOSECONDS
    return Incident(
        "street", camera, LIVE, label, "synthetic" if label == "explosion" else "real", number,
        "closed" if ended else "open", at, at + 90 * NANOSECONDS, 0.5 + number / 10,
        (FrameReference(2, 100), FrameReference(2, 190)), "f" * 16, "score" if ended else None,
    )  # fmt: skip


ALL = (
    incident(0, "gate", "fighting"),
    incident(1, "yard", "explosion"),
    incident(2, "gate", "explosion"),
    incident(3, "gate", "fighting", ended=False),
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder as `serve` has it, its store held open as `serve` does."""
    store = SqliteStore(str(tmp_path / "incidents.db"), "street")
    store.apply([Step(0, 1, 0, {Key("gate", LIVE): SessionState()}, ALL)])
    folder = bundle_folder(tmp_path / "bundle")
    (tmp_path / "citywatch.toml").write_text(
        f'[alerting]\nbundle = "{folder}"\n[[cameras]]\nid = "gate"\nsource = "gate.mp4"\n'
    )
    yield tmp_path
    store.close()


def run(place: Path, *words: str) -> Result:
    command = ["incidents", *words, "--config", str(place / "citywatch.toml")]
    return CliRunner().invoke(app, command, catch_exceptions=True)


def listed(place: Path, *words: str) -> list[tuple[str, str, str]]:
    result = run(place, "list", "--json", *words)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.output.splitlines()]
    return [(row["camera_id"], row["label"], row["state"]) for row in rows]


def test_the_config_of_serve_names_the_store_and_the_newest_is_first(place: Path) -> None:
    assert listed(place) == [
        ("gate", "fighting", "open"), ("gate", "explosion", "closed"),
        ("yard", "explosion", "closed"), ("gate", "fighting", "closed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--camera", "gate"], 3),
        (["--camera", "gate", "--camera", "yard"], 4),
        (["--label", "explosion"], 2),
        (["--state", "open"], 1),
        (["--state", "closed", "--label", "fighting"], 1),
        (["--limit", "2"], 2),
        (["--camera", "cellar"], 0),
        (["--lane", "other"], 0),
        (["--since", "2025-10-09T10:00:00+00:00"], 2),  # 8:53 UTC and two hours
    ],
)
def test_filters(place: Path, words: list[str], count: int) -> None:
    assert len(listed(place, *words)) == count


def test_the_table(place: Path) -> None:
    said = run(place, "list", "--limit", "1").output
    assert "goes on" in said and "0.80" in said
    assert "3 older ones match, too: --limit 4" in said
    assert "90.0 s" in run(place, "list", "--state", "closed").output
    assert run(place, "list", "--camera", "cellar").output == "No incident matches.\n"


def test_one_of_them(place: Path) -> None:
    name = ALL[1].id
    said = run(place, "show", name).output
    assert name in said and "explosion (learnt from drawn scenes only)" in said
    assert "closed, because of score" in said and "2/100 to 2/190" in said
    shown = json.loads(run(place, "show", name, "--json").output)
    assert (shown["id"], shown["peak_score"]) == (name, 0.6)
    absent = run(place, "show", "street:none")
    assert isinstance(absent.exception, InvalidInput) and "no such incident" in str(
        absent.exception
    )


def test_a_file_named_on_the_command_line(place: Path) -> None:
    (place / "citywatch.toml").unlink()
    command = ["incidents", "list", "--json", "--lane", "street", "--file"]
    result = CliRunner().invoke(app, [*command, str(place / "incidents.db")])
    assert len(result.output.splitlines()) == 4
    for name in ("absent.db", "other.db"):
        (place / "other.db").write_text("no database at all, but as long as the head of one is")
        result = CliRunner().invoke(app, [*command, str(place / name)])
        assert isinstance(result.exception, InvalidInput) and name in str(result.exception)
    assert not (place / "absent.db").exists()


def test_what_cannot_be_asked(place: Path) -> None:
    for words in (["--state", "rising"], ["--since", "yesterday"]):
        result = run(place, "list", *words)
        assert isinstance(result.exception, InvalidInput) and words[0] in str(result.exception)
