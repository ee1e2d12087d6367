"""Poses of a person as vectors of joint angles, and how walking, running and dancing move them."""

from __future__ import annotations

from enum import IntEnum
from math import cos, pi, sin

import numpy as np

from ingest.scene.view import Array


class Joint(IntEnum):
    """Places in a pose vector; radians, forward and outward positive, LIFT in metres."""

    BEND = 0
    SWAY = 1
    TWIST = 2
    L_HIP = 3
    L_KNEE = 4
    R_HIP = 5
    R_KNEE = 6
    L_SPREAD = 7
    R_SPREAD = 8
    L_SHOULDER = 9
    L_OUT = 10
    L_ELBOW = 11
    R_SHOULDER = 12
    R_OUT = 13
    R_ELBOW = 14
    NOD = 15
    FALL = 16
    ROLL = 17
    LIFT = 18


POSE_SIZE = len(Joint)

_REST = {"L_OUT": 0.12, "R_OUT": 0.12, "L_ELBOW": 0.2, "R_ELBOW": 0.2, "L_KNEE": 0.06,
         "R_KNEE": 0.06, "L_SPREAD": 0.05, "R_SPREAD": 0.05}  # fmt: skip


def pose(**angles: float) -> Array:
    """A relaxed standing pose with the named joints set, for example `pose(bend=0.3)`."""
    vector = np.zeros(POSE_SIZE)
    for name, value in {**_REST, **{name.upper(): value for name, value in angles.items()}}.items():
        vector[Joint[name]] = value
    return vector


def mirrored(vector: Array) -> Array:
    """Left and right exchanged."""
    turned = vector.copy()
    for left, right in ((3, 5), (4, 6), (7, 8), (9, 12), (10, 13), (11, 14)):
        turned[left], turned[right] = vector[right], vector[left]
    for odd in (Joint.SWAY, Joint.TWIST, Joint.ROLL):
        turned[odd] = -vector[odd]
    return turned


def striding(phase: float, speed: float) -> Array:
    """Walking up to about 2 m/s, running above; `phase` is in cycles of two steps."""
    angle = 2 * pi * phase
    run = min(max((speed - 1.8) / 1.4, 0.0), 1.0)
    swing, forward = sin(angle), cos(angle)
    reach = 0.18 + 0.19 * min(speed, 1.8) + 0.22 * run
    knee = 0.75 + 0.75 * run
    arm = 0.3 + 0.12 * speed
    elbow = 0.25 + 1.15 * run
    return pose(
        bend=0.04 + 0.2 * run,
        twist=-(0.1 + 0.12 * run) * swing,
        sway=0.03 * forward,
        l_hip=reach * swing + 0.12 * run,
        r_hip=-reach * swing + 0.12 * run,
        l_knee=0.08 + knee * max(0.0, forward) + 0.2 * run,
        r_knee=0.08 + knee * max(0.0, -forward) + 0.2 * run,
        l_shoulder=-arm * swing,
        r_shoulder=arm * swing,
        l_elbow=elbow,
        r_elbow=elbow,
        lift=0.09 * run * abs(forward),
    )


def cycles_per_second(speed: float) -> float:
    """Step rate of a person at `speed` m/s: about 1 at a walk, 1.6 at a run."""
    return 0.62 + 0.26 * speed


def idle(time: float, manner: int) -> Array:
    """Standing about: weight shifts, talking hands, a telephone."""
    slow, quick = sin(0.9 * time + manner), sin(4.1 * time + 2 * manner)
    if manner % 3 == 0:
        return pose(sway=0.04 * slow, nod=0.1 * slow, l_elbow=0.3, r_elbow=0.3)
    if manner % 3 == 1:
        return pose(sway=0.05 * slow, r_shoulder=0.5 + 0.25 * quick * max(0.0, slow), nod=0.1,
                    r_elbow=1.3 + 0.3 * quick, twist=0.15 * slow)  # fmt: skip
    return pose(r_shoulder=0.6, r_elbow=2.3, r_out=0.3, sway=0.03 * slow, nod=0.25)


