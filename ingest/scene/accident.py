"""Road accidents: a vehicle at speed meets another vehicle or a person and stops abruptly."""

from __future__ import annotations

from math import atan2, cos, pi, sin

import numpy as np

from ingest.scene import gait, vehicles
from ingest.scene.act import Act, Event
from ingest.scene.choreography import Dancer, Performer, way_out
from ingest.scene.effects import puff, shards
from ingest.scene.figure import appearance
from ingest.scene.street import Street
from ingest.scene.track import Track
from ingest.scene.vehicles import BRAKE, HAZARD, HEADING, NOSE, PITCH, REAR, TILT, X, Z
from ingest.scene.view import Array, pair

_STEP = 1 / 30
LEAD = 0.35
"""Seconds from the onset in the script (brakes, a swerve) to the impact."""


def accident(
    street: Street, random: np.random.Generator, place: tuple[float, float], start: float,
    end: float,
) -> Act:  # fmt: skip
    """One of: into a slower car, into the side of a turning one, a walker, a cyclist."""
    lane = float(np.sign(place[0]) or 1.0) * 0.5 * street.half_road
    spot = (lane, place[1])
    kind = str(random.choice(["rear", "side", "walker", "cyclist"]))
    if kind in {"walker", "cyclist"}:
        return _person_hit(street, random, spot, (start, end), on_bicycle=kind == "cyclist")
    return _cars_meet(street, random, spot, (start, end), aside=kind == "side")


def driving(lane: float) -> float:
    """Heading of a lane: traffic keeps right."""
    return 0.0 if lane > 0 else pi


class _Car:
    """A vehicle's state in steps of a thirtieth of a second."""

    def __init__(self, time: float, x: float, z: float, heading: float) -> None:
        self.time, self.state = time, np.zeros(vehicles.STATE_SIZE)
        self.state[[X, Z, HEADING]] = x, z, heading
        self.times: list[float] = []
        self.rows: list[Array] = []

    def step(self, speed: float, course: float, spin: float = 0.0) -> None:
        """Moves at `speed` m/s along `course` while turning at `spin` rad/s."""
        self.times.append(self.time)
        self.rows.append(self.state.copy())
        self.time += _STEP
        self.state[X] += speed * sin(course) * _STEP
        self.state[Z] += speed * cos(course) * _STEP
        self.state[HEADING] += spin * _STEP

    def slide(self, until: float, speed: float, course: float, spin: float, grip: float,
              nose: float = 0.0, rear: float = 0.0) -> None:  # fmt: skip
        """After an impact: speed and spin die away, metal gives way at once, the body rocks."""
        began = self.time
        while self.time < until:
            age = self.time - began
            fade = max(0.0, 1 - age * grip / max(speed, 0.1))
            self.state[NOSE] = nose * min(1.0, age / 0.1)
            self.state[REAR] = rear * min(1.0, age / 0.1)
            rock = float(np.exp(-2.5 * age)) * sin(17 * age)
            self.state[PITCH] = 0.09 * rock * (1 if nose else -1)
            self.state[TILT] = 0.12 * rock * np.sign(spin)
            self.state[BRAKE] = 1.0
            self.state[HAZARD] = float(age > 1.2)
            self.step(speed * fade, course, spin * fade)

    def drive_off(self, course: float, seconds: float = 9.0) -> None:
        """Limps away slowly."""
        self.state[[PITCH, TILT, BRAKE]] = 0.0
        began, heading = self.time, self.state[HEADING]
        turn = (course - heading + pi) % (2 * pi) - pi
        while self.time < began + seconds:
            age = self.time - began
            speed = min(5.0, 1.2 * age)
            self.state[HEADING] = heading + turn * min(1.0, age / 3.0)
            self.step(speed, float(self.state[HEADING]))

    def track(self) -> Track:
        return Track(self.times, self.rows)


def _approach(car: _Car, until: float, speed: float, course: float, brake_from: float,
              deceleration: float, swerve: float) -> float:  # fmt: skip
    """Drives on, brakes late; returns the speed at `until`."""
    while car.time < until - 1e-6:
        late = max(0.0, car.time - brake_from)
        now = max(0.0, speed - deceleration * late)
        car.state[BRAKE] = float(late > 0)
        car.state[PITCH] = 0.03 * min(1.0, late / 0.15)
        car.state[HEADING] = course + swerve * min(1.0, late / 0.3)
        car.step(now, float(car.state[HEADING]))
    return max(0.0, speed - deceleration * (until - brake_from))


def _travel(speed: float, lead: float, deceleration: float) -> float:
    """Metres covered in LEAD seconds of braking and the time before."""
    return speed * lead - 0.5 * deceleration * LEAD**2


