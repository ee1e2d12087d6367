"""`python -m ingest`: cameras in, frames out, on Kafka."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ingest.settings import IngestSettings
from ingest.stage import build_worker
from shared import service


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service until it is told to stop; returns the exit code."""
    return service.main("ingest", build_worker, [IngestSettings], argv)


if __name__ == "__main__":
    sys.exit(main())
