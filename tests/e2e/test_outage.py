"""Kafka and Redis go away in the middle and come back: the services go on and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.broker import CannotStart, Kafka, Redis
from tests.support.command import citywatch, last_index
from tests.support.four_services import four_services
from tests.support.videos import write_video

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(180)]


@pytest.fixture
def own_servers(kafka: str, tmp_path: Path) -> Iterator[tuple[Kafka, Redis]]:
    """Servers of the test's own (where shared ones are found, they can be started)."""
    with ExitStack() as stack:
        servers = Kafka(tmp_path / "kafka"), Redis(tmp_path / "redis")
        for server in servers:
            server.folder.mkdir(parents=True, exist_ok=True)
            try:
                server.start()
            except CannotStart as error:
                pytest.skip(str(error))
            stack.callback(server.kill)
        yield servers


def test_servers_that_die_and_come_back(
    own_servers: tuple[Kafka, Redis], bundle: Path, video: Path, tmp_path: Path
) -> None:
    kafka, redis = own_servers
    alarm = {"CITYWATCH_ALERTING_OPEN_SCORE": "0.1", "CITYWATCH_ALERTING_CLOSE_SCORE": "0.05"}
    other = write_video(tmp_path / "yard.mp4", seconds=6)
    with four_services(kafka.address, redis.url, bundle, tmp_path, **alarm) as there:
        env = there.environment
        assert citywatch("cameras", "add", "street", video, env=env).code == 0
        first = there.predictions(["street"], "tiny", seconds=60)
        for server in (kafka, redis):
            server.kill()
        refused = citywatch("cameras", "list", env=env)
        assert refused.code == 3, "the command says so, the services wait"
        for server in (kafka, redis):
            server.start()
        assert all(process.poll() is None for process in there.processes.values())
        assert citywatch("cameras", "add", "yard", other, env=env).code == 0
        found = there.predictions(["street", "yard"], "tiny", seconds=90)
        codes = there.stop()
    assert codes == dict.fromkeys(codes, 0), "they end as asked"
    assert {p.id for p in first} <= {p.id for p in found}
    indices = {name: [p.last_index for p in found if p.camera_id == name]
               for name in ("street", "yard")}  # fmt: skip
    alone = citywatch("watch", video, other, "--json", "--bundle", bundle)
    for name, ends in indices.items():
        expected = [last_index(x) for x in alone.of_type("prediction") if x["camera_id"] == name]
        assert ends == expected
    said = "".join(there.log_of(service) for service in codes)
    assert "Traceback" not in said
    assert "trying again" in said, "the outage is reported"
