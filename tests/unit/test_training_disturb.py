import numpy as np
import pytest

from ingest.pictures import Picture
from training.disturb import DISTURBANCES


def _pictures() -> list[Picture]:
    random = np.random.default_rng(0)
    image = random.integers(40, 200, (72, 128, 3), np.uint8)
    return [Picture(number * 66_666_667, image.copy()) for number in range(30)]


@pytest.mark.parametrize("name", DISTURBANCES)
def test_the_same_every_time_and_the_source_is_left_alone(name: str) -> None:
    source = _pictures()
    first, again = (list(DISTURBANCES[name](source)) for _ in range(2))
    assert all(
        a.captured_at == b.captured_at and np.array_equal(a.image, b.image)
        for a, b in zip(first, again, strict=True)
    )
    for before, after in zip(_pictures(), source, strict=True):
        assert np.array_equal(before.image, after.image)


@pytest.mark.parametrize("name", ["shake", "flicker", "rain", "pan"])
def test_pictures_change_and_none_is_lost(name: str) -> None:
    source = _pictures()
    changed = list(DISTURBANCES[name](source))
    assert [p.captured_at for p in changed] == [p.captured_at for p in source]
    different = [not np.array_equal(a.image, b.image) for a, b in zip(source, changed, strict=True)]
    assert np.mean(different) > 0.9
    assert all(p.image.shape == (72, 128, 3) and p.image.dtype == np.uint8 for p in changed)


def test_every_second_picture_is_lost_with_its_time() -> None:
    source = _pictures()
    kept = list(DISTURBANCES["lost"](source))
    assert [p.captured_at for p in kept] == [p.captured_at for p in source[::2]]


def test_flicker_keeps_to_fifteen_percent() -> None:
    source = _pictures()
    gains = [
        after.image.mean() / before.image.mean()
        for before, after in zip(source, DISTURBANCES["flicker"](source), strict=True)
    ]
    assert 0.84 < min(gains) < 0.9 and 1.1 < max(gains) < 1.16
