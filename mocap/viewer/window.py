"""A window to look at a result: play, pause, step; turn with the mouse."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from calibration.camera import CameraRig
from mocap.errors import DependencyError
from mocap.types import Trajectories3D
from mocap.viewer._open3d import load_open3d
from mocap.viewer.exhibit import Exhibit
from mocap.viewer.lighting import shadow
from mocap.viewer.player import Player
from mocap.viewer.scene import SkeletonModel, axes_lines, camera_frustums, floor_tiles
from mocap.viewer.settings import ViewSettings
from mocap.viewer.view import make_orbit

KEYS = """\
space        play, pause
. or right   one frame on          , or left   one frame back
up, down     faster, slower
home         first frame           end         last frame
r            the view at the start
q or esc     close
mouse        left turn, wheel zoom, ctrl+left move"""
"""The keys, to print before the window opens."""

# GLFW's codes of keys that have no character.
_ESCAPE, _RIGHT, _LEFT, _DOWN, _UP, _HOME, _END = 256, 262, 263, 264, 265, 268, 269


def show(exhibit: Exhibit, settings: ViewSettings | None = None) -> None:
    """Open a window on a result and return when it is closed; the keys are in `KEYS`.

    Raises
    ------
    DataError
        Nothing to show.
    DependencyError
        Open3D cannot be loaded, or there is no display.
    """
    settings = settings or ViewSettings()
    # Without a display Open3D opens a window that nobody sees and that never closes.
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise _no_window()
    orbit = make_orbit(exhibit.clip, settings)
    window = _Window(exhibit.clip.at(0).part, exhibit.rig if settings.show_cameras else None, settings)
    window.run(orbit.camera())


def _no_window() -> DependencyError:
    return DependencyError(
        "no window can be opened",
        expected="a display (DISPLAY or WAYLAND_DISPLAY)",
        hint="render to a file instead: mocap view SESSION --render FILE.mp4",
    )


class _Window:
    def __init__(self, trajectories: Trajectories3D, rig: CameraRig | None, settings: ViewSettings) -> None:
        self._o3d = load_open3d()
        self._settings, self._rig = settings, rig
        self._model = SkeletonModel(trajectories, settings)
        self._orbit = make_orbit(trajectories, settings)
        self._player = Player(len(trajectories.frames), trajectories.fps)
        self._closed = False
        self._visualizer = self._o3d.visualization.VisualizerWithKeyCallback()
        if not self._visualizer.create_window("mocap", settings.width, settings.height):
            raise _no_window()

    def run(self, camera: Any) -> None:
        people, shade_on_floor = self._furnish()
        self._bind(camera)
        self._look(camera)
        last, shown = time.monotonic(), -1
        while not self._closed and self._visualizer.poll_events():
            now = time.monotonic()
            self._player.advance(now - last)
            last = now
            if self._player.row != shown:
                shown = self._player.row
                self._pose(people, shade_on_floor, shown)
            self._visualizer.update_renderer()
            time.sleep(0.004)
        self._visualizer.destroy_window()

    def _furnish(self) -> tuple[Any, Any]:
        options = self._visualizer.get_render_option()
        options.background_color = np.array((0.93, 0.94, 0.96))
        options.light_on = False
        options.mesh_show_back_face = True
        floor = floor_tiles(self._orbit.target, 2.2 * self._orbit.radius + 1.0)
        self._add_mesh(floor.vertices, floor.triangles, floor.colours)
        for lines in [axes_lines()] + ([] if self._rig is None else [camera_frustums(self._rig)]):
            shown = self._o3d.geometry.LineSet()
            shown.points = self._o3d.utility.Vector3dVector(lines.points)
            shown.lines = self._o3d.utility.Vector2iVector(lines.segments)
            shown.colors = self._o3d.utility.Vector3dVector(lines.colours)
            self._visualizer.add_geometry(shown)
        start = self._model.frame(0)
        people = self._add_mesh(start.vertices, start.triangles, start.colours)
        fallen = self._add_mesh(shadow(start.vertices), start.triangles, np.full_like(start.colours, 0.6))
        return people, fallen

    def _add_mesh(self, vertices: Any, triangles: Any, colours: Any) -> Any:
        mesh = self._o3d.geometry.TriangleMesh()
        mesh.vertices = self._o3d.utility.Vector3dVector(vertices)
        mesh.triangles = self._o3d.utility.Vector3iVector(triangles)
        mesh.vertex_colors = self._o3d.utility.Vector3dVector(colours)
        self._visualizer.add_geometry(mesh)
        return mesh

    def _pose(self, people: Any, fallen: Any, row: int) -> None:
        surface = self._model.frame(row)
        people.vertices = self._o3d.utility.Vector3dVector(surface.vertices)
        people.vertex_colors = self._o3d.utility.Vector3dVector(surface.colours)
        fallen.vertices = self._o3d.utility.Vector3dVector(shadow(surface.vertices))
        self._visualizer.update_geometry(people)
        self._visualizer.update_geometry(fallen)

    def _look(self, camera: Any) -> None:
        width, height = camera.size
        f = float(camera.K[1, 1])
        parameters = self._o3d.camera.PinholeCameraParameters()
        parameters.intrinsic = self._o3d.camera.PinholeCameraIntrinsic(
            width, height, f, f, (width - 1) / 2, (height - 1) / 2
        )
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = camera.R, camera.t
        parameters.extrinsic = pose
        self._visualizer.get_view_control().convert_from_pinhole_camera_parameters(parameters, True)

    def _bind(self, camera: Any) -> None:
        player = self._player

        def close() -> None:
            self._closed = True

        actions: dict[int, Callable[[], None]] = {
            ord(" "): player.toggle,
            ord("."): lambda: player.step(1),
            _RIGHT: lambda: player.step(1),
            ord(","): lambda: player.step(-1),
            _LEFT: lambda: player.step(-1),
            _UP: lambda: player.faster(1),
            _DOWN: lambda: player.faster(-1),
            _HOME: lambda: player.go(0),
            _END: lambda: player.go(-1),
            ord("R"): lambda: self._look(camera),
            ord("Q"): close,
            _ESCAPE: close,
        }
        for key, action in actions.items():
            self._visualizer.register_key_callback(key, _callback(action))


def _callback(action: Callable[[], None]) -> Callable[[Any], bool]:
    def call(_: Any) -> bool:
        action()
        return False

    return call
