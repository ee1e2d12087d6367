"""Fixtures that find a real Kafka and a real Redis, or skip; with CI set in the environment, fail.

Found by the environment variables of citywatch's own settings, else as `make services` left them.
"""

from __future__ import annotations

import os

import pytest

from tests.support.services import KAFKA_VARIABLE, REDIS_VARIABLE, variables


@pytest.fixture(scope="session")
def service_variables() -> dict[str, str]:
    """The addresses of the services that run, by environment variable."""
    names = (KAFKA_VARIABLE, REDIS_VARIABLE)
    given = {name: os.environ[name] for name in names if name in os.environ}
    return given if len(given) == len(names) else {**variables(), **given}


@pytest.fixture(scope="session")
def kafka(service_variables: dict[str, str]) -> str:
    """Bootstrap servers of a real Kafka."""
    return service_variables.get(KAFKA_VARIABLE) or _missing("Kafka", KAFKA_VARIABLE)


@pytest.fixture(scope="session")
def redis_url(service_variables: dict[str, str]) -> str:
    """URL of a real Redis."""
    return service_variables.get(REDIS_VARIABLE) or _missing("Redis", REDIS_VARIABLE)


def _missing(what: str, variable: str) -> str:
    reason = f"no {what}: run `make services`, or set {variable}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
