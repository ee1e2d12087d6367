"""Assault, where one strikes and the other falls; fighting, where both strike."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np

from ingest.scene import gait
from ingest.scene.act import Act, Event
from ingest.scene.choreography import Dancer, Performer, entering, leaving
from ingest.scene.figure import appearance
from ingest.scene.gait import mirrored
from ingest.scene.street import Street
from ingest.scene.view import Array, pair

_STRIKES = (
    (gait.WINDUP, gait.STRAIGHT, 0.2),
    (gait.WINDUP, gait.HOOK, 0.18),
    (gait.RAISED, gait.SMASH, 0.15),
    (gait.CHAMBER, gait.KICK, 0.05),
    (gait.CHAMBER, gait.LOW_KICK, 0.05),
    (gait.GUARD, gait.SHOVE, 0.25),
)


def _strike(who: Dancer, start: float, random: np.random.Generator, scale: float = 1.0) -> float:
    """Winds up, lands and draws back; returns when it lands."""
    windup, hit, lunge = _STRIKES[int(random.integers(len(_STRIKES)))]
    if random.random() < 0.4:
        windup, hit = mirrored(windup), mirrored(hit)
    lands = start + 0.26 * scale
    who.key(start + 0.13 * scale, _loose(windup, random))
    who.shift(lunge)
    who.key(lands, _loose(hit, random))
    who.key(lands + 0.06, hit)
    who.shift(-lunge)
    who.key(lands + 0.26 * scale, _loose(_either(gait.GUARD, random), random))
    return lands


def _either(vector: Array, random: np.random.Generator) -> Array:
    return mirrored(vector) if random.random() < 0.5 else vector


def _loose(vector: Array, random: np.random.Generator) -> Array:
    """Nobody takes a pose exactly."""
    loose: Array = vector + random.normal(0, 0.09, len(vector))
    loose[gait.Joint.FALL :] = vector[gait.Joint.FALL :]
    return loose


def _reel(who: Dancer, hit_at: float, way: float, random: np.random.Generator) -> None:
    """Takes a blow that comes along heading `way`."""
    deep = float(random.uniform(0.15, 0.5))
    react = gait.REEL if random.random() < 0.65 else gait.DOUBLED
    who.shift(deep, way)
    who.key(hit_at + 0.14, _loose(_either(react, random), random))
    who.shift(-deep * float(random.uniform(0.3, 1.0)), way)
    who.key(hit_at + 0.4, _loose(gait.GUARD, random))


def fighting(
    street: Street, random: np.random.Generator, place: tuple[float, float], start: float,
    end: float,
) -> Act:  # fmt: skip
    """One or two pairs who hit, shove and hold each other; others watch."""
    x, z = place
    performers: list[Performer] = []
    pairs = 1 if random.random() < 0.65 else 2
    for number in range(pairs):
        angle = float(random.uniform(0, 2 * pi))
        off = 0.0 if number == 0 else 1.7
        performers += _pair(
            street, random, (x + off * cos(angle), z + off * sin(angle)), start, end
        )
    performers += _onlookers(street, random, place, start, end, int(random.integers(0, 4)))
    region = street.view.region(x, z, 1.3 if pairs == 1 else 2.4)
    return Act(Event("fighting", start, end, region, "fighting"), performers)


def _pair(
    street: Street, random: np.random.Generator, place: tuple[float, float], start: float,
    end: float,
) -> list[Performer]:  # fmt: skip
    centre = np.array(place)
    axis = _across(street, random)
    apart = 0.5
    two: list[Dancer] = []
    for sign in (-1, 1):
        spot = centre + sign * apart * np.array([sin(axis), cos(axis)])
        heading = axis + (0 if sign < 0 else pi)
        two.append(entering(street.view, start, *pair(spot), heading, street.half_width, random))
        two[-1].key(start, gait.GUARD)
    time = start
    spin = float(random.normal(0, 0.9))
    while time < end - 0.3:
        seconds = float(random.uniform(0.38, 0.7))
        axis += spin * seconds
        if random.random() < 0.2:
            spin = float(random.normal(0, 1.2))
        centre = centre + random.normal(0, 0.14, 2)
        clinch = random.random() < 0.22
        gap = 0.3 if clinch else apart * float(random.uniform(0.9, 1.25))
        for sign, who in zip((-1, 1), two, strict=True):
            spot = centre + sign * gap * np.array([sin(axis), cos(axis)])
            who.x, who.z = pair(spot)
            who.turn_to(axis + (0 if sign < 0 else pi))
        if clinch:
            seconds = float(random.uniform(0.6, 1.3))
            _clinch(two, time, seconds, random)
        else:
            order = two if random.random() < 0.5 else two[::-1]
            lands = _strike(order[0], time, random, float(random.uniform(0.8, 1.1)))
            if random.random() < 0.45:  # both at once
                lands2 = _strike(order[1], time + 0.1, random)
                seconds = max(seconds, lands2 - time + 0.25)
            else:
                _reel(order[1], lands, order[0].heading, random)
                seconds = max(seconds, lands - time + 0.4)
        time += seconds
    for who in two:
        who.key(max(end, who.time), gait.GUARD)
        who.hold(float(random.uniform(0.2, 0.8)), gait.pose())
        leaving(who, street.view, street.half_width, random, float(random.uniform(1.3, 2.6)))
    return [who.performer(appearance(random)) for who in two]


def _across(street: Street, random: np.random.Generator) -> float:
    """A heading more or less across the picture, so that one does not hide the other."""
    return street.view.yaw + float(random.choice([-1, 1]) * pi / 2 + random.normal(0, 0.6))


def _clinch(two: list[Dancer], time: float, seconds: float, random: np.random.Generator) -> None:
    """Both hold, push and drag each other."""
    for step in np.arange(0.15, seconds, 0.2):
        drag = random.normal(0, 0.12, 2)
        for index, who in enumerate(two):
            who.x += float(drag[0])
            who.z += float(drag[1])
            vector = gait.CLINCH if (int(step * 5) + index) % 2 else mirrored(gait.CLINCH)
            who.key(time + float(step), _loose(vector, random))


def _onlookers(
    street: Street, random: np.random.Generator, place: tuple[float, float], start: float,
    end: float, count: int,
) -> list[Performer]:  # fmt: skip
    watching = []
    for _ in range(count):
        angle, away = float(random.uniform(0, 2 * pi)), float(random.uniform(2.2, 4.0))
        spot = (place[0] + away * cos(angle), place[1] + away * sin(angle))
        who = entering(street.view, start, *spot, 0.0, street.half_width, random)
        who.face(*place)
        while who.time < end:
            choice = random.random()
            if choice < 0.3:
                who.shift(float(random.uniform(-0.4, 0.15)))
            vector = gait.POINTING if choice > 0.8 else gait.pose(sway=0.05, nod=0.1)
            who.hold(float(random.uniform(0.5, 1.4)), vector)
        leaving(who, street.view, street.half_width, random)
        watching.append(who.performer(appearance(random)))
    return watching


def assault(
    street: Street, random: np.random.Generator, place: tuple[float, float], start: float,
    end: float,
) -> Act:  # fmt: skip
    """One attacks; the other covers, staggers, falls and stays down while being kicked."""
    x, z = place
    way = _across(street, random)
    ahead = np.array([sin(way), cos(way)])
    armed = bool(random.random() < 0.3)
    spot = np.array(place) - 0.75 * ahead
    victim = entering(street.view, start, x, z, way + pi, street.half_width, random)
    behind = random.random() < 0.35
    if behind:
        victim.turn_to(way)
    victim.key(start, gait.pose())
    attacker = entering(
        street.view, start, *pair(spot), way, street.half_width, random,
        float(random.uniform(1.5, 3.2)),
    )  # fmt: skip
    attacker.key(start, gait.GUARD)
    time = start
    standing = min(0.35 * (end - start), float(random.uniform(0.5, 2.0)))
    while True:
        lands = _blow(attacker, time, random, armed)
        if lands - start >= standing:
            break
        victim.shift(float(random.uniform(0.2, 0.4)), way)
        victim.key(lands + 0.13, _loose(gait.REEL if not behind else gait.DOUBLED, random))
        victim.key(lands + 0.35, _loose(gait.COVER, random))
        time = lands + float(random.uniform(0.25, 0.4))
        attacker.shift(float(random.uniform(0.2, 0.4)))
        attacker.key(time, _loose(gait.GUARD, random))
    down = _fall(victim, lands, way, behind, random)
    curled = gait.CURLED.copy()
    if behind:  # from lying on the face
        curled[[gait.Joint.FALL, gait.Joint.ROLL]] *= -1
    _kicks(attacker, victim, curled, (down, end), random, armed)
    attacker.key(max(end, attacker.time), gait.GUARD)
    leaving(attacker, street.view, street.half_width, random, float(random.uniform(2.6, 4.2)))
    victim.hold(float(random.uniform(1.0, 2.0)), curled)
    victim.key(victim.time + 0.9, gait.KNEELING)
    victim.key(victim.time + 0.8, gait.pose())
    leaving(victim, street.view, street.half_width, random, 0.9)
    performers = [
        attacker.performer(appearance(random, bat=armed)),
        victim.performer(appearance(random)),
    ]
    if random.random() < 0.3:
        performers += _onlookers(street, random, place, start, end, 1)
    event = Event("assault", start, end, street.view.region(x, z, 1.6, 1.9), "assault")
    return Act(event, performers)


def _blow(who: Dancer, time: float, random: np.random.Generator, armed: bool) -> float:
    if not armed:
        return _strike(who, time, random)
    who.key(time + 0.18, _loose(gait.RAISED, random))
    who.key(time + 0.33, _loose(gait.SMASH, random))
    who.key(time + 0.55, gait.GUARD)
    return time + 0.33


def _fall(
    victim: Dancer, hit_at: float, way: float, behind: bool, random: np.random.Generator
) -> float:
    """Reels, buckles and lands; returns when down."""
    victim.shift(0.25, way)
    victim.key(hit_at + 0.12, gait.REEL)
    victim.shift(0.3, way)
    victim.key(hit_at + 0.38, gait.DOUBLED if behind else gait.BUCKLED)
    down = gait.PRONE if behind else gait.LYING
    victim.key(hit_at + 0.72, down)
    bounce = down.copy()
    bounce[gait.Joint.FALL] *= 0.93
    victim.key(hit_at + 0.82, bounce)
    victim.key(hit_at + 0.92, down)
    return hit_at + 0.92


def _kicks(
    attacker: Dancer, victim: Dancer, curled: Array, span: tuple[float, float],
    random: np.random.Generator, armed: bool,
) -> None:  # fmt: skip
    """Stands over the one who lies, and kicks, stamps or strikes down until the end."""
    attacker.x, attacker.z = (
        victim.x - 0.35 * sin(attacker.heading),
        (victim.z - 0.35 * cos(attacker.heading)),
    )
    time, end = span
    attacker.key(time - 0.1, gait.striding(0.2, 1.4))
    while time < end - 0.3:
        seconds = float(random.uniform(0.45, 0.85))
        choice = random.random()
        if armed or choice < 0.3:
            first, second = gait.RAISED, gait.SMASH
        elif choice < 0.7:
            first, second = gait.CHAMBER, gait.LOW_KICK
        else:
            first, second = gait.STOMP, gait.pose(bend=0.3, r_hip=0.5, r_knee=0.2, l_knee=0.5)
        lands = time + 0.4 * seconds
        attacker.key(time + 0.2 * seconds, _loose(first, random))
        attacker.key(lands, _loose(second, random))
        attacker.key(lands + 0.3 * seconds, _loose(gait.GUARD, random))
        victim.key(lands, curled)
        jolt = curled.copy()
        jolt[gait.Joint.BEND] += float(random.uniform(0.2, 0.5))
        jolt[gait.Joint.L_KNEE] -= float(random.uniform(0.2, 0.8))
        jolt[gait.Joint.ROLL] += float(random.normal(0, 0.3))
        victim.shift(0.05, attacker.heading)
        victim.key(lands + 0.12, jolt)
        victim.key(lands + 0.3, curled)
        time += seconds
    victim.key(max(victim.time, end), curled)
