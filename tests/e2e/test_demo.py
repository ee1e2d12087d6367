"""`citywatch demo`: its exit code says whether the script was recognised."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from citywatch import demo as module
from tests.support.command import ROOT, citywatch

pytestmark = pytest.mark.timeout(200)


def test_a_model_that_knows_nothing_fails(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "SECONDS", 4.0)
    scene = module.Scene("station", 1, (("fighting", 1, 3),), options="&detail=tiny")
    monkeypatch.setattr(module, "SCENES", (scene,))
    assert module.demo(bundle, ["alerting.open_score=0.99"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"station +fighting +00:01.0 +00:03.0 +no", said)
    assert "1 of 1 events were missed" in said
    assert "drawn by a program" in said


def test_the_bundle_that_ships_recognises_the_script() -> None:
    if not (ROOT / "models/street/bundle.toml").is_file():
        pytest.skip("models/street is absent")
    outcome = citywatch("demo", timeout=180)
    assert outcome.code == 0, outcome.out + outcome.err
    assert len(re.findall(r" yes", outcome.out)) == 4
    assert re.search(r"[\d,]+ frames \([\d.]+ a second\), [\d,]+ windows, dropped: ", outcome.out)
    assert "99 % within" in outcome.out
    for next_command in ("watch video.mp4", "watch 0", "watch rtsp://"):
        assert next_command in outcome.out
