"""Network inputs: where they are cut, what a difference is taken from, and what is kept for it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.inputs import Image, Inputs, box, flow, grey, resized, still_input
from shared.bundle import Input
from shared.messages import WHOLE, Motion

STEP = 66_666_667  # nanoseconds at 15 fps
STILL = Motion()


def describe(kind: str = "difference", **more: Any) -> Input:
    distances = {"difference": (66.667, 133.333, 266.667), "flow": (66.667,)}.get(kind, ())
    return Input.model_validate(
        {"fps": 15, "kind": kind, "distances_ms": distances, "size": 32, **more}
    )


def flat(value: int, height: int = 48, width: int = 64) -> Image:
    return np.full((height, width, 3), value, np.uint8)


def test_differences_are_channels_by_distance() -> None:
    inputs = Inputs(describe())
    levels = [10, 50, 20, 90, 100]
    images = [inputs.take(i * STEP, flat(v), STILL, i) for i, v in enumerate(levels)]
    assert images[:4] == [None] * 4  # no picture 267 ms before
    image = images[4]
    assert image is not None and image.shape == (32, 32, 3) and image.dtype == np.uint8
    assert image[0, 0].tolist() == [10, 80, 90]  # to 90, 20 and 10


def test_grey_pictures_give_the_same_as_colour() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (5, 48, 64, 3), np.uint8)
    colour, plain = Inputs(describe()), Inputs(describe())
    for i, picture in enumerate(pictures):
        a = colour.take(i * STEP, picture, STILL)
        b = plain.take(i * STEP, grey(picture), STILL)
    assert a is not None and b is not None
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("late_ms", "missing"), [(0, False), (34, False), (36, True)])
def test_tolerance(late_ms: int, missing: bool) -> None:
    """The longest distance may be off by 35 ms; the pictures at the others are far too late."""
    inputs = Inputs(describe(distances_ms=(266.667, 266.667, 266.667)))
    inputs.take(0, flat(10), STILL)
    image = inputs.take(4 * STEP + late_ms * 1_000_000, flat(30), STILL)
    assert (image is None) is missing


def test_a_lost_picture_is_missing_only_where_it_is_needed() -> None:
    inputs = Inputs(describe(distances_ms=(66.667, 133.333, 200.0)))
    results = [inputs.take(i * STEP, flat(i), STILL) is not None for i in range(12) if i != 6]
    # 0-2 begin; 7, 8 and 9 need picture 6
    assert results == [False] * 3 + [True] * 3 + [False] * 3 + [True] * 2


def test_the_nearest_picture_is_taken() -> None:
    inputs = Inputs(describe(distances_ms=(100.0, 100.0, 100.0)))
    for at_ms, level in ((0, 1), (20, 2), (40, 3)):
        inputs.take(at_ms * 1_000_000, flat(level), STILL)
    image = inputs.take(125 * 1_000_000, flat(10), STILL)  # 25 ms is wanted: 20 ms is nearest
    assert image is not None and image[0, 0].tolist() == [8, 8, 8]


def test_an_unchanged_picture_stands_for_its_key() -> None:
    inputs = Inputs(describe())
    inputs.take(0, flat(10), STILL, 7)
    for i in range(1, 4):
        assert inputs.stands(i * STEP, flat(10), STILL, 7)
    image = inputs.take(4 * STEP, flat(40), STILL, 11)
    assert image is not None and image[0, 0].tolist() == [30, 30, 30]
    assert inputs.oldest_needed() == 7


def test_what_has_just_moved_still_differs_from_before() -> None:
    """A movement ends, and the same picture comes again and again: 267 ms later nothing differs."""
    inputs = Inputs(describe())
    for i in range(5):
        inputs.take(i * STEP, flat(10), STILL)
    inputs.take(5 * STEP, flat(40), Motion(0.5))
    seen = []
    for i in range(6, 12):
        if inputs.stands(i * STEP, flat(40), STILL):
            seen.append([0, 0, 0])
        else:
            image = inputs.take(i * STEP, flat(40), STILL)
            assert image is not None
            seen.append(image[0, 0].tolist())
    assert seen == [[0, 30, 30], [0, 0, 30], [0, 0, 30], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_picture_that_moves_itself_does_not_stand() -> None:
    inputs = Inputs(describe())
    inputs.take(0, flat(10), STILL)
    assert not inputs.stands(20 * STEP, flat(10), Motion(0.001))
    assert inputs.stands(20 * STEP, flat(10), STILL)


def test_oldest_needed_moves_on() -> None:
    inputs = Inputs(describe())
    assert inputs.oldest_needed() is None
    for i in range(20):
        inputs.take(i * STEP, flat(i), STILL, 100 + i)
    assert inputs.oldest_needed() == 100 + 15  # 267 + 35 ms before the last picture


def test_a_restart_from_oldest_needed_gives_the_same_inputs() -> None:
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 255, (30, 24, 32), np.uint8)
    whole = Inputs(describe())
    for i in range(20):
        whole.take(i * STEP, pictures[i], STILL, i)
    again = Inputs(describe())
    first = whole.oldest_needed()
    assert first is not None
    for i in range(first, 20):
        again.take(i * STEP, pictures[i], STILL, i)
    for i in range(20, 30):
        a = whole.take(i * STEP, pictures[i], STILL, i)
        b = again.take(i * STEP, pictures[i], STILL, i)
        assert a is not None and b is not None
        np.testing.assert_array_equal(a, b)


def test_another_resolution_begins_anew() -> None:
    inputs = Inputs(describe())
    for i in range(6):
        inputs.take(i * STEP, flat(i), STILL)
    results = [inputs.take((6 + i) * STEP, flat(i, 60, 80), STILL) is None for i in range(5)]
    assert results == [True, True, True, True, False]


def test_rgb_is_red_first_and_needs_no_history() -> None:
    picture = flat(0)
    picture[..., 2] = 200  # red in BGR
    inputs = Inputs(describe("rgb"))
    image = inputs.take(0, picture, STILL)
    assert image is not None and image[3, 3].tolist() == [200, 0, 0]
    assert inputs.oldest_needed() is None


def test_the_region_is_the_same_for_all_pictures() -> None:
    """A spot outside the region is not seen, though it lay in the region of the earlier frame."""
    inputs = Inputs(describe(region="motion", region_share=0.5))
    for i in range(5):
        picture = flat(0)
        picture[:24, :32] = 10 * i  # only the upper left quarter changes
        corner = (0.0, 0.0, 0.5, 0.5) if i < 4 else (0.5, 0.5, 0.5, 0.5)
        image = inputs.take(i * STEP, picture, Motion(0.1, corner))
    assert image is not None and image.max() == 0
    picture[:24, :32] = 100
    image = inputs.take(5 * STEP, picture, Motion(0.1, (0.0, 0.0, 0.5, 0.5)))
    assert image is not None and image[..., 0].min() == 60


fraction = st.floats(0, 1)


@settings(deadline=None)
@given(
    st.tuples(fraction, fraction, fraction, fraction),
    st.floats(0.01, 1),
    st.integers(1, 700),
    st.integers(1, 700),
)
def test_the_box_lies_in_the_picture(
    region: tuple[float, float, float, float], share: float, height: int, width: int
) -> None:
    cut = box(describe(region="motion", region_share=share), Motion(0, region), height, width)
    assert cut.left >= 0 and cut.top >= 0 and cut.width >= 1 and cut.height >= 1
    assert cut.left + cut.width <= width and cut.top + cut.height <= height
    assert abs(cut.width - share * width) <= 1 and abs(cut.height - share * height) <= 1


def test_the_box_is_centred_on_the_motion() -> None:
    description = describe(region="motion", region_share=0.5)
    assert box(description, Motion(0, (0.4, 0.3, 0.2, 0.2)), 100, 200) == (50, 15, 100, 50)
    assert box(description, Motion(0, (0.9, 0.9, 0.1, 0.1)), 100, 200) == (100, 50, 100, 50)
    assert box(description, Motion(0, WHOLE), 100, 200) == (50, 25, 100, 50)
    assert box(describe(), Motion(0, (0.4, 0.3, 0.2, 0.2)), 100, 200) == (0, 0, 200, 100)


def test_shrinking_far_averages() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[::2, ::2] = 200  # a quarter of the pixels
    assert resized(picture, 32).tolist() == np.full((32, 32, 3), 50).tolist()


# --- flow ----------------------------------------------------------------------------------------


def texture(shift: tuple[int, int] = (0, 0), side: int = 64) -> Image:
    """A blurred pattern, moved by so many pixels across and down."""
    noise = np.random.default_rng(5).integers(0, 255, (200, 200), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3.0)
    wide = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload]
    left, top = 60 - shift[0], 60 - shift[1]
    return np.asarray(wide[top : top + side, left : left + side], np.uint8)


@pytest.mark.parametrize(("shift", "across", "down"), [
    ((0, 0), 128, 128), ((2, 0), 192, 128), ((-2, 0), 64, 128), ((0, 5), 128, 223),
])  # fmt: skip
def test_flow_says_how_far_and_whither(shift: tuple[int, int], across: int, down: int) -> None:
    """128 + 40 sign(u) ln(1 + 2 |u|), within a quarter of a pixel."""
    image = flow(texture(), texture(shift))
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    middle = image[16:48, 16:48].astype(int)
    assert abs(np.median(middle[..., 0]) - across) <= 6
    assert abs(np.median(middle[..., 1]) - down) <= 6
    np.testing.assert_array_equal(image[..., 2], cv2.absdiff(texture(), texture(shift)))


def test_flow_does_not_depend_on_the_cores() -> None:
    pictures = [texture(side=128), texture((3, 1), side=128)]
    pictures[1][40:80, 40:80] = texture((-4, 0), side=40)
    alone = flow(pictures[0], pictures[1])
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        np.testing.assert_array_equal(flow(pictures[0], pictures[1]), alone)
    finally:
        cv2.setNumThreads(before)


def test_flow_does_not_depend_on_what_was_seen_before() -> None:
    """A search adapts its settings to a picture that is too small for them, and keeps them."""

    def after(*sides: int) -> Image:
        for side in sides:
            found = flow(texture(side=side), texture((3, 1), side=side))
        return found

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        alone = first.submit(after, 130).result()
        np.testing.assert_array_equal(second.submit(after, 40, 130).result(), alone)


def test_the_flow_of_a_region_comes_from_the_picture_before() -> None:
    inputs = Inputs(describe("flow", region="motion"))
    corner = Motion(0.1, (0.5, 0.5, 0.5, 0.5))
    assert inputs.take(0, texture(), corner) is None
    image = inputs.take(STEP, texture((4, 0)), corner)
    expected = flow(texture()[32:, 32:], texture((4, 0))[32:, 32:])
    assert image is not None
    np.testing.assert_array_equal(image, expected)


def test_huge_flow_stays_in_range() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2, 32, 32), np.uint8)
    image = flow(noise[0], noise[1])
    assert image[..., :2].min() >= 0 and image.shape == (32, 32, 3)


@pytest.mark.parametrize("kind", ["difference", "flow"])
def test_what_stands_still_has_the_still_input(kind: str) -> None:
    description = describe(kind)
    inputs = Inputs(description)
    for i in range(6):
        image = inputs.take(i * STEP, flat(90), STILL)
    assert image is not None
    np.testing.assert_array_equal(image, still_input(description))
