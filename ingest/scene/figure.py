"""Persons: a skeleton in metres from a pose, and its drawing in one of the styles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.scene.gait import Joint
from ingest.scene.view import Array

Colour = tuple[int, int, int]

(PELVIS, CHEST, HEAD, L_SHOULDER, L_ELBOW, L_HAND, R_SHOULDER, R_ELBOW, R_HAND,
 L_HIP, L_KNEE, L_FOOT, R_HIP, R_KNEE, R_FOOT, L_TOE, R_TOE) = range(17)  # fmt: skip


@dataclass(frozen=True)
class Appearance:
    """What a person wears; colours in BGR as seen in full daylight."""

    height: float
    girth: float
    top: Colour
    bottom: Colour
    skin: Colour
    hair: Colour
    shoes: Colour
    skirt: bool = False
    bag: Colour | None = None
    bat: bool = False


def appearance(random: np.random.Generator, child: bool = False, bat: bool = False) -> Appearance:
    """Somebody in the street."""

    def cloth(low: int, high: int) -> Colour:
        grey = random.integers(low, high)
        hue = random.integers(-35, 36, 3) * random.choice([0.3, 1.0])
        return _colour(grey + hue)

    skin = np.array([120, 150, 205]) * random.uniform(0.45, 1.1)
    dark = float(random.choice([0.15, 0.3, 0.55, 0.8]))
    return Appearance(
        height=float(random.uniform(1.05, 1.35) if child else random.normal(1.73, 0.07)),
        girth=float(random.uniform(0.88, 1.2)),
        top=cloth(25, 235),
        bottom=cloth(20, 140),
        skin=_colour(skin),
        hair=_colour(np.array([60, 90, 130]) * dark),
        shoes=cloth(15, 90),
        skirt=bool(random.random() < 0.22),
        bag=cloth(20, 160) if random.random() < 0.3 and not bat else None,
        bat=bat,
    )


def _colour(values: Array) -> Colour:
    blue, green, red = np.clip(values, 5, 250).astype(int)
    return int(blue), int(green), int(red)


def skeletons(poses: Array, heights: Array, places: Array) -> Array:
    """Joints (P, 17, 3) in world metres from poses (P, 19), heights (P,), places (P, 3: x, z, h).

    The lower foot stands on the ground. ROLL turns the body about its own long axis, FALL then
    tips it over its feet: on its side, somebody lies with both.
    """
    count = len(poses)
    p = poses.T
    sines, cosines = np.sin(p), np.cos(p)
    thigh, shin = 0.245 * heights, 0.255 * heights
    # Columns of `local`: forward, right, up.
    local = np.zeros((count, 17, 3))
    drops = []
    for side, hip, knee, spread, base in (
        (-1, Joint.L_HIP, Joint.L_KNEE, Joint.L_SPREAD, L_HIP),
        (1, Joint.R_HIP, Joint.R_KNEE, Joint.R_SPREAD, R_HIP),
    ):
        lower = p[hip] - p[knee]
        local[:, base, 1] = side * 0.052 * heights
        local[:, base + 1, 0] = thigh * sines[hip]
        local[:, base + 1, 1] = local[:, base, 1] + side * thigh * sines[spread]
        local[:, base + 1, 2] = -thigh * cosines[hip] * cosines[spread]
        local[:, base + 2, 0] = local[:, base + 1, 0] + shin * np.sin(lower)
        local[:, base + 2, 1] = local[:, base + 1, 1] + side * shin * sines[spread] * 0.7
        local[:, base + 2, 2] = local[:, base + 1, 2] - shin * np.cos(lower)
        toe = L_TOE if side < 0 else R_TOE
        local[:, toe] = local[:, base + 2]
        local[:, toe, 0] += 0.085 * heights * np.cos(lower)
        local[:, toe, 2] += 0.085 * heights * np.sin(lower)
        drops.append(-local[:, base + 2, 2])
    torso = 0.29 * heights
    local[:, CHEST, 0] = torso * sines[Joint.BEND]
    local[:, CHEST, 1] = torso * sines[Joint.SWAY]
    local[:, CHEST, 2] = torso * cosines[Joint.BEND] * cosines[Joint.SWAY]
    nod = p[Joint.BEND] + p[Joint.NOD]
    neck = 0.135 * heights
    local[:, HEAD, 0] = local[:, CHEST, 0] + neck * np.sin(nod)
    local[:, HEAD, 1] = local[:, CHEST, 1] * 1.3
    local[:, HEAD, 2] = local[:, CHEST, 2] + neck * np.cos(nod)
    upper, fore, wide = 0.165 * heights, 0.215 * heights, 0.115 * heights
    st, ct = sines[Joint.TWIST], cosines[Joint.TWIST]
    for side, shoulder, out, elbow, base in (
        (-1, Joint.L_SHOULDER, Joint.L_OUT, Joint.L_ELBOW, L_SHOULDER),
        (1, Joint.R_SHOULDER, Joint.R_OUT, Joint.R_ELBOW, R_SHOULDER),
    ):
        raised = p[shoulder] + 0.6 * p[Joint.BEND]
        bent = raised + p[elbow]
        across, along = side * sines[out], cosines[out]
        limb = np.zeros((3, count, 3))
        limb[0, :, 1] = side * wide
        for step, length, angle, sideways in (
            (1, upper, raised, across),
            (2, fore, bent, across * 0.35 - side * 0.15),
        ):
            ray = np.stack([np.sin(angle) * along, sideways, -np.cos(angle) * along], axis=1)
            limb[step] = limb[step - 1] + length[:, None] * ray
        for step in range(3):  # the shoulders turn about the spine
            forward, right = limb[step, :, 0].copy(), limb[step, :, 1].copy()
            local[:, base + step, 0] = local[:, CHEST, 0] + forward * ct - right * st
            local[:, base + step, 1] = local[:, CHEST, 1] + forward * st * 0.6 + right * ct
            local[:, base + step, 2] = local[:, CHEST, 2] - 0.03 * heights + limb[step, :, 2]
    local[..., 2] += np.maximum(drops[0], drops[1])[:, None] + 0.03
    return _placed(local, sines, cosines, p[Joint.LIFT], places)


def _placed(local: Array, sines: Array, cosines: Array, lift: Array, places: Array) -> Array:
    sf, cf = sines[Joint.FALL][:, None], cosines[Joint.FALL][:, None]
    sr, cr = sines[Joint.ROLL][:, None], cosines[Joint.ROLL][:, None]
    forward, right, up = local[..., 0], local[..., 1], local[..., 2]
    forward, right = forward * cr - right * sr, right * cr + forward * sr
    forward, up = forward * cf + up * sf, up * cf - forward * sf
    # A body that lies rests on its lowest part.
    up = up - np.minimum(up.min(axis=1), 0.0)[:, None] + 0.1 * np.abs(sf) + lift[:, None]
    sh, ch = np.sin(places[:, 2])[:, None], np.cos(places[:, 2])[:, None]
    world: Array = np.stack(
        [
            places[:, 0:1] + forward * sh + right * ch,
            up,
            places[:, 1:2] + forward * ch - right * sh,
        ],
        axis=-1,
    )
    return world
