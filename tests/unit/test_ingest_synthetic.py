"""Drawn cameras: the same address gives the same pictures, and the script is the truth."""

from itertools import pairwise

import numpy as np
import pytest

from ingest.motion import MotionMeter
from ingest.scene import backdrop, stage
from ingest.scene.address import ABNORMAL, DISTRACTORS, parse
from ingest.scene.street import build_street
from ingest.synthetic import HELD_OUT_STYLE, SyntheticSource, clip_url
from shared.errors import InvalidInput

STREET = "synthetic://street?"
SMALL = STREET + "width=320&height=180&"


def test_the_same_address_gives_the_same_pictures():
    url = SMALL + "seed=5&seconds=1&events=explosion@0-1"
    one, two = list(SyntheticSource(url)), list(SyntheticSource(url))
    assert len(one) == 15
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, two, strict=True))


def test_pictures_can_be_drawn_in_any_order():
    url = SMALL + "seed=9&seconds=3&events=fighting@0-3"
    ahead, back = SyntheticSource(url), SyntheticSource(url)
    later = [back.frame(number) for number in (40, 20, 0)]
    earlier = [ahead.frame(number) for number in (0, 20, 40)]
    assert all(np.array_equal(a, b) for a, b in zip(earlier, later[::-1], strict=True))


def test_another_seed_is_another_street():
    pictures = [SyntheticSource(SMALL + f"seed={seed}").frame(0) for seed in range(4)]
    for index, picture in enumerate(pictures):
        for other in pictures[:index]:
            assert np.abs(picture.astype(int) - other).mean() > 8


@pytest.mark.parametrize(("width", "height"), [(640, 360), (64, 64), (401, 303)])
@pytest.mark.parametrize("detail", ["full", "tiny"])
def test_pictures_have_the_size_asked_for(width, height, detail):
    source = SyntheticSource(
        STREET + f"seed=2&width={width}&height={height}&detail={detail}&events=fighting@0-2"
    )
    image = source.frame(10)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8


def test_a_script_is_had_without_painting(monkeypatch):
    def paint(*_):
        raise AssertionError("painted")

    monkeypatch.setattr(stage, "paint", paint)
    source = SyntheticSource(SMALL + "seed=3&seconds=4&events=fighting@1-3")
    assert [event.label for event in source.script.events] == ["fighting"]
    with pytest.raises(AssertionError, match="painted"):
        source.frame(0)


@pytest.mark.parametrize("light", ["day", "dusk", "night"])
def test_ground_is_lit_by_its_lamps_alone(light):
    street = build_street(parse(SMALL + f"seed=3&light={light}"))
    x, z = np.meshgrid(np.linspace(-6, 6, 40), np.linspace(0, 30, 50))
    lit = backdrop._light(street, x, z)
    expected = [[street.light_at(a, b) for a, b in zip(*row, strict=True)]
                for row in zip(x, z, strict=True)]  # fmt: skip
    assert np.allclose(lit, expected)


def test_times_begin_at_the_start_and_follow_the_rate():
    source = SyntheticSource(SMALL + "seed=1&fps=10&seconds=0.5&detail=tiny", start_ns=7_000)
    assert [picture.captured_at for picture in source] == [
        7_000 + number * 100_000_000 for number in range(5)
    ]


def test_what_is_not_wanted_is_not_drawn():
    source = SyntheticSource(SMALL + "seed=1&fps=10&seconds=1&detail=tiny")
    half = list(source.pictures(lambda at: at % 200_000_000 == 0))
    assert len(half) == 5
    assert np.array_equal(half[2].image, source.frame(4))


def test_a_scene_without_seconds_has_no_end():
    source = SyntheticSource(STREET + "detail=tiny&width=32&height=32&events=random")
    pictures = iter(source)
    for _ in range(3_000):
        next(pictures)
    assert source.frames == 0
    assert source.script.between(0, 200)
    with pytest.raises(ValueError, match="between"):
        _ = source.script.events


def test_labels_follow_the_script():
    source = SyntheticSource(
        SMALL + "seed=3&seconds=40&events=fighting@12-18,explosion@16-30,accident@32-36"
        "&distractors=dancing@2-8"
    )
    assert [event.label for event in source.script.events] == [
        "fighting",
        "explosion",
        "road_accident",
    ]
    assert [event.act for event in source.script.distractors] == ["dancing"]
    assert source.labels_at(11.9) == ("normal",)
    assert source.labels_at(5.0) == ("normal",)
    assert source.labels_at(12.0) == ("fighting",)
    assert source.labels_at(17.0) == ("explosion", "fighting")
    assert source.labels_at(30.0) == ("normal",)
    assert source.labels_at(33.0) == ("road_accident",)


def test_regions_lie_within_the_picture_and_hold_the_action():
    """What an act changes, against the same street without it, lies mostly in its region."""
    quiet = "seed={}&seconds=8&people=0&traffic=0&noise=0&shake=0&flicker=0&distractors=none"
    for seed in range(4):
        without = SyntheticSource(SMALL + quiet.format(seed))
        url = SMALL + quiet.format(seed) + "&events=assault@2-7"
        source = SyntheticSource(url)
        (event,) = source.script.events
        left, top, width, height = event.region
        assert 0 <= left < left + width <= 1
        assert 0 <= top < top + height <= 1
        changed = np.zeros((180, 320))
        for number in range(36, 100, 4):
            difference = source.frame(number).astype(int) - without.frame(number)
            changed += np.abs(difference).max(axis=2) > 12
        inside = changed[
            int(top * 180) : int((top + height) * 180) + 1,
            int(left * 320) : int((left + width) * 320) + 1,
        ].sum()
        assert changed.sum() > 500
        assert inside / changed.sum() > 0.5


