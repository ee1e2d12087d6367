"""What all tests share: where the data lies, how long hypothesis looks for a fault, log levels."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
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


@pytest.fixture(autouse=True)
def log_levels_stay() -> Iterator[None]:
    """A service that a test starts in this process sets levels; the next test finds them undone."""
    loggers = logging.getLogger(), logging.getLogger("kafka")
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
