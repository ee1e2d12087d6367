"""Draws one picture of a scene at a time: everybody in it, from far to near."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import sin

import cv2
import numpy as np

from ingest.scene import vehicles
from ingest.scene.act import Act
from ingest.scene.address import Options
from ingest.scene.backdrop import Backdrop, glow, paint
from ingest.scene.choreography import PLACE
from ingest.scene.effects import draw_plumes
from ingest.scene.figure import Appearance, skeletons
from ingest.scene.gait import POSE_SIZE
from ingest.scene.lens import Lens
from ingest.scene.people import draw_person, draw_shadow
from ingest.scene.script import Script
from ingest.scene.street import Street, build_street
from ingest.scene.traffic import Passers
from ingest.scene.view import Array, Image

Layer = tuple[float, Callable[[Image], None]]


class Stage:
    """A scene that can be drawn at any time."""

    def __init__(self, options: Options) -> None:
        self.street: Street = build_street(options)
        self.script = Script(options, self.street)
        self._options = options
        self._passers = Passers(options, self.street)
        self._mask = np.zeros((options.height, options.width), dtype=np.uint8)
        self._lamps_on = self.street.light != "day"

    @cached_property
    def _backdrop(self) -> Backdrop:
        return paint(self.street, self._options.seed)  # half a second: not where only a script is

    @cached_property
    def _lens(self) -> Lens:
        return Lens(self._options, self.street)

    def draw(self, number: int, time: float) -> Image:
        """The picture of frame `number` at `time` seconds, a new array (H, W, 3)."""
        image = self._backdrop.picture.copy()
        acts = self.script.acts_at(time)
        cars, riders = self._passers.vehicles(time, acts)
        for act in acts:
            for model, track in act.vehicles:
                state = track.at(time)
                if state is not None:
                    cars.append((model, state))
        people = self._passers.people(time, acts) + riders
        for act in acts:
            for performer in act.performers:
                row = performer.track.at(time)
                if row is not None:
                    x, z, heading = row[PLACE].tolist()
                    people.append((performer.wearing, row[:POSE_SIZE], (x, z, heading)))
        layers: list[Layer] = []
        self._shadow_cars(cars)
        self._stand_people(people, layers)
        cv2.copyTo(self._backdrop.shaded, self._mask, image)
        self._mask[:] = 0
        if self._lamps_on:
            self._beams(image, cars)
        for model, state in cars:
            self._park(model, state, time, layers)
        layers += [
            (prop.depth, _Pasted(prop.box, prop.picture, prop.mask))
            for prop in self._backdrop.props
        ]
        for _, place in sorted(layers, key=lambda layer: -layer[0]):
            place(image)
        gain = self._effects(image, acts, time)
        return self._lens.apply(image, number, time, gain)

    def _stand_people(
        self, people: list[tuple[Appearance, Array, tuple[float, float, float]]],
        layers: list[Layer],
    ) -> None:  # fmt: skip
        """Projects everybody at once, casts shadows, and queues the drawing."""
        if not people:
            return
        view, street = self.street.view, self.street
        places = np.array([place for _, _, place in people])
        heights = np.array([wearing.height for wearing, _, _ in people])
        joints = skeletons(np.array([vector for _, vector, _ in people]), heights, places)
        pixels = view.project(joints)
        sun = street.light == "day" and street.weather == "clear"
        cast = joints.copy()
        reach = street.sun if sun else (0.12, 0.05)
        cast[..., 0] += joints[..., 1] * reach[0]
        cast[..., 2] += joints[..., 1] * reach[1]
        cast[..., 1] = 0.0
        shadows = view.project(cast)[..., :2]
        nearest, low, high = pixels[..., 2].min(axis=1), pixels.min(axis=1), pixels.max(axis=1)
        for index, (wearing, _, (x, z, _)) in enumerate(people):
            depth = float(pixels[index, 0, 2])
            if nearest[index] < 1.2:
                continue
            size = view.focal / depth
            slack = 0.3 * size
            if (high[index, 0] < -slack or low[index, 0] > view.width + slack
                    or high[index, 1] < -slack or low[index, 1] > view.height + slack):  # fmt: skip
                continue
            if size > 14:
                draw_shadow(self._mask, np.clip(shadows[index], -5000, 5000), size)
            light = street.light_at(x, z)
            layers.append((depth, _Standing(pixels[index, :, :2], size, wearing, light,
                                            street.style)))  # fmt: skip

    def _shadow_cars(self, cars: list[tuple[vehicles.Model, Array]]) -> None:
        view = self.street.view
        sun = self.street.light == "day" and self.street.weather == "clear"
        for model, state in cars:
            ground = vehicles.footprint(model, state, self.street.sun if sun else (0.1, 0.0))
            pixels = view.project(ground)
            if pixels[:, 2].min() > 1.0:
                hull = cv2.convexHull(np.clip(pixels[:, :2], -5000, 5000).astype(np.int32))
                cv2.fillConvexPoly(self._mask, hull, 255)

    def _beams(self, image: Image, cars: list[tuple[vehicles.Model, Array]]) -> None:
        """Head lamps on the ground ahead of each vehicle."""
        view = self.street.view
        for model, state in cars:
            if model is vehicles.BICYCLE:
                continue
            spot = vehicles.placed(np.array([[0.0, 0.0, model.length / 2 + 3.0]]), state)
            column, row, depth = view.project(spot)[0].tolist()
            if depth > 2:
                glow(image, column, row, 2.6 * view.focal / depth, (60, 75, 80))

    def _park(self, model: vehicles.Model, state: Array, time: float, layers: list[Layer]) -> None:
        view = self.street.view
        place = np.array([state[vehicles.X], 0.5, state[vehicles.Z]])
        depth = float(view.to_camera(place)[2])
        if depth < 1.0:
            return
        light = self.street.light_at(float(state[vehicles.X]), float(state[vehicles.Z]))
        lamps, style = self._lamps_on, self.street.style

        def draw(image: Image) -> None:
            if model is vehicles.BICYCLE:
                vehicles.draw_bicycle(image, view, state, light, time)
            else:
                vehicles.draw_vehicle(image, view, model, state, light, time, lamps, style)

        layers.append((depth - 0.2, draw))

    def _effects(self, image: Image, acts: list[Act], time: float) -> float:
        """Smoke, fire, pieces, flashes; returns what exposure makes of them."""
        gain = 1.0
        street, view = self.street, self.street.view
        for act in acts:
            x, z = 0.0, 0.0
            if act.flash:
                x, z, since = act.flash
                gain *= self._flash(image, x, z, time - since, act.event.end - time)
            if act.debris:
                for debris in act.debris:
                    debris.draw(image, view, time, street.ambient)
            if act.plumes:
                draw_plumes(image, view, act.plumes, time, street.ambient, street.style)
            if act.event.act == "flicker" and act.event.start <= time < act.event.end:
                gain *= self._flickering(image, time)
        return gain

    def _flash(self, image: Image, x: float, z: float, age: float, left: float) -> float:
        """Light of an explosion on everything, and the camera's exposure after it."""
        if age < 0 or left < 0:
            return 1.0
        view = self.street.view
        column, row, depth = view.project(np.array([x, 1.0, z])).tolist()
        if depth < 1.0:
            return 1.0
        size = view.focal / depth
        if age < 0.2:
            strength = 1 - age / 0.2
            level = tuple(int(part * strength) for part in (200, 235, 255))
            glow(image, column, row, 14 * size, (level[0], level[1], level[2]))
            return 1 + 0.9 * strength
        flare = 0.5 + 0.25 * sin(31 * age) + 0.2 * sin(17 * age + 1)
        dark = 0.3 if self.street.light == "day" else 0.8
        flare *= dark * min(1.0, left) * (0.5 + float(np.exp(-age)))
        glow(image, column, row, 5 * size, (int(20 * flare), int(75 * flare), int(130 * flare)))
        return 1 - 0.22 * float(np.exp(-3 * (age - 0.2)))

    def _flickering(self, image: Image, time: float) -> float:
        """A failing lamp at night; passing clouds by day."""
        street, view = self.street, self.street.view
        on = sin(2 * 3.1 * time) + sin(17.3 * time + 1) + sin(41.7 * time) > 0.4
        if street.light == "day":
            return 1 + 0.12 * sin(2.1 * time) + 0.05 * sin(7.7 * time)
        if on and street.lamps:
            lamp = min(street.lamps, key=lambda lamp: abs(lamp.z - street.aim[1]))
            spot = view.project(np.array([[lamp.x + lamp.arm, y, lamp.z] for y in (0.0, 5.5)]))
            for column, row, depth in spot.tolist():
                if depth > 1:
                    glow(image, column, row, 3.2 * view.focal / depth, (60, 90, 110))
        return 1.0


class _Standing:
    """A person, waiting to be drawn in order of depth."""

    def __init__(self, joints: Array, size: float, wearing: Appearance,
                 light: tuple[float, float, float], style: int) -> None:  # fmt: skip
        self._given = joints, size, wearing, light, style

    def __call__(self, image: Image) -> None:
        draw_person(image, *self._given)


class _Pasted:
    """A still prop, pasted over what stands behind it."""

    def __init__(self, box: tuple[slice, slice], picture: Image, mask: Image) -> None:
        self._given = box, picture, mask

    def __call__(self, image: Image) -> None:
        box, picture, mask = self._given
        cv2.copyTo(picture, mask, image[box])
