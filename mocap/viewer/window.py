"""A window to look at a result: play, pause, step, the worst frames; turn with the mouse."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from calibration.camera import Camera
from mocap.errors import DependencyError
from mocap.viewer._open3d import load_open3d
from mocap.viewer.exhibit import Exhibit
from mocap.viewer.footage_window import FootageWindow
from mocap.viewer.player import Player, Rounds
from mocap.viewer.settings import ViewSettings
from mocap.viewer.view import make_orbit
from mocap.viewer.window_scene import WindowScene

KEYS = """\
space       play, pause
. , arrows  one frame on, back
up, down    faster, slower
home, end   first, last frame
w           worst frame, then the next
l           loop or stop at the end
p           next person alone, then all
j c t       joints, cameras, trails
b           the result compared with
v           footage on the cameras
o           next camera's picture
m           colour: person, certainty
r h         first view; these keys
q or esc    close
mouse       left turn, wheel zoom"""
"""The keys, as the window lists them."""

# GLFW's codes of keys that have no character.
_ESCAPE, _RIGHT, _LEFT, _DOWN, _UP, _HOME, _END = 256, 262, 263, 264, 265, 268, 269
_FOOTAGE_S = 0.25


def show(exhibit: Exhibit, settings: ViewSettings | None = None) -> None:
    """Open a window on a result and return when it is closed; the keys are listed in it.

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
    Window(exhibit, settings).run()


def _no_window() -> DependencyError:
    return DependencyError(
        "no window can be opened",
        expected="a display (DISPLAY or WAYLAND_DISPLAY)",
        hint="use the browser: mocap view SESSION --web; or a file: mocap view SESSION --render FILE.mp4",
    )


class Window:
    """An open window on a result; `run` returns when it is closed.

    Parameters
    ----------
    exhibit : Exhibit
    settings : ViewSettings
    """

    def __init__(self, exhibit: Exhibit, settings: ViewSettings) -> None:
        self._start = make_orbit(exhibit.clip, settings).camera()
        self._o3d = load_open3d()
        self.player = Player(len(exhibit.clip), exhibit.clip.fps)
        self._worst: Rounds | None = None
        self._exhibit, self.closed, self._fresh = exhibit, False, True
        self._visualizer = self._o3d.visualization.VisualizerWithKeyCallback()
        if not self._visualizer.create_window(f"mocap {exhibit.title}", settings.width, settings.height):
            raise _no_window()
        self.scene = WindowScene(self._o3d, self._visualizer, exhibit, settings, KEYS)
        self._footage = FootageWindow(self._o3d, exhibit)
        self._look(self._start)
        self._bind()

    def run(self) -> None:
        """Show until it is closed."""
        last = footage = time.monotonic()
        shown = -1
        while not self.closed and self._visualizer.poll_events():
            now = time.monotonic()
            self.player.advance(now - last)
            last = now
            if self.player.row != shown or self._fresh:
                changed, self._fresh = self.player.row != shown, False
                shown = self.player.row
                self.scene.pose(shown)
                if changed and self.player.playing and now - footage < _FOOTAGE_S:
                    self._fresh = not self.player.playing
                else:
                    footage = now
                    self.scene.show_footage(shown)
                    self._footage.show(shown)
            self.scene.annotate(self._view(), self.player)
            self._footage.poll()
            self._visualizer.update_renderer()
            time.sleep(0.004)
        self._footage.close()
        self._visualizer.destroy_window()

    def _view(self) -> Camera:
        """From where the scene is seen now."""
        parameters = self._visualizer.get_view_control().convert_to_pinhole_camera_parameters()
        size = parameters.intrinsic.width, parameters.intrinsic.height
        pose = np.asarray(parameters.extrinsic)
        K = np.asarray(parameters.intrinsic.intrinsic_matrix)
        return Camera("view", size, K, np.zeros(5), pose[:3, :3], pose[:3, 3])

    def _look(self, camera: Camera) -> None:
        width, height = camera.size
        f = float(camera.K[1, 1])
        parameters = self._o3d.camera.PinholeCameraParameters()
        parameters.intrinsic = self._o3d.camera.PinholeCameraIntrinsic(
            width, height, f, f, (width - 1) / 2, (height - 1) / 2
        )
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = camera.R, camera.t
        parameters.extrinsic = pose
        control = self._visualizer.get_view_control()
        control.convert_from_pinhole_camera_parameters(parameters, True)
        control.set_constant_z_near(0.05)
        control.set_constant_z_far(200.0)

    def _close(self) -> None:
        self.closed = True

    def _to_worst(self) -> None:
        if self._worst is None:
            self._worst = Rounds(self._exhibit.clip.worst())
        self._worst.next(self.player)

    def _toggle_loop(self) -> None:
        self.player.loop = not self.player.loop

    def actions(self) -> dict[int, Callable[[], None]]:
        """What each key does, by GLFW's codes."""
        player, scene = self.player, self.scene
        return {
            ord(" "): player.toggle, ord("."): lambda: player.step(1), _RIGHT: lambda: player.step(1),
            ord(","): lambda: player.step(-1), _LEFT: lambda: player.step(-1), _UP: lambda: player.faster(1),
            _DOWN: lambda: player.faster(-1), _HOME: lambda: player.go(0), _END: lambda: player.go(-1),
            ord("W"): self._to_worst, ord("L"): self._toggle_loop, ord("P"): scene.next_person,
            ord("J"): scene.toggle_joints, ord("C"): scene.toggle_cameras, ord("T"): scene.toggle_trails,
            ord("B"): scene.toggle_compared, ord("V"): scene.toggle_footage, ord("O"): self._footage.next_camera,
            ord("M"): scene.next_colouring, ord("R"): lambda: self._look(self._start), ord("H"): scene.toggle_keys,
            ord("Q"): self._close, _ESCAPE: self._close,
        }  # fmt: skip

    def _bind(self) -> None:
        for key, action in self.actions().items():
            self._visualizer.register_key_callback(key, self._callback(action))

    def _callback(self, action: Callable[[], None]) -> Callable[[Any], bool]:
        def call(_: Any) -> bool:
            action()
            self._fresh = True
            return False

        return call
