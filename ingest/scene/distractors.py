"""Lively things that are normal: a model must stay quiet through all of them."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from ingest.scene import gait, vehicles
from ingest.scene.accident import driving
from ingest.scene.act import Act, Event
from ingest.scene.choreography import Dancer, Performer, entering, leaving
from ingest.scene.figure import appearance
from ingest.scene.street import Street
from ingest.scene.track import Track
from ingest.scene.vehicles import BRAKE, HEADING, PITCH, X, Z

Place = tuple[float, float]


def distractor(
    act: str, street: Street, random: np.random.Generator, place: Place, start: float, end: float
) -> Act:
    """Draws `act`, one of address.DISTRACTORS."""
    performers: list[Performer] = []
    cars: list[tuple[vehicles.Model, Track]] = []
    radius = 1.5
    clear = None
    if act == "running":
        performers = _running(street, random, place, start, end)
        radius = 3.0
    elif act == "hugging":
        performers = _hugging(street, random, place, start, end)
    elif act == "dancing":
        performers = _dancing(street, random, place, start, end)
    elif act == "playing":
        performers = _playing(street, random, place, start, end)
        radius = 2.4
    elif act in {"crowd", "group"}:
        count = int(random.integers(9, 15) if act == "crowd" else random.integers(3, 6))
        performers = _gathering(street, random, place, (start, end), count)
        radius = 2.6 if act == "crowd" else 1.4
    elif act == "braking":
        cars = [_braking(street, random, place, start)]
        clear, radius = (start - 5, end + 7), 3.0
    return Act(
        Event("normal", start, end, street.view.region(*place, radius), act),
        performers,
        cars,
        clear=clear,
    )


def _running(
    street: Street, random: np.random.Generator, place: Place, start: float, end: float
) -> list[Performer]:
    """Joggers, or somebody late for a bus and a friend: one after another through the place."""
    runners = []
    time = start
    way = float(random.choice([-1, 1]))
    while time < end:
        speed = float(random.uniform(2.8, 5.0))
        x = place[0] + float(random.normal(0, 0.5))
        far = 14.0
        who = Dancer(time - far / speed, x, place[1] - way * far, 0.0)
        who.go(x + float(random.normal(0, 0.8)), place[1] + way * far, speed)
        runners.append(who.performer(appearance(random)))
        time += float(random.uniform(0.4, 2.2))
    return runners[:6]


def _hugging(
    street: Street, random: np.random.Generator, place: Place, start: float, end: float
) -> list[Performer]:
    """Two walk up to each other, hold each other, rock and turn, and pat."""
    axis = float(random.uniform(0, 2 * pi))
    two: list[Dancer] = []
    for sign in (-1, 1):
        spot = (place[0] + sign * 1.1 * sin(axis), place[1] + sign * 1.1 * cos(axis))
        two.append(entering(street.view, start, *spot, 0.0, street.half_width, random))
        two[-1].face(*place)
        two[-1].key(start, gait.OPEN_ARMS)
    time = start + 0.7
    while time < end:
        axis += float(random.normal(0, 0.12))
        for sign, who in zip((-1, 1), two, strict=True):
            who.x = place[0] + sign * 0.17 * sin(axis)
            who.z = place[1] + sign * 0.17 * cos(axis)
            who.turn_to(axis + (0 if sign < 0 else pi))
            hold = gait.EMBRACE.copy()
            hold[gait.Joint.SWAY] += sign * float(random.normal(0, 0.07))
            hold[gait.Joint.R_ELBOW] += float(random.choice([0.0, 0.35]))
            who.key(time, hold)
        time += float(random.uniform(0.25, 0.6))
    for who in two:
        leaving(who, street.view, street.half_width, random)
    return [who.performer(appearance(random)) for who in two]


def _dancing(
    street: Street, random: np.random.Generator, place: Place, start: float, end: float
) -> list[Performer]:
    """Two to four who dance near one another and turn."""
    performers = []
    count = int(random.integers(2, 5))
    for number in range(count):
        angle = 2 * pi * number / count + float(random.uniform(0, 0.6))
        away = float(random.uniform(0.5, 0.9))
        spot = (place[0] + away * sin(angle), place[1] + away * cos(angle))
        who = entering(street.view, start, *spot, 0.0, street.half_width, random)
        who.face(*place)
        manner, turning = int(random.integers(100)), float(random.normal(0, 0.5))
        for time in np.arange(start, end, 0.08):
            who.heading += 0.08 * turning * sin(0.7 * float(time))
            who.x += 0.02 * sin(2.2 * float(time) + manner)
            who.key(float(time), gait.dancing(float(time), manner))
        leaving(who, street.view, street.half_width, random)
        performers.append(who.performer(appearance(random)))
    return performers


def _playing(
    street: Street, random: np.random.Generator, place: Place, start: float, end: float
) -> list[Performer]:
    """Two or three who trot about and kick a ball (too small to see) or clap hands."""
    performers = []
    for _ in range(int(random.integers(2, 4))):
        who = entering(street.view, start, *place, 0.0, street.half_width, random)
        child = bool(random.random() < 0.5)
        while who.time < end:
            angle = float(random.uniform(0, 2 * pi))
            away = float(random.uniform(0.8, 2.2))
            who.go(place[0] + away * sin(angle), place[1] + away * cos(angle),
                   float(random.uniform(1.8, 3.4)))  # fmt: skip
            who.face(*place)
            if random.random() < 0.6:
                who.key(who.time + 0.15, gait.CHAMBER)
                who.key(who.time + 0.18, gait.LOW_KICK)
                who.key(who.time + 0.3, gait.pose())
            else:
                who.key(who.time + 0.25, gait.WAVING)
                who.key(who.time + 0.3, gait.pose())
        leaving(who, street.view, street.half_width, random)
        performers.append(who.performer(appearance(random, child=child)))
    return performers


def _gathering(
    street: Street, random: np.random.Generator, place: Place, span: tuple[float, float],
    count: int,
) -> list[Performer]:  # fmt: skip
    """People who stand and talk; in a crowd many of them push through it too."""
    performers = []
    start, end = span
    crowd = count > 6
    for _ in range(count):
        angle, away = float(random.uniform(0, 2 * pi)), float(random.uniform(0.4, 1.0))
        away *= 2.3 if crowd else 1.1
        spot = (place[0] + away * sin(angle), place[1] + away * cos(angle))
        who = entering(street.view, start, *spot, 0.0, street.half_width, random)
        who.face(*place)
        manner = int(random.integers(100))
        while who.time < end:
            if crowd and random.random() < 0.45:
                who.go(place[0] + float(random.normal(0, 1.6)), place[1] + float(
                    random.normal(0, 1.6)), float(random.uniform(0.6, 1.3)))  # fmt: skip
                who.face(*place)
            else:
                for _ in range(6):
                    who.key(who.time + 0.25, gait.idle(who.time, manner))
        leaving(who, street.view, street.half_width, random)
        performers.append(who.performer(appearance(random)))
    return performers


def _braking(
    street: Street, random: np.random.Generator, place: Place, start: float
) -> tuple[vehicles.Model, Track]:
    """A car that brakes hard, nods, stands, and drives on."""
    x = float(np.sign(place[0]) or 1.0) * 0.5 * street.half_road
    course = driving(x)
    speed, hard = float(random.uniform(8, 14)), float(random.uniform(5, 8))
    stop = start + 0.2 + speed / hard
    wait = float(random.uniform(0.8, 2.0))
    times, rows = [], []
    along = -speed * 3.2
    velocity = speed
    for time in np.arange(start + 0.2 - 3.2, stop + wait + 7, 1 / 30):
        row = np.zeros(vehicles.STATE_SIZE)
        row[X], row[HEADING] = x, course
        row[Z] = place[1] + cos(course) * (along - 0.5 * speed**2 / hard)
        if start + 0.2 < time < stop:
            velocity = max(0.0, velocity - hard / 30)
            row[BRAKE], row[PITCH] = 1.0, 0.035
        elif stop <= time < stop + wait:
            row[BRAKE] = 1.0
            row[PITCH] = -0.03 * np.exp(-4 * (time - stop)) * cos(9 * (time - stop))
            velocity = 0.0
        elif time >= stop + wait:
            velocity = min(9.0, velocity + 2.5 / 30)
            row[PITCH] = -0.01
        along += velocity / 30
        times.append(float(time))
        rows.append(row)
    return vehicles.model(random), Track(times, rows)
