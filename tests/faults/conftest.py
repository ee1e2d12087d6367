"""Short polls, so that a worker sees soon that it is told to stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _short_polls() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.worker._IDLE_SECONDS", 0.01)
        yield
