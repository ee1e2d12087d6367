"""Real services for these tests."""

from tests.support.service_fixtures import kafka, redis_url, service_variables  # noqa: F401
