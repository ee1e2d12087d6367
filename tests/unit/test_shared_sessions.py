"""How long a session may be silent."""

from __future__ import annotations

import pytest

from shared.bus import Partition, Record
from shared.messages import NANOSECONDS, Session
from shared.sessions import Sessions

PLACE, IDLE, NOW = Partition("features", 0), 60.0, 1_000_000.0
LIVE = Session(1, 0, live=True)
RECORDING = Session(0, 0, live=False)


@pytest.mark.parametrize(
    ("session", "pause", "lasts"),
    [(LIVE, 55, True), (LIVE, 65, False), (RECORDING, 500, True), (RECORDING, 700, False)],
)
def test_a_recording_may_wait_where_a_live_camera_counts_as_silent(
    session: Session, pause: float, lasts: bool
) -> None:
    """Its sender waits for room while Kafka is away or its neighbours stand in line."""
    sessions: Sessions[object] = Sessions(lambda _: object(), IDLE)

    def take(camera: str, of: Session, at: float) -> object:
        record = Record(PLACE, 0, camera, b"", (), round(at * 1000))
        state = sessions.take(record, camera, str(of), round(at * NANOSECONDS))
        sessions.evict()
        return state

    before = take("a", session, NOW)
    take("neighbour", LIVE, NOW + pause)
    assert (take("a", session, NOW + pause) is before) is lasts
