"""The objects of the scene on a viser server, and what they become in each frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.camera import Camera
from mocap.viewer.capsules import Capsules, People
from mocap.viewer.clip import Moment
from mocap.viewer.exhibit import Exhibit
from mocap.viewer.footage import Footage, Image
from mocap.viewer.scene import axes_lines, trails
from mocap.viewer.settings import Colouring, ViewSettings
from mocap.viewer.shapes import ball, octahedron, tube
from mocap.viewer.view import make_orbit

Array = NDArray[np.float64]

_FRUSTUM_M, _LABEL_M = 0.2, 0.25
_NOWHERE = np.zeros((1, 2, 3), np.float32)


@dataclass
class Switch:
    """Something that is shown or not."""

    on: bool
    turn: Callable[[bool], None]


class WebScene:
    """People, cameras, floor and trails on a server.

    Parameters
    ----------
    server : viser.ViserServer
    exhibit : Exhibit
    settings : ViewSettings
    """

    def __init__(self, server: Any, exhibit: Exhibit, settings: ViewSettings) -> None:
        self._server, self._exhibit, self._settings = server, exhibit, settings
        clip, self.trail_s = exhibit.clip, settings.trail_s
        self._hidden: set[int] = set()
        self._footage_on = False
        self._footage = Footage(exhibit.videos, exhibit.video_frames)
        orbit = make_orbit(clip, settings)
        self._people = _Figures(server, "people", People(clip.person_ids, clip.joint_names, settings))
        self._other = None
        if exhibit.other is not None:
            ids, names = exhibit.other.person_ids, exhibit.other.joint_names
            self._other = _Figures(server, "compared", People.compared(ids, names, settings))
        self._frustums = {} if exhibit.rig is None else {c.name: _frustum(server, c) for c in exhibit.rig.cameras}
        self._labels = [server.scene.add_label(f"/labels/{p}", f"person {p}", anchor="bottom-center")
                        for p in clip.person_ids]  # fmt: skip
        self._trails = server.scene.add_line_segments("/trails", _NOWHERE, (0, 0, 0), thickness=0.008)
        self._furnish(orbit.camera(), orbit.target, orbit.radius)

    @property
    def colouring(self) -> Colouring:
        """What colours say."""
        return self._settings.colour

    def show(self, row: int) -> None:
        """Everything as it is at a row of the result."""
        moment = self._exhibit.clip.at(row)
        with self._server.atomic():
            self._people.pose(moment, self._hidden)
            self._pose_labels(moment)
            if self._other is not None and self._exhibit.other is not None:
                k = self._exhibit.other.row_of(int(self._exhibit.clip.frames[row]))
                self._other.pose(None if k is None else self._exhibit.other.at(k), set())
            if self.trail_s > 0:
                lines = trails(moment.part, moment.row, self.trail_s)
                ends = lines.points[lines.segments].astype(np.float32).reshape(-1, 2, 3)
                colours = np.repeat(_bytes(lines.colours)[:, None], 2, 1)
                self._trails.points = ends if len(ends) else _NOWHERE
                self._trails.colors = colours if len(ends) else np.zeros((1, 2, 3), np.uint8)

    def footage(self, row: int) -> dict[str, Image]:
        """The cameras' pictures, where they are asked for; reading them takes a while."""
        if not self._footage_on:
            return {}
        read = {name: self._footage.picture(name, row) for name in self._frustums}
        return {name: picture for name, picture in read.items() if picture is not None}

    def hang(self, pictures: Mapping[str, Image]) -> None:
        """Put pictures on the cameras' frustums, unless they were switched off while they were read."""
        if self._footage_on:
            for name, picture in pictures.items():
                self._frustums[name].image = picture[..., ::-1]

    def colour_by(self, colouring: Colouring) -> None:
        """Let colours say something else."""
        clip = self._exhibit.clip
        self._settings = replace(self._settings, colour=colouring)
        self._people.people = People(clip.person_ids, clip.joint_names, self._settings)

    def trail(self, seconds: float) -> None:
        """Let trails reach back so far."""
        self.trail_s = seconds
        self._trails.visible = seconds > 0

    def switches(self) -> dict[str, Switch]:
        """What can be shown and hidden, by the name that people read."""
        out = {}
        for p, person in enumerate(self._exhibit.clip.person_ids):
            out[f"person {person}"] = Switch(True, lambda on, p=p: self._hide(p, on))  # type: ignore[misc]
        if len(self._labels):
            out["names"] = Switch(True, lambda on: _each(self._labels, "visible", on))
        out["joints"] = Switch(True, self._people.show_joints)
        if self._frustums:
            out["cameras"] = Switch(True, lambda on: _each(self._frustums.values(), "visible", on))
        if self._footage.cameras:
            out["footage"] = Switch(False, self._show_footage)
        if self._other is not None:
            out["compared"] = Switch(True, self._other.show)
        return out

    def _hide(self, person: int, on: bool) -> None:
        (self._hidden.discard if on else self._hidden.add)(person)

    def _show_footage(self, on: bool) -> None:
        self._footage_on = on
        if not on:
            _each(self._frustums.values(), "image", None)

    def _pose_labels(self, moment: Moment) -> None:
        positions = moment.part.positions[moment.row].astype(np.float64)
        for p, sign in enumerate(self._labels):
            there = positions[p][np.isfinite(positions[p]).all(-1)]
            if len(there) and p not in self._hidden:
                top = there[there[:, 2].argmax()]
                sign.position = (top[0], top[1], top[2] + _LABEL_M)
            else:
                sign.position = (0.0, 0.0, -1000.0)

    def _furnish(self, view: Camera, target: Array, radius: float) -> None:
        scene = self._server.scene
        side = float(np.ceil(4.4 * radius + 2.0))
        place = (float(np.round(target[0])), float(np.round(target[1])), 0.0)
        scene.add_grid(
            "/floor", side, side, cell_size=0.5, section_size=1.0, position=place,
            plane_color=(225, 228, 232), plane_opacity=0.6, cell_color=(190, 194, 200), section_color=(140, 146, 155),
        )  # fmt: skip
        axes = axes_lines()
        scene.add_line_segments(
            "/axes", axes.points[axes.segments].astype(np.float32), np.repeat(_bytes(axes.colours)[:, None], 2, 1),
            thickness=0.008,
        )  # fmt: skip
        # The lamps of the pictures; viser's own wash colours out.
        scene.configure_default_lights(enabled=False)
        scene.configure_environment_map(None)
        scene.add_light_ambient("/lamps/room", intensity=1.5)
        scene.add_light_directional("/lamps/main", intensity=2.2, position=(4.8, -3.6, 8.0), cast_shadow=False)
        scene.add_light_directional("/lamps/weak", intensity=0.9, position=(-6.0, 6.4, 4.8))
        camera = self._server.initial_camera
        camera.position = tuple(-view.R.T @ view.t)
        camera.look_at = tuple(target)
        camera.fov = float(np.radians(self._settings.field_of_view_deg))


