"""The window against a model that looks at the whole log at once."""

import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.window import Completed, Window
from shared.messages import Features, FrameReference

STEP = 66_666_667


def features(
    step: int, value: float | None = None, *, same_as: int | None = None, size: int = 2
) -> Features:
    """A vector if there is a value, else `same_as` if given, else missing."""
    vector = None if value is None else np.full(size, value, np.float16)
    missing = "shed" if vector is None and same_as is None else None
    return Features(
        "lane", "a", "file-0-0", step, step, step * STEP, "f", FrameReference(0, 1000 + step),
        vector, same_as, missing,
    )  # fmt: skip


def ends(windows: Iterable[Completed]) -> list[int]:
    return [w.last.index for w in windows]


def feed(window: Window, records: Iterable[tuple[int, Features]]) -> list[Completed]:
    return [done for offset, record in records for done in window.take(record, offset)]


def vectors(*steps: int) -> list[tuple[int, Features]]:
    return [(step, features(step, step)) for step in steps]


def test_windows_end_at_multiples_of_the_stride() -> None:
    window = Window(6, 4, 2)
    windows = feed(window, vectors(*range(20)))
    assert ends(windows) == [7, 11, 15, 19]
    first = windows[0]
    assert first.features[:, 0].tolist() == [2, 3, 4, 5, 6, 7]
    assert first.features.dtype == np.float16
    assert (first.first.index, first.gaps) == (2, 0)
    assert (first.first.captured_at, first.last.captured_at) == (2 * STEP, 7 * STEP)
    assert (first.first.frame, first.last.frame) == (
        FrameReference(0, 1002), FrameReference(0, 1007)
    )  # fmt: skip


def test_multiples_do_not_depend_on_where_the_session_begins() -> None:
    assert ends(feed(Window(6, 4, 2), vectors(*range(3, 20)))) == [11, 15, 19]


def test_a_short_gap_is_filled_with_the_last_vector() -> None:
    for absent in (False, True):  # as records that say `missing`, or not there at all
        records = vectors(0, 1, 2) + vectors(5, 6, 7)
        if not absent:
            records[3:3] = [(3, features(3)), (4, features(4))]
        (done,) = feed(Window(8, 8, 2), records)
        assert done.features[:, 0].tolist() == [0, 1, 2, 2, 2, 5, 6, 7]
        assert done.gaps == 2


def test_one_missing_step_more_restarts_the_window() -> None:
    for absent in (False, True):
        records = vectors(0, 1, 2) + vectors(*range(6, 16))
        if not absent:
            records[3:3] = [(s, features(s)) for s in (3, 4, 5)]
        assert ends(feed(Window(4, 4, 2), records)) == [3, 11, 15]


def test_a_window_may_end_inside_a_gap() -> None:
    records = [*vectors(0, 1, 2), (9, features(9, 9))]
    (done,) = feed(Window(4, 4, 2), records)
    assert (done.last.index, done.last.captured_at, done.gaps) == (3, 3 * STEP, 1)
    assert done.last.frame == FrameReference(0, 1002)  # the last frame that was there


def test_same_as_counts_as_a_vector() -> None:
    records = [*vectors(0), *((s, features(s, same_as=0)) for s in range(1, 8))]
    windows = feed(Window(4, 4, 0), records)
    assert ends(windows) == [3, 7]
    assert windows[1].gaps == 0 and windows[1].features[:, 0].tolist() == [0] * 4


def test_same_as_of_another_vector_is_missing() -> None:
    records = [*vectors(0, 1), (2, features(2, same_as=0)), *vectors(3)]
    (done,) = feed(Window(4, 4, 1), records)
    assert done.gaps == 1 and done.features[:, 0].tolist() == [0, 1, 1, 3]
    assert feed(Window(4, 4, 0), records) == []


def test_what_was_taken_is_not_taken_again() -> None:
    window = Window(4, 4, 0)
    assert ends(feed(window, vectors(*range(6)))) == [3]
    late = [(99, features(step, 50)) for step in range(6)]
    assert feed(window, late) == []
    (done,) = feed(window, vectors(6, 7))
    assert done.features[:, 0].tolist() == [4, 5, 6, 7]


def test_a_huge_jump_costs_nothing() -> None:
    window = Window(4, 2, 2)
    feed(window, vectors(0, 1))
    assert ends(window.take(features(1 << 60, 1), 2)) == [3]


def test_pins() -> None:
    window = Window(6, 4, 2)
    assert window.oldest_needed() is None
    feed(window, [(100 + s, features(s, s)) for s in range(3)])
    assert window.oldest_needed() == 102  # the next window is 2..7
    feed(window, [(100 + s, features(s, s)) for s in range(3, 8)])
    assert window.oldest_needed() == 106  # 6..11
    feed(window, [(107 + s, features(s)) for s in (8, 9)])
    assert window.oldest_needed() == 106
    feed(window, [(107 + s, features(s)) for s in (10,)])
    assert window.oldest_needed() is None  # broken: nothing of the past is needed
    assert not window.is_open


