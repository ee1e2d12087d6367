"""What all tests share: where the data lies, and how long hypothesis may look for a fault."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is not a fault; a failing example is printed with how to repeat it.
settings.register_profile("citywatch", deadline=None, print_blob=True)
settings.load_profile("citywatch")


@pytest.fixture(scope="session")
def data() -> Path:
    """The data folder, which is not part of the repository; skips where it is absent."""
    checkout = Path(__file__).resolve().parent.parent
    folder = Path(os.environ.get("CITYWATCH_DATA", checkout / "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip("no data folder: set CITYWATCH_DATA")
    return folder
