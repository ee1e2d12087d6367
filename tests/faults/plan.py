"""What will go wrong and when: a pure function of the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

Action = Literal["KILL", "TERM", "STOP", "ROLL BACK"]

SERVICES = ("ingest", "featurizer", "classifier", "alerting")
TARGETS = (*SERVICES, "kafka", "redis")

_DECK = (*SERVICES, *SERVICES, "kafka", "redis")
_ACTIONS: dict[str, Sequence[Action]] = {
    **dict.fromkeys(SERVICES, ("KILL", "KILL", "STOP", "KILL", "TERM")),
    "kafka": ("KILL", "KILL", "TERM", "STOP"),
    "redis": ("KILL", "ROLL BACK", "STOP", "TERM"),
}
_DOWN = (0.0, 1.0, 4.0)
"""Seconds until a server that ended is started again; services are restarted at once."""
_STOPPED = (1.0, 3.0, 9.0, 14.0)
"""Seconds between STOP and CONT: shorter and longer than a membership lasts (6 s)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`action` on one replica of `target`, `at` seconds after the start.

    For `seconds` it stays stopped, or a server stays down.
    """

    at: float
    target: str
    replica: int
    action: Action
    seconds: float

    def __str__(self) -> str:
        where = f"{self.target}-{self.replica}" if self.target in SERVICES else self.target
        lasting = f" for {self.seconds:g} s" if self.seconds else ""
        return f"{self.action} {where}{lasting}"


def plan(
    seed: int,
    kills: int,
    interval: float,
    targets: Sequence[str] = TARGETS,
    actions: Sequence[str] = ("KILL", "TERM", "STOP", "ROLL BACK"),
    replicas: int = 2,
) -> list[Fault]:
    """`kills` faults, `interval` seconds apart on average, some of them almost at once.

    Targets come from a shuffled deck, so that each has its share however few they are; the
    actions of each target take turns from a random one on.
    """
    random = Random(seed)
    deck = _dealt(random, [name for name in _DECK if name in targets])
    turns = {
        name: _turns(random, [a for a in _ACTIONS[name] if a in actions] or ["KILL"])
        for name in targets
    }
    faults = []
    at = 0.0
    for _ in range(kills):
        at += min(random.expovariate(1 / interval), 3 * interval)
        target = next(deck)
        action = next(turns[target])
        seconds = 0.0
        if action == "STOP":
            seconds = random.choice(_STOPPED)
        elif target not in SERVICES:
            seconds = random.choice(_DOWN)
        faults.append(Fault(at, target, random.randrange(replicas), action, seconds))
    return faults


def _dealt(random: Random, deck: Sequence[str]) -> Iterator[str]:
    while True:
        yield from random.sample(deck, len(deck))


def _turns(random: Random, actions: Sequence[Action]) -> Iterator[Action]:
    at = random.randrange(len(actions))
    while True:
        yield actions[at % len(actions)]
        at += 1
