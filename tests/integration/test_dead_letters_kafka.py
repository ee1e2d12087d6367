"""`citywatch dead-letters` on a real Kafka: what was put aside is listed, shown, and goes back."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from citywatch.cli import app
from shared.bus import Partition, Record, dead_letter, read_to_end
from shared.bus_kafka import KafkaBus
from shared.codec import encode
from shared.settings import KafkaSettings
from shared.topics import Topics
from tests.support.predictions import prediction

pytestmark = pytest.mark.kafka


def test_list_show_and_redrive(kafka: str, tmp_path: Path) -> None:
    topics = Topics(f"letters-{uuid.uuid4().hex[:10]}")
    settings = KafkaSettings(bootstrap_servers=kafka, prefix=topics.prefix, partitions=4)
    file = tmp_path / "citywatch.toml"
    file.write_text(f'[kafka]\nbootstrap_servers = "{kafka}"\npartitions = 4\n')

    def run(*arguments: str, code: int = 0) -> Result:
        options = ["--config", str(file), "--set", f"kafka.prefix={topics.prefix}"]
        result = CliRunner().invoke(app, ["dead-letters", *arguments, *options])
        assert result.exit_code == code, (result.output, result.exception)
        return result

    assert "No dead letters" in run("list").stdout
    bus = KafkaBus(settings)
    bus.ensure_topics(topics.specs("street"))
    value = encode(prediction(3.0))
    source = topics.predictions("street")
    producer = bus.producer()
    for offset, contents in ((11, value), (12, b"\xc1 poison")):
        record = Record(Partition(source, 1), offset, "gate-3", contents, (("trace", b"7"),))
        producer.send(dead_letter(topics.dead_letters, record, f"bad {offset}"))
    assert producer.flush(20) == []
    try:
        listed = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
        assert [(item["offset"], item["reason"]) for item in listed] == [
            (11, "bad 11"), (12, "bad 12"),
        ]  # fmt: skip
        assert run("list", "--camera", "gate-4").stdout == "No such dead letters.\n"
        saved = tmp_path / "value"
        shown = run("show", listed[1]["letter"], "--save", str(saved)).stdout
        assert "header trace  7" in shown
        assert saved.read_bytes() == b"\xc1 poison"
        redrive = ("redrive", "--topic", "predictions")
        assert "Send them?" in run(*redrive, code=1).stdout, "no answer is no"
        said = run(*redrive, "--since", "1h", "--yes").stdout
        assert "1 cannot go back" in said
        run("redrive", listed[1]["letter"], "--yes", code=1)
        (again,) = read_to_end(bus, source)
        assert (again.key, again.value) == ("gate-3", value)
        place = listed[0]["letter"].encode()
        assert again.headers == (("trace", b"7"), ("redriven-from", place))
        assert len(list(read_to_end(bus, topics.dead_letters))) == 2
    finally:
        bus.close()
