"""The command as a user runs it, a bundle that costs next to nothing, and real services."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bundles import write_bundle
from tests.support.service_fixtures import kafka, redis_url, service_variables  # noqa: F401
from tests.support.videos import write_video


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Knows nothing, but right in form; every window opens an incident."""
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    return write_bundle(folder, name="tiny", extra="[incidents]\nopen_after_seconds = 0.5").folder


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds at 15 frames a second: 120 frames."""
    return write_video(tmp_path_factory.mktemp("videos") / "street.mp4", seconds=8)