def test_the_pin_of_a_repeated_vector_lies_before_the_window() -> None:
    window = Window(4, 4, 0)
    feed(window, [(50, features(0, 1)), *((60 + s, features(s, same_as=0)) for s in range(1, 7))])
    assert window.oldest_needed() == 50  # the next window is 4..7


def test_memory_of_a_camera() -> None:
    """Whatever a window holds, counted by the allocator; the network's input alone is 77 kB."""
    tracemalloc.start()
    try:
        windows = [Window(30, 5, 4) for _ in range(50)]
        before = tracemalloc.get_traced_memory()[0]
        for window in windows:
            for step in range(100):
                window.take(features(step, step, size=1280), step)
        each = (tracemalloc.get_traced_memory()[0] - before) / len(windows)
    finally:
        tracemalloc.stop()
    assert 76_800 < each < 95_000


def test_a_broken_window_gives_its_memory_back() -> None:
    window = Window(4, 1, 0)
    feed(window, [(s, features(s, s + 1)) for s in range(4)])
    feed(window, [(4, features(4))])
    assert not window.is_open
    # What was held before the gap does not come back in the windows after it.
    completed = feed(window, [(s, features(s, 100 + s)) for s in range(5, 9)])
    assert [float(row[0]) for row in completed[-1].features] == [105, 106, 107, 108]


# --- against a model -----------------------------------------------------------------------------


@dataclass
class Shape:
    length: int
    stride: int
    max_gap: int


shapes = st.builds(Shape, st.integers(1, 7), st.integers(1, 6), st.integers(0, 3))
# One entry per step: vector, same_as the last vector, same_as step 0, missing, or no record.
steps = st.lists(st.sampled_from(["vector"] * 6 + ["same", "zero", "missing", "absent"]),
                 max_size=60)  # fmt: skip


def log_of(plan: Sequence[str]) -> list[tuple[int, Features]]:
    log: list[tuple[int, Features]] = []
    last = 0
    for step, kind in enumerate(plan):
        if kind == "absent":
            continue
        if kind == "vector":
            last = step
            record = features(step, step)
        elif kind == "missing":
            record = features(step)
        else:
            record = features(step, same_as=last if kind == "same" else 0)
        log.append((len(log), record))
    return log


def model(shape: Shape, log: Sequence[tuple[int, Features]]) -> list[tuple[int, list[float], int]]:
    """(last step, values, gaps) of every window, from the rule's own words."""
    if not log:
        return []
    records = {record.step: record for _, record in log}
    value: list[float | None] = []  # what covers each step, None: nothing
    filled: list[bool] = []
    last: tuple[int, float] | None = None
    run = 0
    for step in range(max(records) + 1):
        record = records.get(step)
        fresh = False
        if record is not None and record.vector is not None:
            last, fresh = (step, float(record.vector[0])), True
        elif record is not None and last is not None and record.same_as == last[0]:
            fresh = True
        run = 0 if fresh else run + 1
        if run > shape.max_gap:
            last = None  # the window restarts at the next vector
        value.append(last[1] if last else None)
        filled.append(not fresh)
    windows = []
    for end in range(shape.length - 1, len(value)):
        covered = value[end - shape.length + 1 : end + 1]
        if (end + 1) % shape.stride == 0 and None not in covered:
            gaps = sum(filled[end - shape.length + 1 : end + 1])
            windows.append((end, [v for v in covered if v is not None], gaps))
    return windows


def plain(windows: Iterable[Completed]) -> list[tuple[int, list[float], int]]:
    return [(w.last.index, w.features[:, 0].tolist(), w.gaps) for w in windows]


@settings(deadline=None)
@given(shapes, steps)
def test_windows_follow_the_rule(shape: Shape, plan: Sequence[str]) -> None:
    log = log_of(plan)
    window = Window(shape.length, shape.stride, shape.max_gap)
    assert plain(feed(window, log)) == model(shape, log)


@settings(deadline=None)
@given(shapes, steps, st.integers(0, 60))
def test_a_replay_from_the_pin_gives_the_same_windows(
    shape: Shape, plan: Sequence[str], crash: int
) -> None:
    log = log_of(plan)
    crash = min(crash, len(log))
    window = Window(shape.length, shape.stride, shape.max_gap)
    feed(window, log[:crash])
    point = window.oldest_needed()
    expected = plain(feed(window, log[crash:]))
    again = Window(shape.length, shape.stride, shape.max_gap)
    replayed = plain(feed(again, log[crash if point is None else point :]))
    assert [w for w in replayed if w in expected] == expected
    everything = plain(feed(Window(shape.length, shape.stride, shape.max_gap), log))
    assert all(w in everything for w in replayed)  # a replay invents nothing


@settings(deadline=None)
@given(shapes, steps, st.lists(st.integers(0, 59), max_size=10))
def test_repeated_records_change_nothing(
    shape: Shape, plan: Sequence[str], repeats: Sequence[int]
) -> None:
    log = log_of(plan)
    noisy = []
    for i, item in enumerate(log):
        noisy.append(item)
        noisy += [log[r] for r in repeats if r <= i and r % 7 == i % 7]
    a = Window(shape.length, shape.stride, shape.max_gap)
    b = Window(shape.length, shape.stride, shape.max_gap)
    assert plain(feed(a, log)) == plain(feed(b, noisy))