def pedalling(phase: float) -> Array:
    """On a bicycle; lifted onto its saddle."""
    angle = 2 * pi * phase
    return pose(bend=0.6, l_shoulder=0.65, r_shoulder=0.65, l_elbow=0.15, r_elbow=0.15, lift=0.4,
                l_hip=0.95 + 0.35 * sin(angle), l_knee=1.1 + 0.4 * sin(angle + 0.9),
                r_hip=0.95 - 0.35 * sin(angle), r_knee=1.1 - 0.4 * sin(angle + 0.9))  # fmt: skip


def dancing(time: float, manner: int) -> Array:
    """Two beats a second, arms and hips, in one of several manners."""
    beat = 2 * pi * (1.0 + 0.08 * (manner % 4)) * time + manner
    s, c, half = sin(beat), cos(beat), sin(beat / 2)
    if manner % 3 == 0:
        return pose(l_shoulder=2.4 + 0.5 * s, r_shoulder=2.4 - 0.5 * s, l_elbow=0.6, r_elbow=0.6,
                    sway=0.2 * s, l_knee=0.3 + 0.3 * s, r_knee=0.3 - 0.3 * s, l_hip=0.15 + 0.15 * s,
                    r_hip=0.15 - 0.15 * s, twist=0.3 * half)  # fmt: skip
    if manner % 3 == 1:
        return pose(l_shoulder=0.9 + 0.7 * s, r_shoulder=0.9 - 0.7 * s, l_elbow=1.2, r_elbow=1.2,
                    l_out=0.5, r_out=0.5, twist=0.5 * s, l_knee=0.4, r_knee=0.4, l_hip=0.2,
                    r_hip=0.2, lift=0.1 * max(0.0, c))  # fmt: skip
    return pose(l_out=1.3 + 0.5 * s, r_out=1.3 + 0.5 * c, sway=0.15 * half, l_spread=0.2,
                r_spread=0.2, l_hip=0.4 * max(0.0, s), l_knee=0.8 * max(0.0, s),
                r_hip=0.4 * max(0.0, -s), r_knee=0.8 * max(0.0, -s),
                lift=0.06 * abs(s))  # fmt: skip


GUARD = pose(bend=0.2, l_shoulder=0.9, r_shoulder=0.8, l_elbow=1.7, r_elbow=1.8, l_out=0.2,
             r_out=0.25, l_hip=0.35, l_knee=0.4, r_hip=-0.25, r_knee=0.3, nod=0.15)  # fmt: skip
COVER = pose(bend=0.55, l_shoulder=1.7, r_shoulder=1.7, l_elbow=2.2, r_elbow=2.2, nod=0.5,
             l_hip=0.4, l_knee=0.7, r_hip=0.1, r_knee=0.6)  # fmt: skip
WINDUP = pose(bend=0.0, twist=0.6, r_shoulder=-0.4, r_elbow=2.0, r_out=0.7, l_shoulder=0.9,
              l_elbow=1.5, l_hip=0.45, l_knee=0.4, r_hip=-0.4, r_knee=0.35)  # fmt: skip
STRAIGHT = pose(bend=0.35, twist=-0.7, r_shoulder=1.5, r_elbow=0.05, r_out=0.05, l_shoulder=0.3,
                l_elbow=2.0, l_hip=0.6, l_knee=0.5, r_hip=-0.5, r_knee=0.15)  # fmt: skip
HOOK = pose(bend=0.3, twist=-0.9, r_shoulder=1.45, r_elbow=1.0, r_out=0.9, l_shoulder=0.5,
            l_elbow=1.9, l_hip=0.5, l_knee=0.5, r_hip=-0.4, r_knee=0.3)  # fmt: skip
RAISED = pose(bend=-0.1, twist=0.4, r_shoulder=2.9, r_elbow=0.9, l_shoulder=0.7, l_elbow=1.2,
              l_hip=0.35, l_knee=0.3, r_hip=-0.3, r_knee=0.3)  # fmt: skip
SMASH = pose(bend=0.7, twist=-0.5, r_shoulder=0.9, r_elbow=0.15, l_shoulder=-0.3, l_elbow=0.8,
             l_hip=0.6, l_knee=0.7, r_hip=-0.3, r_knee=0.3)  # fmt: skip
