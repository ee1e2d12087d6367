from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from citywatch.cli import app
from citywatch.configuration import lane_and_bundle, resolve, sections, show
from shared.errors import InvalidBundle, InvalidSettings
from tests.support.bundles import write_bundle

COMMANDS = (
    "demo", "watch", "serve", "doctor", "subscribe", "run", "cameras list", "cameras add",
    "cameras remove", "cameras import", "cameras test", "config show", "backfill",
    "dead-letters list", "dead-letters show", "dead-letters redrive",
    "incidents list", "incidents show", "models list", "models show", "models fetch",
)  # fmt: skip


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help(command: str) -> None:
    options = ["--help"] if command != "run" else ["--", "--help"]
    if command == "run":  # hands its options to the service
        options = ["featurizer", "--help"]
    result = CliRunner().invoke(app, [*command.split(), *options])
    assert result.exit_code == 0, result.output


def test_help_and_completion_load_nothing_heavy() -> None:
    code = (
        "import sys; from citywatch.cli import app; "
        "heavy = {'torch', 'cv2', 'openvino', 'numpy', 'matplotlib', 'kafka'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_config_show_is_toml_that_can_be_read_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    show(None, ["featurizer.batch=7", "kafka.password=geheim"])
    said = capsys.readouterr().out
    assert "geheim" not in said
    tables = tomllib.loads(said)
    assert tables["featurizer"]["batch"] == 7
    assert tables.keys() == {kind.section for kind in sections()}
    file = tmp_path / "citywatch.toml"
    file.write_text(said.replace('redis_url = "**********"', ""))
    resolve(file, [])


def test_defaults_yield_to_the_file_and_fixed_to_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "citywatch.toml"
    file.write_text('[service]\nport = 1\n[alerting]\nstore = "redis"\n')
    configuration = resolve(
        file, ["alerting.open_score=0.9"], fixed=["alerting.store=sqlite"],
        defaults={("service", "port"): 2, ("service", "host"): "0.0.0.0"},
    )  # fmt: skip
    values = {kind.section: configuration.get(kind).model_dump() for kind in sections()}
    assert (values["service"]["port"], values["service"]["host"]) == (1, "0.0.0.0")
    assert (values["alerting"]["store"], values["alerting"]["open_score"]) == ("sqlite", 0.9)


def test_stages_must_serve_one_bundle(tmp_path: Path) -> None:
    one, two = (write_bundle(tmp_path / name, name=name).folder for name in ("one", "two"))
    lane, bundle = lane_and_bundle(resolve(None, [], one))
    assert (lane, bundle.folder) == ("one", one)
    with pytest.raises(InvalidBundle, match="name different bundles"):
        lane_and_bundle(resolve(None, [f"classifier.bundle={two}"], one))


def test_unknown_sections_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="no such section"):
        resolve(None, ["camera.fps=3"])
