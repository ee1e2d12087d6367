"""What benchmarks print: ratios, spreads, targets, the table of the page."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import BEGIN, END, write
from benchmarks.claim import Claim, alternate, report


def test_a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() -> None:
    found = Claim("faster", "fps", [30, 10, 20], [10, 10, 20], 1.5).to_json()
    assert (found["ours"], found["peer"], found["ratio"]) == (20, 10, 2)
    assert found["ratio_range"] == [1, 3] and found["runs"] == 3 and found["met"] is True


def test_a_target_may_be_a_limit_or_a_figure_of_ours_alone() -> None:
    assert Claim("cost", "us", [12], [10], 1.1, at_most=True).to_json()["met"] is False
    alone = Claim("latency", "s", [0.4], target=0.5, at_most=True).to_json()
    assert alone["met"] is True and alone["peer"] is None and alone["ratio"] is None


def test_sides_take_turns() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = alternate({"a": lambda: side("a"), "b": lambda: side("b")}, 3)
    assert order == ["a", "b"] * 3 and found == {"a": [1, 3, 5], "b": [2, 4, 6]}


def test_the_last_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    report(Claim("faster", "fps", [20], [10], 1.5, note="why"))
    claims = json.loads(capsys.readouterr().out.splitlines()[-1])["claims"]
    assert claims[0].items() >= {"claim": "faster", "ratio": 2.0, "unit": "fps", "runs": 1}.items()


def test_the_table_replaces_only_what_stands_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    claims = [Claim("faster", "fps", [20, 22], [10, 10], 1.5, note="why").to_json()]
    write(page, claims)
    write(page, claims)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert text.count("| faster<br>why | 21 | 10 | **2.10** (2.00–2.20) | ≥ 1.5 | fps | 2 |") == 1
