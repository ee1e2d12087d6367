"""Which store alerting runs on, as the settings say."""

from __future__ import annotations

import threading

from alerting.settings import AlertingSettings
from alerting.store import Store
from alerting.store_sqlite import SqliteStore
from shared.settings import Configuration, KafkaSettings, ServiceSettings

_DAY = 86_400


def open_store(configuration: Configuration, lane: str, stop: threading.Event) -> Store:
    """The store that the settings name; raises Unavailable if Redis does not answer in time."""
    settings = configuration.get(AlertingSettings)
    kept = {
        "session_seconds": settings.session_days * _DAY,
        "incident_seconds": settings.incident_days * _DAY,
    }
    if settings.store == "sqlite":
        return SqliteStore(settings.sqlite_file, lane, **kept)
    prefix = configuration.get(KafkaSettings).prefix
    from alerting.store_redis import RedisStore  # noqa: PLC0415  standalone runs without it

    store = RedisStore(settings.redis_url.get_secret_value(), lane, prefix=prefix, **kept)
    store.wait(configuration.get(ServiceSettings).start_timeout_seconds, stop)
    return store
