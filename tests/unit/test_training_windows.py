import numpy as np

from shared.bundle import Classifier
from training.events import Event
from training.features import Track
from training.scores import clip_scores, frame_scores, sustained
from training.windows import cut, targets

NAMES = ("fighting", "normal")
RULES = Classifier(window=30, stride=5, max_gap=4)


def _track(steps: list[int], missing: tuple[int, ...] = ()) -> Track:
    index = np.array(steps, np.int64)
    present = ~np.isin(index, missing)
    vectors = np.where(present, index, 0).astype(np.float16)[:, None]
    return Track(index, index / 15, vectors, present, np.zeros(len(index), np.float32))


def test_windows_end_at_multiples_of_the_stride() -> None:
    windows = cut([_track(list(range(42)))], RULES)
    assert windows.last.tolist() == [29, 34, 39]
    assert windows.rows[1].tolist() == list(range(5, 35))
    assert not windows.padded.any()


def test_a_clip_longer_than_float16_counts_is_cut_right() -> None:
    windows = cut([_track(list(range(5000)))], RULES)
    assert windows.rows[-1].tolist() == list(range(4970, 5000))


def test_short_gaps_repeat_the_vector_before_and_long_ones_restart() -> None:
    bridged = cut([_track(list(range(35)), missing=(10, 11, 12, 13))], RULES)
    assert bridged.rows[0].tolist() == [*range(10), 9, 9, 9, 9, *range(14, 30)]
    absent = [*range(15), *range(20, 60)]  # 15 to 19 were lost before anyone saw them
    restarted = cut([_track(absent)], RULES)
    assert restarted.last.tolist() == [49, 54, 59]


def test_a_short_clip_is_filled_at_its_start_and_says_so() -> None:
    windows = cut([_track(list(range(12)), missing=(0, 1, 2, 3)), _track([])], RULES)
    assert windows.padded.tolist() == [True] and windows.clip.tolist() == [0]
    assert windows.rows[0].tolist() == [4] * 22 + list(range(4, 12))


def test_windows_show_the_event_that_fills_them_and_are_open_in_between() -> None:
    track = _track(list(range(150)))
    windows = cut([track, track], RULES)
    event = Event("fighting", 4.0, 6.0)
    shown = targets(windows, [track, track], [0, 1], [[event], None], NAMES)
    by_end = dict(zip(windows.last[windows.clip == 0].tolist(), shown, strict=False))
    assert by_end[59] == 1  # ends before it begins
    assert by_end[64] == -1  # four steps of it
    assert by_end[74] == 0
    assert by_end[104] == 0
    assert by_end[119] == -1  # what remains afterwards
    assert set(shown[windows.clip == 1].tolist()) == {1}  # a clip without a script has its label


def test_a_clip_scores_its_worst_window_and_a_clip_without_windows_nothing() -> None:
    windows = cut([_track(list(range(42))), _track([])], RULES)
    probabilities = np.array([[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]], np.float32)
    scores = clip_scores(probabilities, windows, 2, NAMES)
    assert np.allclose(scores, [[0.9, 0.1], [0.0, 1.0]])


def test_a_frame_has_the_score_of_the_newest_window_that_covers_it() -> None:
    track = _track(list(range(42)))
    windows = cut([track], RULES)
    probabilities = np.array([[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]], np.float32)
    scores = frame_scores(probabilities, windows, track, 0, NAMES)
    assert np.allclose(scores[:5], 0.2) and np.allclose(scores[5:10], 0.9)
    assert np.allclose(scores[10:40], 0.4) and np.allclose(scores[40:], 0)


def test_what_lasts_is_what_several_windows_in_a_row_reach() -> None:
    windows = cut([_track(list(range(60))), _track(list(range(12)))], RULES)
    score = np.array([0.9, 0.2, 0.6, 0.7, 0.8, 0.1, 0.3, 0.95], np.float32)
    assert len(windows) == len(score)
    probabilities = np.stack([score, 1 - score], axis=1)
    lasting = sustained(probabilities, windows, 2, 3)
    assert lasting[0, 0] == np.float32(0.6)  # 0.6, 0.7, 0.8; the lone 0.9 does not count
    assert lasting[1, 0] == np.float32(0.95)  # one window only
