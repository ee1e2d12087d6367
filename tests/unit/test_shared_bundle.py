"""Bundles: found, checked, and told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.bundle import Bundle, find
from shared.errors import InvalidBundle

TOML = """
name = "street"

[input]
fps = 15
kind = "rgb"

[[labels]]
name = "normal"
evidence = "real"

[[labels]]
name = "fighting"
evidence = "synthetic"
open_score = 0.7
"""


def write(folder: Path, toml: str = TOML, backbone: bytes = b"b", classifier: bytes = b"c") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "bundle.toml").write_text(toml)
    (folder / "backbone.safetensors").write_bytes(backbone)
    (folder / "classifier.safetensors").write_bytes(classifier)
    return folder


def test_a_whole_bundle(tmp_path: Path) -> None:
    bundle = Bundle(write(tmp_path))
    assert bundle.name == "street"
    assert bundle.label_names == ("normal", "fighting")
    assert bundle.description.classifier.window == 30


def test_fingerprints_follow_what_they_stand_for(tmp_path: Path) -> None:
    one = Bundle(write(tmp_path / "one"))
    assert (one.fingerprint, one.backbone_fingerprint) == (
        Bundle(write(tmp_path / "two")).fingerprint,
        Bundle(tmp_path / "two").backbone_fingerprint,
    )
    other_head = Bundle(write(tmp_path / "head", classifier=b"d"))
    assert other_head.backbone_fingerprint == one.backbone_fingerprint
    assert other_head.fingerprint != one.fingerprint
    other_backbone = Bundle(write(tmp_path / "backbone", backbone=b"x"))
    assert other_backbone.backbone_fingerprint != one.backbone_fingerprint
    assert other_backbone.fingerprint != one.fingerprint
    other_input = Bundle(write(tmp_path / "input", TOML.replace("fps = 15", "fps = 10")))
    assert other_input.backbone_fingerprint != one.backbone_fingerprint
    times = Bundle(write(tmp_path / "times", TOML + "\n[incidents]\ncooldown_seconds = 9\n"))
    assert times.fingerprint == one.fingerprint  # when an incident opens is not the network's


def test_bytes_do_not_move_between_files(tmp_path: Path) -> None:
    one = Bundle(write(tmp_path / "one", backbone=b"ab", classifier=b"c"))
    two = Bundle(write(tmp_path / "two", backbone=b"a", classifier=b"bc"))
    assert one.fingerprint != two.fingerprint


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("name = ", "bundle.toml"),
        (TOML.replace('"street"', '"a b"'), "name"),
        (TOML.replace('name = "normal"', 'name = "usual"'), "'normal'"),
        (TOML.replace('name = "fighting"', 'name = "normal"'), "twice"),
        (TOML.replace('kind = "rgb"', 'kind = "difference"'), "distances_ms"),
        (TOML.replace("fps = 15", "fps = 0"), "input.fps"),
        (TOML.replace("fps = 15", "fps = 15\nfsp = 3"), "input.fsp"),
        (TOML.replace('"synthetic"', '"drawn"'), "labels.1.evidence"),
        (TOML.replace("open_score = 0.7", "open_score = 1.7"), "labels.1.open_score"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, toml: str, words: str) -> None:
    with pytest.raises(InvalidBundle, match=words):
        Bundle(write(tmp_path, toml))


@pytest.mark.parametrize("name", ["bundle.toml", "backbone.safetensors", "classifier.safetensors"])
def test_an_absent_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InvalidBundle, match=name):
        Bundle(tmp_path)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "bundle.toml").write_bytes(b"\xff\xff")
    with pytest.raises(InvalidBundle):
        Bundle(tmp_path)


def test_find_looks_here_first_then_in_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("shared").resolve() == Path(__file__).resolve().parent.parent.parent / "shared"
    (tmp_path / "shared").mkdir()
    assert find("shared").resolve() == (tmp_path / "shared").resolve()
    assert find(tmp_path) == tmp_path
    with pytest.raises(InvalidBundle, match="models/absent"):
        find("models/absent")
