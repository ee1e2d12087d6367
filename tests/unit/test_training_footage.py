"""Which clips an experiment learns from."""

import pytest

from shared.errors import InvalidInput
from training.experiment import Drawn
from training.footage import scenes


def test_scenes_of_some_labels_are_those_that_all_labels_would_have() -> None:
    everything = scenes(Drawn(clips=12, first_seed=60, seconds=5))
    acts = scenes(Drawn(clips=12, first_seed=60, seconds=5, labels=("assault", "fighting")))
    assert [clip.label for clip in acts] == ["fighting", "assault"] * 2
    assert set(acts) < set(everything)


def test_a_label_that_nothing_draws_is_refused() -> None:
    with pytest.raises(InvalidInput, match="theft"):
        scenes(Drawn(clips=6, labels=("theft",)))
