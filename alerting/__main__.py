"""The alerting service: `python -m alerting`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from alerting.settings import AlertingSettings
from alerting.stage import build_worker
from shared import service


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop; returns the exit code."""
    return service.main("alerting", build_worker, [AlertingSettings], argv)


if __name__ == "__main__":
    sys.exit(main())