CHAMBER = pose(bend=-0.05, r_hip=-0.6, r_knee=1.3, l_knee=0.2, l_shoulder=0.6, r_shoulder=-0.5,
               l_out=0.5, r_out=0.5, l_elbow=0.8)  # fmt: skip
KICK = pose(bend=-0.3, r_hip=1.25, r_knee=0.15, l_knee=0.2, l_hip=-0.1, l_shoulder=-0.5,
            r_shoulder=0.5, l_out=0.7, r_out=0.7)  # fmt: skip
LOW_KICK = pose(bend=-0.1, r_hip=0.8, r_knee=0.1, l_knee=0.35, l_hip=-0.15, l_shoulder=0.7,
                r_shoulder=-0.6, l_out=0.5, r_out=0.5)  # fmt: skip
STOMP = pose(bend=0.2, r_hip=1.3, r_knee=1.7, l_knee=0.15, l_shoulder=0.3, r_shoulder=0.3,
             l_out=0.7, r_out=0.7)  # fmt: skip
REEL = pose(bend=-0.45, nod=-0.6, twist=0.4, l_shoulder=0.7, r_shoulder=0.4, l_out=0.8, r_out=0.9,
            l_hip=0.5, l_knee=0.3, r_hip=-0.3, r_knee=0.7)  # fmt: skip
DOUBLED = pose(bend=1.0, nod=0.4, l_shoulder=1.2, r_shoulder=1.2, l_elbow=1.6, r_elbow=1.6,
               l_hip=0.5, l_knee=0.8, r_hip=0.4, r_knee=0.9)  # fmt: skip
CLINCH = pose(bend=0.5, l_shoulder=1.5, r_shoulder=1.3, l_elbow=0.7, r_elbow=0.9, l_out=0.3,
              r_out=0.3, l_hip=0.6, l_knee=0.6, r_hip=-0.5, r_knee=0.4)  # fmt: skip
SHOVE = pose(bend=0.4, l_shoulder=1.5, r_shoulder=1.5, l_elbow=0.1, r_elbow=0.1, l_hip=0.6,
             l_knee=0.5, r_hip=-0.5, r_knee=0.2)  # fmt: skip
EMBRACE = pose(bend=0.12, l_shoulder=1.35, r_shoulder=1.2, l_elbow=0.9, r_elbow=1.1, l_out=0.1,
               r_out=0.1, nod=0.2)  # fmt: skip
OPEN_ARMS = pose(l_shoulder=1.2, r_shoulder=1.2, l_out=0.9, r_out=0.9, l_elbow=0.3,
                 r_elbow=0.3)  # fmt: skip
LYING = pose(fall=-1.5, l_hip=0.35, l_knee=0.9, r_hip=0.1, r_knee=0.3, l_out=0.9, r_out=0.7,
             l_shoulder=0.4, r_shoulder=0.3, roll=0.3)  # fmt: skip
CURLED = pose(fall=-1.5, roll=1.25, bend=0.45, l_hip=1.2, l_knee=1.8, r_hip=1.0, r_knee=1.6,
              l_shoulder=1.7, r_shoulder=1.9, l_elbow=2.2, r_elbow=2.2, nod=0.5)  # fmt: skip
PRONE = pose(fall=1.5, l_shoulder=2.4, r_shoulder=1.8, l_elbow=0.7, r_elbow=0.5, l_knee=0.3,
             r_knee=0.7, l_out=0.5, r_out=0.5)  # fmt: skip
BUCKLED = pose(bend=0.3, fall=-0.45, l_hip=1.2, l_knee=1.6, r_hip=0.8, r_knee=1.4, l_shoulder=-0.3,
               r_shoulder=0.9, l_out=0.9, r_out=0.9, nod=-0.3)  # fmt: skip
KNEELING = pose(bend=0.5, l_hip=1.4, l_knee=1.5, r_hip=0.1, r_knee=1.6, l_shoulder=0.8,
                r_shoulder=0.5, nod=0.4)  # fmt: skip
POINTING = pose(r_shoulder=1.5, r_elbow=0.1, bend=0.1)
WAVING = pose(r_shoulder=2.7, r_elbow=0.4, r_out=0.4)
