"""`python -m training quantize`: pictures from videos, a copy or in place."""

import itertools
from pathlib import Path

import pytest

from shared.bundle import Bundle
from shared.errors import InvalidInput
from tests.support.bundles import write_bundle
from tests.support.videos import write_video
from training.quantize import quantize, thinned


def test_thinned_is_even_and_bounded() -> None:
    assert thinned(range(5), 10) == [0, 1, 2, 3, 4]
    assert thinned(range(10), 10) == list(range(10))
    assert thinned(range(11), 10) == [0, 2, 4, 6, 8, 10]
    kept = thinned(range(1000), 10)
    assert 5 <= len(kept) <= 10 and len({b - a for a, b in itertools.pairwise(kept)}) == 1


def test_a_folder_that_is_no_bundle_is_not_written_to(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    (tmp_path / "other").mkdir()
    with pytest.raises(InvalidInput, match="is not a bundle"):
        quantize(bundle.folder, ["x.mp4"], tmp_path / "other")


def test_a_short_video_is_too_little(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    video = write_video(tmp_path / "short.mp4", seconds=2 / 3)
    with pytest.raises(InvalidInput, match="10 pictures to calibrate on"):
        quantize(bundle.folder, [str(video)], None)
    assert Bundle(bundle.folder).fingerprint == bundle.fingerprint
