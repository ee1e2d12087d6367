"""The pins say what asking every window would say, whatever happens to sessions."""

from hypothesis import given, settings
from hypothesis import strategies as st

from classifier.pins import Pins
from classifier.window import Window
from shared.bus import Partition, Record
from shared.messages import Session
from shared.sessions import Sessions
from tests.unit.test_classifier_window import features

SECOND = 10**9
STEPS = st.tuples(
    st.sampled_from(["take", "take", "take", "gap", "end", "forget", "renew"]),
    st.integers(0, 5),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=120))
def test_the_oldest_pin_is_that_of_all_windows(events: list[tuple[str, int]]) -> None:
    sessions: Sessions[Window] = Sessions(lambda _: Window(4, 2, 1), 60.0)
    pins = Pins(sessions)
    offsets, steps, generation = [0, 0], [0] * 6, [1] * 6
    for what, camera in events:
        place = Partition("features", camera % 2)
        name = str(Session(generation[camera], SECOND, live=True))
        offset = offsets[place.number]
        offsets[place.number] += 1
        at = (100 + steps[camera]) * SECOND
        record = Record(place, offset, str(camera), b"", (), at // 10**6)
        if what == "forget":
            sessions.forget({place})
            pins.forget({place})
        elif what == "end":
            sessions.end(record, str(camera), name, at)
        else:
            if what == "renew":  # a newer session fences the old one out
                generation[camera] += 1
                steps[camera] = 0
                name = str(Session(generation[camera], SECOND, live=True))
            window = sessions.take(record, str(camera), name, at)
            if window is not None:
                steps[camera] += 5 if what == "gap" else 1
                window.take(features(steps[camera], 1.0), offset)
                pins.note(place, (str(camera), name), window)
        expected: dict[Partition, int] = {}
        for partition, window in sessions:
            needed = window.oldest_needed()
            if needed is not None:
                expected[partition] = min(needed, expected.get(partition, needed))
        assert dict(pins.oldest()) == expected


def test_a_quiet_camera_does_not_let_the_heap_grow() -> None:
    sessions: Sessions[Window] = Sessions(lambda _: Window(4, 2, 1), 60.0)
    pins = Pins(sessions)
    place, name = Partition("features", 0), str(Session(0, 0, live=False))
    for offset in range(3000):
        camera = "quiet" if offset == 0 else "busy"
        record = Record(place, offset, camera, b"", (), 0)
        window = sessions.take(record, camera, name, 0)
        assert window is not None
        window.take(features(offset, 1.0), offset)
        pins.note(place, (camera, name), window)
    assert dict(pins.oldest()) == {place: 0}
    assert len(pins._heaps[place]) < 100
