"""`python -m featurizer`: frames to features, on Kafka."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from featurizer.settings import FeaturizerSettings
from featurizer.stage import build_worker
from shared import service


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; returns the exit code."""
    return service.main("featurizer", build_worker, [FeaturizerSettings], argv)


if __name__ == "__main__":
    sys.exit(main())
