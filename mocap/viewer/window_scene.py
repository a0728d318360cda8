"""The scene as geometry of an Open3D window, and what becomes of it in each frame and at each key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera
from mocap.types import Source, Trajectories3D
from mocap.viewer.clip import Clip, Moment
from mocap.viewer.exhibit import Exhibit
from mocap.viewer.footage import Footage
from mocap.viewer.lighting import shadow
from mocap.viewer.panel import before_view, on_frustum, status, text_picture, to_rgb
from mocap.viewer.player import Player
from mocap.viewer.scene import SkeletonModel, axes_lines, camera_frustums, floor_tiles, trails
from mocap.viewer.settings import Colouring, ViewSettings
from mocap.viewer.view import make_orbit

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_FRUSTUM_M, _TRAIL_S, _SHADOW = 0.35, 1.0, 0.6
_BACKGROUND = (0.93, 0.94, 0.96)
_QUAD = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
_UV = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)


class WindowScene:
    """Floor, cameras, people with shadows, trails, keys and time line in an Open3D window."""

    def __init__(self, o3d: Any, visualizer: Any, exhibit: Exhibit, settings: ViewSettings, keys: str) -> None:
        self._o3d, self._visualizer, self._exhibit, self._settings = o3d, visualizer, exhibit, settings
        self._person: int | None = None
        self._show = {"joints": True, "keys": True, "trails": settings.trail_s > 0, "compared": True, "footage": False}
        self._keys, self._text = keys.splitlines(), ""
        self._footage = Footage(exhibit.videos, exhibit.video_frames)
        options = visualizer.get_render_option()
        options.background_color = np.array(_BACKGROUND)
        options.light_on = False
        options.mesh_show_back_face = True
        orbit = make_orbit(exhibit.clip, settings)
        floor = floor_tiles(orbit.target, 2.2 * orbit.radius + 1.0)
        self._mesh(floor.vertices, floor.triangles, floor.colours)
        self._lines(axes_lines())
        self._frustums = None if exhibit.rig is None else self._lines(camera_frustums(exhibit.rig, _FRUSTUM_M))
        self._cameras_on = self._frustums is not None
        self._screens: dict[str, Any] = {}
        self._trails: Any = None
        self._models: dict[int, tuple[Trajectories3D, SkeletonModel]] = {}
        self._people, self._fallen = self._figures(exhibit.clip, 0)
        self._other: Any = None if exhibit.other is None else self._figures(exhibit.other, 1)[0]
        self._panels: list[Any] = []

    def pose(self, row: int) -> None:
        """Everything as it is at a row of the result."""
        clip, other = self._exhibit.clip, self._exhibit.other
        moment = clip.at(row)
        surface = self._model(0, moment).frame(moment.row)
        self._change(self._people, surface.vertices, surface.colours)
        self._change(self._fallen, shadow(surface.vertices), None)
        if other is not None:
            k = other.row_of(int(clip.frames[row])) if self._show["compared"] else None
            if k is None:
                self._change(self._other, 0.0 * np.asarray(self._other.vertices), None)
            else:
                second = other.at(k)
                grey = self._model(1, second).frame(second.row)
                self._change(self._other, grey.vertices, np.full_like(grey.colours, 0.28))
        self._pose_trails(moment)

    def show_footage(self, row: int) -> None:
        """The cameras' pictures on their frustums, where they are asked for."""
        rig = self._exhibit.rig
        if rig is None or not (self._show["footage"] and self._cameras_on):
            return
        for camera in rig.cameras:
            picture = self._footage.picture(camera.name, row)
            if picture is not None:
                before = self._screens.get(camera.name)
                self._screens[camera.name] = self._picture(before, on_frustum(camera, _FRUSTUM_M), picture)

    def annotate(self, view: Camera, player: Player) -> None:
        """Keys and time line before the view, which may have moved."""
        lines = [status(self._exhibit.clip, player)] + (self._keys if self._show["keys"] else ["h: keys"])
        text = "\n".join([*lines, str(view.R), str(view.t)])
        if text == self._text:
            return
        self._text = text
        picture = text_picture(lines)
        self._panels = [self._picture(self._panels[0] if self._panels else None,
                                      before_view(picture, view, (8, 8)), picture)]  # fmt: skip

    def next_person(self) -> None:
        """Show the next person alone; after the last, all."""
        n = len(self._exhibit.clip.person_ids)
        after = 0 if self._person is None else self._person + 1
        self._person = after if after < n else None
        self._models.clear()

    def next_colouring(self) -> None:
        """Let colours say something else."""
        after = Colouring.PERSON if self._settings.colour is Colouring.CERTAINTY else Colouring.CERTAINTY
        self._settings = replace(self._settings, colour=after)
        self._models.clear()

    def toggle_joints(self) -> None:
        """Joints, or only bones."""
        self._show["joints"] = not self._show["joints"]
        self._models.clear()

    def toggle_trails(self) -> None:
        """Where wrists and ankles were."""
        self._show["trails"] = not self._show["trails"]

    def toggle_compared(self) -> None:
        """The second result."""
        self._show["compared"] = not self._show["compared"]

    def toggle_keys(self) -> None:
        """The list of keys."""
        self._show["keys"] = not self._show["keys"]

    def toggle_cameras(self) -> None:
        """The cameras, and the footage on them."""
        if self._frustums is not None:
            self._cameras_on = not self._cameras_on
            change = self._visualizer.add_geometry if self._cameras_on else self._visualizer.remove_geometry
            change(self._frustums, reset_bounding_box=False)
            self._drop_screens()

    def toggle_footage(self) -> None:
        """The footage on the cameras."""
        self._show["footage"] = not self._show["footage"]
        self._drop_screens()

    def _drop_screens(self) -> None:
        for screen in self._screens.values():
            self._visualizer.remove_geometry(screen, reset_bounding_box=False)
        self._screens.clear()

    def _model(self, which: int, moment: Moment) -> SkeletonModel:
        """The surface of the people of a part, made once for it."""
        held = self._models.get(which)
        if held is None or held[0] is not moment.part:
            settings = self._settings
            if which == 1:
                slender = 0.5 * settings.joint_radius_m, 0.5 * settings.bone_radius_m
                settings = replace(settings, joint_radius_m=slender[0], bone_radius_m=slender[1])
            if not self._show["joints"]:
                settings = replace(settings, joint_radius_m=1e-6)
            part = moment.part
            shown = part if which == 1 or self._person is None else _only(part, self._person)
            held = self._models[which] = part, SkeletonModel(shown, settings)
        return held[1]

    def _figures(self, clip: Clip, which: int) -> tuple[Any, Any]:
        moment = clip.at(0)
        start = self._model(which, moment).frame(moment.row)
        people = self._mesh(start.vertices, start.triangles, start.colours)
        fallen = shadow(start.vertices) if which == 0 else np.zeros_like(start.vertices)
        return people, self._mesh(fallen, start.triangles, np.full_like(start.colours, _SHADOW))

    def _pose_trails(self, moment: Moment) -> None:
        if self._trails is not None:
            self._visualizer.remove_geometry(self._trails, reset_bounding_box=False)
            self._trails = None
        if self._show["trails"]:
            lines = trails(moment.part, moment.row, self._settings.trail_s or _TRAIL_S)
            if len(lines.segments):
                self._trails = self._lines(lines)

    def _mesh(self, vertices: Array, triangles: NDArray[np.int32], colours: Array) -> Any:
        mesh = self._o3d.geometry.TriangleMesh()
        mesh.vertices = self._o3d.utility.Vector3dVector(vertices)
        mesh.triangles = self._o3d.utility.Vector3iVector(triangles)
        mesh.vertex_colors = self._o3d.utility.Vector3dVector(colours)
        self._visualizer.add_geometry(mesh)
        return mesh

    def _change(self, mesh: Any, vertices: Array, colours: Array | None) -> None:
        mesh.vertices = self._o3d.utility.Vector3dVector(vertices)
        if colours is not None:
            mesh.vertex_colors = self._o3d.utility.Vector3dVector(colours)
        self._visualizer.update_geometry(mesh)

    def _lines(self, lines: Any) -> Any:
        shown = self._o3d.geometry.LineSet()
        shown.points = self._o3d.utility.Vector3dVector(lines.points)
        shown.lines = self._o3d.utility.Vector2iVector(lines.segments)
        shown.colors = self._o3d.utility.Vector3dVector(lines.colours)
        self._visualizer.add_geometry(shown, reset_bounding_box=False)
        return shown

    def _picture(self, before: Any, corners: Array, picture: Image) -> Any:
        """A picture hung up at four corners, in the place of the one before."""
        if before is not None:
            self._visualizer.remove_geometry(before, reset_bounding_box=False)
        mesh = self._o3d.geometry.TriangleMesh()
        mesh.vertices = self._o3d.utility.Vector3dVector(corners)
        mesh.triangles = self._o3d.utility.Vector3iVector(_QUAD)
        mesh.triangle_uvs = self._o3d.utility.Vector2dVector(_UV[_QUAD.ravel()])
        mesh.triangle_material_ids = self._o3d.utility.IntVector([0, 0])
        mesh.textures = [self._o3d.geometry.Image(to_rgb(picture))]
        self._visualizer.add_geometry(mesh, reset_bounding_box=False)
        return mesh


def _only(part: Trajectories3D, person: int) -> Trajectories3D:
    """The part with everybody else missing."""
    others = np.arange(part.source.shape[1]) != person
    positions, source = part.positions.copy(), part.source.copy()
    positions[:, others], source[:, others] = np.nan, Source.MISSING
    return replace(part, positions=positions, source=source)
