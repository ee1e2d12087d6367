"""`python -m classifier`: features to predictions, on Kafka."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from classifier.settings import ClassifierSettings
from classifier.stage import build_worker
from shared import service


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; returns the exit code."""
    return service.main("classifier", build_worker, [ClassifierSettings], argv)


if __name__ == "__main__":
    sys.exit(main())