def test_random_schedules_repeat_and_keep_acts_apart():
    url = SMALL + "seed=8&seconds=1800&events=random&detail=tiny"
    one, two = SyntheticSource(url).script, SyntheticSource(url).script
    events = one.between(0, 1800)
    assert events == two.between(0, 1800)
    assert {event.label for event in events} >= {"normal", *ABNORMAL.values()}
    for earlier, later in pairwise(events):
        assert later.start - earlier.end >= 2


def test_random_distractors_leave_scripted_events_alone():
    for seed in range(8):
        script = SyntheticSource(
            SMALL + f"seed={seed}&seconds=120&events=fighting@20-28,assault@70-80&detail=tiny"
        ).script
        for event in script.distractors:
            assert all(event.start > e.end or event.end < e.start for e in script.events)


@pytest.mark.parametrize("style", [0, 1, 2])
@pytest.mark.parametrize("act", [*ABNORMAL, *DISTRACTORS])
def test_every_act_is_drawn_in_every_style(act, style):
    option = "events" if act in ABNORMAL else "distractors"
    other = "distractors=none" if act in ABNORMAL else "events=none"
    common = f"seed=4&seconds=6&style={style}&people=0&traffic=0&noise=0&shake=0&flicker=0&"
    source = SyntheticSource(SMALL + common + f"{other}&{option}={act}@2-5")
    without = SyntheticSource(SMALL + common + "events=none&distractors=none")
    most = max(
        np.abs(source.frame(number).astype(int) - without.frame(number)).max(axis=2).mean()
        for number in range(30, 75, 3)
    )
    assert most > 0.15


def _energies(act: str, seeds: range) -> list[float]:
    """Mean motion energy during an act, one a seed."""
    found = []
    for seed in seeds:
        option = "events" if act in ABNORMAL else "events=none&distractors"
        meter = MotionMeter()
        source = SyntheticSource(SMALL + f"seed={seed}&seconds=5&{option}={act}@1-5")
        energy = [meter.update(picture.image).energy for picture in source]
        found.append(float(np.mean(energy[20:])))
    return found


def test_energy_alone_does_not_tell_violence_from_liveliness():
    violent = np.concatenate([_energies(act, range(5)) for act in ("fighting", "assault")])
    lively = np.concatenate(
        [_energies(act, range(5)) for act in ("dancing", "playing", "crowd", "running")]
    )
    higher = (violent[:, None] > lively[None, :]).mean()
    assert 0.15 < higher < 0.85


def test_explosion_flashes_and_burns():
    source = SyntheticSource(
        SMALL + "seed=6&light=day&people=0&traffic=0&distractors=none&events=explosion@2-8"
    )
    before, flash, fire = (source.frame(number).astype(int) for number in (28, 31, 75))
    assert flash.mean() > before.mean() + 40
    red = fire[..., 2] - fire[..., 0]
    assert (red > 90).sum() > 40
    assert (before[..., 2] - before[..., 0] > 90).sum() < 0.5 * (red > 90).sum()


def test_clips_for_training_are_short_and_never_in_the_held_out_style():
    for seed in range(30):
        for label in ("normal", "assault", "fighting", "explosion", "road_accident", "hugging"):
            options = parse(clip_url(label, seed))
            assert options.style != HELD_OUT_STYLE
            assert options.seconds == 4.0
    held_out = parse(clip_url("fighting", 1, style=HELD_OUT_STYLE))
    assert held_out.style == HELD_OUT_STYLE
    assert clip_url("assault", 3) == clip_url("assault", 3)
    with pytest.raises(InvalidInput, match="juggling"):
        clip_url("juggling", 1)


def test_most_of_a_training_clip_is_its_act():
    for label in ("assault", "fighting", "explosion", "road_accident"):
        source = SyntheticSource(clip_url(label, 11) + "&detail=tiny")
        times = np.arange(0, 4, 1 / 15)
        share = np.mean([source.labels_at(float(time)) == (label,) for time in times])
        assert share >= 0.7
    normal = SyntheticSource(clip_url("normal", 11) + "&detail=tiny")
    assert all(normal.labels_at(float(time)) == ("normal",) for time in np.arange(0, 4, 0.5))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("synthetic://moon?seed=1", "not a drawn camera"),
        ("file://street", "not a drawn camera"),
        (STREET + "sede=1", "sede"),
        (STREET + "seed=x", "seed"),
        (STREET + "seed", "name=value"),
        (STREET + "fps=0", "fps"),
        (STREET + "width=99999", "width"),
        (STREET + "style=9", "style"),
        (STREET + "events=fighting", "ACT@START-END"),
        (STREET + "events=flood@1-5", "flood"),
        (STREET + "events=fighting@5-3", "half a second"),
        (STREET + "seconds=-1", "seconds"),
    ],
)
def test_addresses_that_mean_nothing_are_refused_with_a_reason(url, reason):
    with pytest.raises(InvalidInput, match=reason):
        SyntheticSource(url)
