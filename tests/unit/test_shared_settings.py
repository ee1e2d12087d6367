"""Settings: precedence, unknown keys, secrets, and messages that name the culprit."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, SecretStr, model_validator

from shared.errors import InvalidSettings
from shared.settings import (
    TABLES,
    Configuration,
    KafkaSettings,
    Section,
    ServiceSettings,
    WorkerSettings,
    describe,
    redacted,
)


class Sample(Section):
    section: ClassVar[str] = "sample"

    size: int = Field(1, ge=1, le=100, description="how large")
    name: str | None = None
    token: SecretStr | None = Field(None, description="not for everybody")
    low: int = 0
    high: int = 10

    @model_validator(mode="after")
    def _ordered(self) -> Sample:
        if self.low > self.high:
            raise ValueError("low lies above high")
        return self


def configuration(
    tmp_path: Path, toml: str = "", overrides: Sequence[str] = (), **environment: str
) -> Configuration:
    file = tmp_path / "citywatch.toml"
    file.write_text(toml)
    return Configuration(file, overrides, environment)


def test_each_source_outranks_the_next(tmp_path: Path) -> None:
    toml = "[sample]\nsize = 2\n"
    assert Configuration(environment={}).get(Sample).size == 1
    assert configuration(tmp_path, toml).get(Sample).size == 2
    assert configuration(tmp_path, toml, CITYWATCH_SAMPLE_SIZE="3").get(Sample).size == 3
    every = configuration(tmp_path, toml, ["sample.size=4"], CITYWATCH_SAMPLE_SIZE="3")
    assert every.get(Sample).size == 4


def test_sources_mix_by_key(tmp_path: Path) -> None:
    settings = configuration(
        tmp_path, '[sample]\nname = "file"\nsize = 2', ["sample.high=9"], CITYWATCH_SAMPLE_LOW="5"
    ).get(Sample)
    assert (settings.name, settings.size, settings.low, settings.high) == ("file", 2, 5, 9)


def test_the_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITYWATCH_SAMPLE_SIZE", "7")
    assert Configuration().get(Sample).size == 7


def test_the_last_override_wins() -> None:
    overrides = ["sample.size=2", "sample.size=3", "sample.name=a=b"]
    settings = Configuration(None, overrides, {}).get(Sample)
    assert (settings.size, settings.name) == (3, "a=b")


@pytest.mark.parametrize(
    ("toml", "overrides", "environment", "words"),
    [
        ("[sample]\nsice = 2", [], {}, ["citywatch.toml: [sample] sice", "known keys", "size"]),
        ("", ["sample.sice=2"], {}, ["--set sample.sice", "known keys"]),
        ("", [], {"CITYWATCH_SAMPLE_SICE": "2"}, ["CITYWATCH_SAMPLE_SICE", "known keys"]),
        ("[sample]\nsize = 0", [], {}, ["[sample] size", "greater than or equal to 1"]),
        ("[sample]\nsize = 'x'", [], {}, ["[sample] size", "integer"]),
        ("", ["sample.size=101"], {}, ["--set sample.size", "less than or equal to 100"]),
        ("[sample]\nsize = 2", [], {"CITYWATCH_SAMPLE_SIZE": "x"}, ["CITYWATCH_SAMPLE_SIZE"]),
        ("[sample]\nlow = 11", [], {}, ["[sample]", "low lies above high"]),
        ("sample = 3", [], {}, ["[sample] must be a table"]),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path,
    toml: str,
    overrides: list[str],
    environment: dict[str, str],
    words: list[str],
) -> None:
    with pytest.raises(InvalidSettings) as info:
        configuration(tmp_path, toml, overrides, **environment).get(Sample)
    for word in words:
        assert word in str(info.value)


def test_a_wrong_secret_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as info:
        configuration(tmp_path, "[sample]\ntoken = ['hunter2']").get(Sample)
    assert "hunter2" not in str(info.value)


def test_secrets_are_redacted() -> None:
    settings = Configuration(None, ["sample.token=hunter2"], {}).get(Sample)
    assert settings.token is not None
    assert settings.token.get_secret_value() == "hunter2"
    assert "hunter2" not in str(redacted(settings)) + repr(settings)
    kafka = Configuration(None, ["kafka.password=hunter2"], {}).get(KafkaSettings)
    assert "hunter2" not in str(redacted(kafka)) + repr(kafka)


@pytest.mark.parametrize("text", ["", "size=3", "sample.size", "=3", ".=3", "sample.=3"])
def test_an_override_that_is_none(text: str) -> None:
    with pytest.raises(InvalidSettings, match=r"section\.key=value"):
        Configuration(None, [text], {})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="no such file"):
        Configuration(tmp_path / "absent.toml", (), {})
    with pytest.raises(InvalidSettings, match="citywatch"):
        configuration(tmp_path, "[sample")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidSettings, match="binary"):
        Configuration(tmp_path / "binary.toml", (), {})
    with pytest.raises(InvalidSettings):
        Configuration(tmp_path, (), {})


def test_unknown_tables_are_refused(tmp_path: Path) -> None:
    toml = "[sample]\n[[cameras]]\nid = 'a'\n[smaple]\n"
    with pytest.raises(InvalidSettings, match=r"unknown table \[smaple\]; known: cameras, sample"):
        configuration(tmp_path, toml).refuse_unknown(Sample)
    configuration(tmp_path, toml).refuse_unknown(Sample, elsewhere=["cameras", "smaple"])
    with pytest.raises(InvalidSettings, match=r"--set other\.key: no such section"):
        configuration(tmp_path, overrides=["other.key=1"]).refuse_unknown(Sample)


def test_settings_cannot_be_changed() -> None:
    settings = Configuration(environment={}).get(Sample)
    with pytest.raises(ValueError, match="frozen"):
        settings.size = 3  # type: ignore[misc]


def test_every_key_is_described() -> None:
    for kind in (ServiceSettings, KafkaSettings, WorkerSettings):
        for name, field in kind.model_fields.items():
            assert field.description, f"{kind.section}.{name}"
    lines = describe([Sample]).splitlines()
    assert "  sample.size   1   how large" in lines
    assert "  sample.token  -   not for everybody" in lines


@pytest.mark.parametrize("service", ["ingest", "featurizer", "classifier", "alerting"])
def test_every_table_of_a_service_is_known(service: str) -> None:
    module = import_module(f"{service}.settings")
    sections = [
        kind.section
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Section)
        and kind.__module__ == module.__name__
    ]
    assert sections
    assert set(sections) <= TABLES
    assert not any("_" in name for name in sections)  # CITYWATCH_SECTION_KEY must have one reading