def _cars_meet(
    street: Street, random: np.random.Generator, spot: tuple[float, float],
    span: tuple[float, float], aside: bool,
) -> Act:  # fmt: skip
    (x, z), (start, end) = spot, span
    impact = start + LEAD
    course = driving(x)
    ahead = np.array([sin(course), cos(course)])
    speed = float(random.uniform(11, 16))
    one, two = vehicles.model(random), vehicles.model(random)
    lead = 4.0
    brake = float(random.uniform(2, 6))
    gap = 0.5 * one.length + (0.5 * two.width + 0.2 if aside else 0.5 * two.length)
    contact = np.array([x, z]) - ahead * gap
    from_there = contact - ahead * _travel(speed, lead, brake)
    hitting = _Car(impact - lead, *pair(from_there), course)
    left = _approach(hitting, impact, speed, course, start, brake, 0.0)
    if aside:
        turn = float(random.choice([-1, 1]) * random.uniform(1.1, 1.5))
        other_speed = float(random.uniform(2, 4))
        other_course = course + turn
        begin = np.array([x, z]) - lead * other_speed * np.array(
            [sin(other_course), cos(other_course)]
        )
        struck = _Car(impact - lead, *pair(begin), other_course)
        _approach(struck, impact, other_speed, other_course, impact, 0.0, 0.0)
        spin = float(np.sign(turn) * random.uniform(2.0, 4.5) * random.choice([-1, 1]))
        struck.slide(end, 0.62 * left, course + 0.25 * turn, spin, 7.0, nose=0.15, rear=0.15)
        hitting.slide(end, 0.4 * left, course - 0.12 * turn, -0.35 * spin, 8.0, nose=0.75)
    else:
        other_speed = float(random.choice([0.0, 2.5]))
        begin = np.array([x, z]) - ahead * lead * other_speed
        struck = _Car(impact - lead, *pair(begin), course)
        _approach(struck, impact, other_speed, course, impact, 0.0, 0.0)
        spin = float(random.choice([-1, 1]) * random.uniform(0.4, 1.8))
        struck.slide(end, 0.6 * left, course + 0.1 * spin, spin, 5.5, rear=0.7)
        hitting.slide(end, 0.32 * left, course - 0.1 * spin, -spin, 7.0, nose=0.8)
    nose = contact + ahead * 0.5 * one.length
    for car in (hitting, struck):
        while car.time < end + 1.0:
            car.step(0.0, course)
        car.drive_off(course)
    push = pair(0.45 * left * ahead)
    event = Event(
        "road_accident", start, end, street.view.region(*pair(nose), 3.2, 1.8), "accident"
    )
    return Act(
        event,
        _helpers(street, random, nose, impact, end),
        [(one, hitting.track()), (two, struck.track())],
        [
            puff(random, *pair(nose), impact, 0.25, 1.0),
            puff(random, *pair(nose + 0.2 * left * ahead), impact + 0.5, end - impact, 0.8),
        ],
        [shards(random, *pair(nose), impact, end + 3, 1.0, 34, push)],
        clear=(start - 6, end + 10),
    )


def _person_hit(
    street: Street, random: np.random.Generator, spot: tuple[float, float],
    span: tuple[float, float], on_bicycle: bool,
) -> Act:  # fmt: skip
    (x, z), (start, end) = spot, span
    impact = start + LEAD
    course = driving(x)
    ahead = np.array([sin(course), cos(course)])
    speed, brake, lead = float(random.uniform(8.5, 13)), float(random.uniform(3, 7)), 4.0
    model = vehicles.model(random)
    from_there = np.array([x, z]) - ahead * (0.5 * model.length + _travel(speed, lead, brake))
    car = _Car(impact - lead, *pair(from_there), course)
    left = _approach(car, impact, speed, course, start, brake, 0.0)
    side = float(random.choice([-1, 1]))
    car.slide(end, 0.85 * left, course + 0.06 * side, 0.25 * side, 8.5, nose=0.25)
    while car.time < end + 1.5:
        car.step(0.0, course)
    car.drive_off(course)
    crossing = np.array([side, 0.0])
    walk = 3.4 if on_bicycle else 1.5
    begin = np.array([x, z]) - crossing * walk * lead
    begin[0] = np.clip(begin[0], -street.half_width + 0.3, street.half_width - 0.3)
    late = abs(x - begin[0]) / walk
    who = Dancer(impact - late, *pair(begin), atan2(side, 0.0))
    cars = [(model, car.track())]
    if on_bicycle:
        who.key(impact - late, gait.pedalling(0.0))
        for step in range(1, max(2, int(late / 0.1))):
            share = step / max(2, int(late / 0.1))
            who.x, who.z = pair(begin + share * (np.array([x, z]) - begin))
            who.key(impact - late + share * late, gait.pedalling(share * late * 1.4))
        who.x, who.z = x, z
        who.key(impact, gait.pedalling(late * 1.4))
        cars.append((vehicles.BICYCLE, _thrown_bicycle(random, begin, (x, z), impact, late, end,
                                                       0.55 * left * ahead)))  # fmt: skip
    else:
        who.go(x, z, walk)
        who.key(impact, gait.pose(bend=-0.2, l_shoulder=1.2, r_shoulder=1.2))
    _thrown(who, impact, course, float(random.uniform(0.55, 0.8)) * left, random)
    who.key(end, gait.LYING)
    who.hold(2.5, gait.LYING)
    who.key(who.time + 1.2, gait.KNEELING)
    who.key(who.time + 1.0, gait.pose())
    who.go(*way_out(street.view, who.x, who.z, street.half_width, random), 0.9)
    performers = [who.performer(appearance(random))]
    performers += _helpers(street, random, np.array([who.x, z]), impact, end)
    region = street.view.region(x, z + 2 * ahead[1], 3.2, 1.8)
    return Act(
        Event("road_accident", start, end, region, "accident"),
        performers,
        cars,
        [puff(random, x, z, impact, 0.2, 0.5)],
        [shards(random, x, z, impact, end + 2, 0.7, 14, (0.0, float(0.4 * left * ahead[1])))],
        clear=(start - 6, end + 10),
    )


