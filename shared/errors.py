"""Errors are the control language of the system: what is raised says what happens next.

    CitywatchError
    ├── InvalidMessage        this record cannot be decoded   -> dead letter, its neighbours go on
    ├── Transient             a bus or store is away just now -> back off, keep polling, try again
    │   ├── StateLost         what a stage built on is gone   -> these partitions are read again
    │   ├── BusFull           no room for another send        -> a live camera drops, a file waits
    │   └── BusClosed         this process closed the bus     -> end now, work undone is repeated
    ├── SourceError           this camera cannot be read      -> reported; its neighbours go on
    ├── OperatorError         something the operator can mend -> printed as one line, exit code 2
    │   ├── InvalidSettings
    │   ├── InvalidBundle
    │   └── InvalidInput
    ├── Unavailable           a needed server never answered  -> printed as one line, exit code 3
    └── Fatal                 going on would lose or bury data -> the process stops, exit code 4
        └── TooManyDeadLetters

Anything else that leaves a stage is a bug or a poisonous record: the worker forgets, rewinds and
steps one record at a time until it has found it.
"""

from __future__ import annotations

from collections.abc import Collection


class CitywatchError(Exception):
    """Root of everything that citywatch raises on purpose."""

    exit_code = 1


class InvalidMessage(CitywatchError):
    """A record whose bytes are not a message of the expected kind; says why."""


class Transient(CitywatchError):
    """A bus or a store does not answer now and may answer later."""


class StateLost(Transient):
    """A store no longer holds what a stage has built on, for partitions of any earlier batch.

    `partitions` are topics and numbers: the worker forgets them and reads them again.
    """

    def __init__(self, text: str, partitions: Collection[tuple[str, int]]) -> None:
        super().__init__(text)
        self.partitions = frozenset(partitions)


class BusFull(Transient):
    """The bus has no room for another record within the time that the sender would wait."""


class BusClosed(Transient):
    """This process has closed the bus itself: there is nothing to wait for."""


class SourceError(CitywatchError):
    """A camera's source cannot be opened or read. The text never holds credentials."""


class OperatorError(CitywatchError):
    """Something a person can put right; the text says what to do."""

    exit_code = 2


class InvalidSettings(OperatorError):
    """A setting is unknown, of the wrong type or out of range."""


class InvalidBundle(OperatorError):
    """A model bundle is incomplete, damaged, or not the one the messages were made with."""


class InvalidInput(OperatorError):
    """A file, folder or address given by the user cannot be used."""


class Unavailable(CitywatchError):
    """A server that is needed did not answer within the time allowed at start."""

    exit_code = 3


class Fatal(CitywatchError):
    """The process must stop, because going on would lose or bury records."""

    exit_code = 4


class TooManyDeadLetters(Fatal):
    """More records were refused within a minute than bad luck explains."""
