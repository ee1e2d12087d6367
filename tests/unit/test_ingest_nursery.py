"""What the nursery forks: processes that can be killed, and that outlive it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from ingest import nursery
from ingest.child import Child
from ingest.pipe import Kind, Order
from ingest.settings import IngestSettings
from shared.cameras import Camera
from tests.support.videos import write_video


def order(path: Path) -> Order:
    return Order(
        camera=Camera(id="a", source=str(path)), address=str(path), settings=IngestSettings()
    )


def test_the_end_of_a_newborn_is_told() -> None:
    newborn = nursery.birth()
    assert os.read(newborn.up, 1), "it says that it lives"
    newborn.kill()
    assert newborn.wait() == -signal.SIGKILL
    newborn.close()
    newborn.kill()
    newborn.close()


def test_each_has_a_session_of_its_own_and_no_pipe_of_another() -> None:
    first, second = nursery.birth(), nursery.birth()
    for one in (first, second):
        assert os.read(one.up, 1)
        assert os.getsid(one.pid) == one.pid
    first.kill()
    assert first.wait() == -signal.SIGKILL
    rest = b"-"
    while rest:  # the other one holds no end of this pipe, or it would never close
        rest = os.read(first.up, 1 << 16)
    first.close()
    second.close()


def test_a_nursery_that_dies_is_replaced_and_its_captures_go_on(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", seconds=2, fps=15)
    child = Child(order(video), str)
    child.started()
    for one in list(nursery._nurseries):
        one._process.kill()
        one._process.wait()
    other = Child(order(video), str)
    other.started()
    for each in (child, other):
        kinds = [parcel.kind for parcel in each.parcels()]
        assert kinds[0] is Kind.OPENED
        assert len(kinds) == 31
        each.close()