def _thrown(who: Dancer, impact: float, course: float, speed: float,
            random: np.random.Generator) -> None:  # fmt: skip
    """Flies over the bonnet, lands, rolls out."""
    flight = float(random.uniform(0.6, 0.85))
    turns = -float(random.choice([1.5, 1.5, 1.5 + 2 * pi]))
    sprawled = gait.pose(l_shoulder=1.8, r_shoulder=1.2, l_out=1.0, r_out=1.2, l_hip=0.6,
                         r_hip=-0.3, l_knee=0.8, r_knee=0.5)  # fmt: skip
    for share in np.linspace(0.15, 1.0, 6):
        vector = sprawled.copy()
        vector[gait.Joint.FALL] = turns * share
        vector[gait.Joint.LIFT] = max(0.0, 4 * 1.3 * share * (1 - share))
        who.shift(speed * flight / 6, course)
        who.key(impact + float(share) * flight, vector)
    for share in (0.35, 0.7, 1.0):
        vector = gait.LYING.copy()
        vector[gait.Joint.FALL] = turns
        vector[gait.Joint.ROLL] = float(random.normal(0, 0.35)) * (1 - share)
        who.shift(0.12 * speed, course)
        who.key(impact + flight + 0.7 * share, vector)
    who.key(who.time + 0.01, gait.LYING)


def _thrown_bicycle(
    random: np.random.Generator, begin: Array, spot: tuple[float, float], impact: float,
    late: float, end: float, push: Array,
) -> Track:  # fmt: skip
    times, rows = [], []
    heading = atan2(spot[0] - begin[0], 1e-9)
    for time, share in ((impact - late, 0.0), (impact, 1.0)):
        row = np.zeros(vehicles.STATE_SIZE)
        row[[X, Z]] = begin + share * (np.array(spot) - begin)
        row[HEADING] = heading
        times.append(time)
        rows.append(row)
    spin = float(random.normal(0, 3))
    for age in (0.2, 0.4, 0.7, 1.1, end - impact + 3):
        row = rows[1].copy()
        row[[X, Z]] += push * min(age, 1.1) * (1 - 0.35 * min(age, 1.1))
        row[HEADING] += spin * min(age, 1.1)
        row[TILT] = 1.4 * min(1.0, age / 0.4)
        times.append(impact + age)
        rows.append(row)
    return Track(times, rows)


def _helpers(
    street: Street, random: np.random.Generator, place: Array, impact: float, end: float
) -> list[Performer]:
    """Passers-by who hurry to the place and bend over it."""
    helping = []
    for _ in range(int(random.integers(0, 4))):
        side = float(random.choice([-1, 1]))
        x = side * (street.half_road + float(random.uniform(0.6, street.pavement * 0.8)))
        z = float(place[1] + random.uniform(-6, 6))
        who = Dancer(impact - 9, x, z - 11 * side, 0.0)
        who.go(x, z, 1.35)
        who.key(max(impact + float(random.uniform(0.3, 1.0)), who.time), gait.pose())
        stand = place + random.normal(0, 0.5, 2) - np.array([side * -2.2, 0.0])
        who.go(*pair(stand), float(random.uniform(2.4, 3.6)))
        while who.time < end:
            bent = gait.KNEELING if random.random() < 0.4 else gait.POINTING
            who.hold(float(random.uniform(0.6, 1.4)), bent)
        who.go(*way_out(street.view, who.x, who.z, street.half_width, random), 1.3)
        helping.append(who.performer(appearance(random)))
    return helping