class _Figures:
    """The balls, octahedra and tubes of people, as instances of three meshes."""

    def __init__(self, server: Any, name: str, people: People) -> None:
        self.people = people
        self._shapes = {}
        P, J, B = len(people.person_ids), people.n_joints, len(people.bones)
        for kind, (vertices, triangles), n in (
            ("balls", ball(), P * J), ("octahedra", octahedron(), P * J), ("tubes", tube(), P * B * 4),
        ):  # fmt: skip
            if n:
                self._shapes[kind] = server.scene.add_batched_meshes_simple(
                    f"/{name}/{kind}", vertices, triangles, np.tile((1.0, 0.0, 0.0, 0.0), (n, 1)), np.zeros((n, 3)),
                    batched_scales=np.full((n, 3), 1e-6), batched_colors=np.zeros((n, 3), np.uint8), lod="off",
                    flat_shading=kind == "octahedra",
                )  # fmt: skip

    def pose(self, moment: Moment | None, hidden: set[int]) -> None:
        """As they stand; nobody where there is no moment."""
        if moment is None:
            for shape in self._shapes.values():
                shape.batched_scales = np.full_like(shape.batched_scales, 1e-6)
            return
        shown = np.ones(len(self.people.person_ids))
        shown[list(hidden)] = 0.0
        balls = self.people.balls(moment.part, moment.row)
        seen = balls.radius * np.repeat(shown, self.people.n_joints)
        for kind, which in (("balls", ~balls.angular), ("octahedra", balls.angular)):
            self._place(kind, balls, np.repeat((seen * which)[:, None], 3, 1), None)
        tubes = self.people.tubes(moment.part, moment.row)
        axis = tubes.end - tubes.start
        length = np.linalg.norm(axis, axis=-1)
        width = tubes.radius * np.repeat(shown, 4 * len(self.people.bones))
        self._place("tubes", tubes, np.stack([width, width, length * (width > 0)], -1), _turned(axis, length))

    def show(self, on: bool) -> None:
        """Show all or nothing."""
        for shape in self._shapes.values():
            shape.visible = on

    def show_joints(self, on: bool) -> None:
        """Show the joints or only the bones."""
        for kind in ("balls", "octahedra"):
            if kind in self._shapes:
                self._shapes[kind].visible = on

    def _place(self, kind: str, capsules: Capsules, scales: Array, turned: Array | None) -> None:
        if kind not in self._shapes:
            return
        shape = self._shapes[kind]
        shape.batched_positions = capsules.start.astype(np.float32)
        # A scale of nothing has no inverse, which the lighting needs.
        shape.batched_scales = np.maximum(scales, 1e-6).astype(np.float32)
        shape.batched_colors = _bytes(capsules.colours)
        if turned is not None:
            shape.batched_wxyzs = turned.astype(np.float32)


def _turned(axis: Array, length: Array) -> Array:
    """Quaternions [N, 4], scalar first, that turn z along each axis: half-way vectors."""
    unit = axis / np.maximum(length, 1e-12)[:, None]
    half = unit + (0.0, 0.0, 1.0)
    size = np.linalg.norm(half, axis=-1, keepdims=True)
    half = np.where(size > 1e-6, half / np.maximum(size, 1e-12), (1.0, 0.0, 0.0))
    # Half a turn about the half-way vector takes z to the axis.
    return np.concatenate([np.zeros((len(axis), 1)), half], -1)


def _frustum(server: Any, camera: Camera) -> Any:
    world_from_camera = camera.R.T
    wxyz = Rotation.from_matrix(world_from_camera).as_quat(scalar_first=True)
    width, height = camera.size
    return server.scene.add_camera_frustum(
        f"/cameras/{camera.name}", fov=float(2 * np.arctan(height / 2 / camera.K[1, 1])), aspect=width / height,
        scale=_FRUSTUM_M, thickness=0.004, color=(64, 71, 84), wxyz=wxyz, position=tuple(-world_from_camera @ camera.t),
    )  # fmt: skip


def _each(handles: Iterable[Any], name: str, value: object) -> None:
    for handle in handles:
        setattr(handle, name, value)


def _bytes(colours: Array) -> NDArray[np.uint8]:
    """Colours as the page mixes them: in proportion to light, which a screen's numbers are not."""
    return np.clip(255 * colours**2.2, 0, 255).astype(np.uint8)
