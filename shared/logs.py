"""Logging to standard error, as text or as one JSON object a line."""

from __future__ import annotations

import json
import logging

from shared.settings import Section, ServiceSettings, redacted

log = logging.getLogger(__name__)


def start_logging(settings: ServiceSettings, *sections: Section) -> None:
    """Log to standard error, and log the resolved settings once, secrets redacted."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if settings.log_json else logging.Formatter(_FORMAT))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    if settings.log_level != "DEBUG":  # it says at length, with tracebacks, what the bus says once
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
    for section in (settings, *sections):
        log.info("settings [%s] %s", section.section, json.dumps(redacted(section)))


_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)
