"""A service whose worker commits before its outputs are acknowledged: the checker must see it.

python -m tests.faults.broken featurizer --set ...
"""

from __future__ import annotations

import importlib
import sys

from shared.outbound import Batch


def main(arguments: list[str]) -> int:
    """Run the service named first, broken."""
    Batch.durable = lambda batch: True  # type: ignore[method-assign]
    service = importlib.import_module(f"{arguments[0]}.__main__")
    return int(service.main(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
