"""What Redis holds of incidents, seen from outside."""

from __future__ import annotations

import uuid

import pytest

from alerting.history import incidents
from alerting.store import Step
from alerting.store_redis import RedisStore
from shared.errors import Unavailable
from shared.settings import Configuration
from tests.integration.test_alerting_store import KEY, incident, state
from tests.support.broker import free_port
from tests.support.predictions import seconds


@pytest.mark.redis
def test_incidents_of_redis(redis_url: str) -> None:
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    store = RedisStore(redis_url, "street", prefix=prefix)
    store.load(0)
    early, late = incident(at=1, closed=True), incident(label="explosion", at=50)
    store.apply([Step(0, 1, 0, {KEY: state(50)}, (early, late))])
    configuration = Configuration(
        None, [f"alerting.redis_url={redis_url}", f"kafka.prefix={prefix}"]
    )
    assert incidents(configuration, "street", None) == [late, early]
    assert incidents(configuration, "street", seconds(10)) == [late]
    assert incidents(configuration, "other", None) == []
    store.close()


def test_a_redis_that_is_away_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    configuration = Configuration(
        None, [f"alerting.redis_url=redis://{address}/0", "service.start_timeout_seconds=0.1"]
    )
    with pytest.raises(Unavailable, match=address):
        incidents(configuration, "street", None)
