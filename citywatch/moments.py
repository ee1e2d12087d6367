"""Times as people write them on a command line."""

from __future__ import annotations

import re
import time
from datetime import datetime

from shared.errors import InvalidInput

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def since(text: str) -> float:
    """Seconds since the epoch of `2h` (ago) or of an ISO date and time; raises InvalidInput."""
    if match := _SPAN.fullmatch(text):
        return time.time() - float(match[1]) * _SECONDS[match[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise InvalidInput(
            f"--since {text}: write it as 30m, 2h, 3d or 2026-03-01T18:30:00"
        ) from None
