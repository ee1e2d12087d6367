"""A partition's ledger: what counts once, who may speak, and when silence is told."""

from __future__ import annotations

from alerting.incidents import Rules, SessionState
from alerting.ledger import Ledger
from alerting.settings import AlertingSettings
from alerting.store import Key
from shared.messages import EndOfStream, Prediction
from tests.support.predictions import LIVE, description, end, prediction, seconds

RULES = Rules.of(description(), AlertingSettings())
NEWER = "live-4-1000000000000000000"
NOW = 2_000_000_000


class Stored:
    """A ledger, and what a store would hold of it."""

    def __init__(self) -> None:
        self.states: dict[Key, SessionState] = {}
        self.clock = 0
        self.ledger = self.load()

    def load(self) -> Ledger:
        """The next owner's."""
        unfinished = {key: state for key, state in self.states.items() if not state.finished}
        self.ledger = Ledger(RULES, unfinished, self.clock, self.find)
        return self.ledger

    def find(self, key: Key) -> SessionState:
        return self.states.get(key, SessionState())

    def take(self, *messages: Prediction | EndOfStream) -> list[str]:
        """Take them, store, and tell the transitions."""
        for message in messages:
            self.ledger.take(message, message.ended_at)
        told = [f"{t.incident.state} {t.incident.reason}" for t in self.ledger.transitions]
        self.states |= self.ledger.changed
        self.clock = self.ledger.clock
        self.ledger.stored()
        return told


def at(moment: float, score: float = 0.9, camera: str = "gate", session: str = LIVE) -> Prediction:
    return prediction(NOW + moment, score, camera_id=camera, session=session)


def test_a_record_counts_once() -> None:
    world = Stored()
    log = [at(0), at(1), end(NOW + 2, camera_id="gate", session=LIVE)]
    assert world.take(*log) == ["open None", "closed end"]
    before, clock = dict(world.states), world.clock
    world.load()
    assert [world.ledger.take(message, message.ended_at) for message in log] == [False] * 3
    assert not world.ledger.changed and not world.ledger.transitions
    assert (world.states, world.ledger.clock) == (before, clock)


def test_what_was_refused_stays_refused_when_it_is_read_again() -> None:
    """The newer session has ended meanwhile, and would not refuse it any more."""
    world = Stored()
    late = [at(1), at(2), at(3)]
    over = end(NOW + 4, camera_id="gate", session=NEWER)
    assert world.take(at(0, 0.1, session=NEWER), *late, over) == []
    world.load()
    assert world.take(*late) == []
    assert world.take(at(5), at(6)) == ["open None"], "what comes after the end is heard"


def test_an_end_that_is_read_again_supersedes_nothing() -> None:
    world = Stored()
    over = end(NOW, camera_id="gate", session=NEWER)
    assert world.take(over, at(1), at(2)) == ["open None"]
    world.load()
    assert world.take(over) == []
    assert world.ledger.open, "the older session goes on"


def test_silence_is_told_before_the_record_that_tells_it() -> None:
    """However the log is cut: a newer session that comes in the same batch closes nothing more."""
    log = [at(0), at(1), at(40, 0.1, camera="other"), at(41, 0.1, session=NEWER)]
    whole, single = Stored(), Stored()
    assert whole.take(*log) == ["open None", "closed silence"]
    assert [text for m in log for text in single.take(m)] == ["open None", "closed silence"]
    assert whole.states == single.states


def test_the_next_owner_goes_on_with_the_clock() -> None:
    """A camera whose clock is an hour slow is heard when the others were heard last."""
    world = Stored()
    world.take(at(0, 0.1, camera="other"))
    world.load()
    slow = prediction(NOW - 3600, 0.9, camera_id="gate", session=LIVE)
    world.take(slow)
    assert world.states[Key("gate", LIVE)].heard_at == seconds(NOW)


def test_many_fall_silent_one_after_the_other() -> None:
    world = Stored()
    for shift in (0.0, 5.0, 10.0):
        world.take(at(shift, camera=f"c{shift:g}"), at(shift + 1, camera=f"c{shift:g}"))
    assert len(world.ledger.open) == 3
    silent = [len(world.take(at(moment, 0.1, camera="other"))) for moment in range(30, 44)]
    assert silent == [0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert world.ledger.open == []
