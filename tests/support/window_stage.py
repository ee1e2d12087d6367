"""A small stage with state, like the classifier's windows, for tests of what moves its records."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence

from shared.bus import Output, Partition, Received, Record
from shared.errors import InvalidMessage

Script = Callable[[Sequence[Received]], None]


class WindowStage:
    """For each record one output: the texts of the last `width` records of its key, joined by "-".

    An output is right only if the state was: after a restart the windows must be rebuilt from the
    pinned offset, and after a fault no record may have been taken twice or left out. `script` runs
    at the start of `process` and may raise.
    """

    def __init__(self, topic: str, width: int = 3, script: Script = lambda batch: None) -> None:
        self._topic = topic
        self._width = width
        self._script = script
        self._windows: dict[tuple[Partition, str], deque[tuple[int, str]]] = defaultdict(
            lambda: deque(maxlen=width)
        )
        self.batches: list[list[str]] = []
        self.forgotten: list[frozenset[Partition]] = []
        self.acknowledged: list[str] = []
        self.closed = threading.Event()

    def process(self, batch: Sequence[Received]) -> list[Output]:
        self._script(batch)
        self.batches.append([str(received.message) for received in batch])
        outputs = []
        for received in batch:
            record = received.record
            assert record.key is not None
            window = self._windows[record.partition, record.key]
            window.append((record.offset, str(received.message)))
            text = "-".join(text for _, text in window)
            outputs.append(Output(self._topic, record.key, text.encode()))
        return outputs

    def oldest_needed(self) -> Mapping[Partition, int]:
        """A window of width w is rebuilt from its last w - 1 records."""
        needed: dict[Partition, int] = {}
        for (partition, _), window in self._windows.items():
            kept = list(window)[-(self._width - 1) :] if self._width > 1 else []
            if kept:
                needed[partition] = min(kept[0][0], needed.get(partition, kept[0][0]))
        return needed

    def forget(self, partitions: Collection[Partition]) -> None:
        self.forgotten.append(frozenset(partitions))
        for place in [p for p in self._windows if p[0] in partitions]:
            del self._windows[place]

    def durable(self, outputs: Sequence[Output]) -> None:
        self.acknowledged += [(output.value or b"").decode() for output in outputs]

    def close(self) -> None:
        self.closed.set()


def windows(texts: Sequence[str], width: int = 3) -> list[str]:
    """What the stage must give for one key's texts, in order."""
    return ["-".join(texts[max(0, i + 1 - width) : i + 1]) for i in range(len(texts))]


def read_text(record: Record) -> str:
    """Decodes a record; a value that begins with "!" is refused."""
    text = (record.value or b"").decode()
    if text.startswith("!"):
        raise InvalidMessage("it begins with !")
    return text
