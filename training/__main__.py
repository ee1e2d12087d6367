"""`python -m training`: prepare, features, train, evaluate, ablate, report, export, compare."""

from __future__ import annotations

import sys

from training.cli import main

if __name__ == "__main__":
    sys.exit(main())
