"""An Open3D drawing surface without a display: meshes in, pictures out."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from mocap.errors import DependencyError
from mocap.viewer._open3d import load_open3d

Array = NDArray[np.float64]

_NEAR_M, _FAR_M = 0.05, 200.0


class Canvas:
    """A hidden window of Open3D's classic renderer. Use as a context manager.

    Colours are drawn as given, without the driver's own light. Open3D keeps one drawing context per
    thread: open one canvas at a time.

    Parameters
    ----------
    size : (int, int)
        Width and height, px.
    focal : float
        px; the principal point is the middle of the picture.
    background : RGB 0..1

    Raises
    ------
    DependencyError
        Open3D or an OpenGL driver is missing.
    """

    def __init__(self, size: tuple[int, int], focal: float, background: tuple[float, float, float]) -> None:
        self._o3d = load_open3d()
        self.size, self.focal = size, focal
        self._pose = np.eye(4)
        self._visualizer = self._o3d.visualization.Visualizer()
        if not self._visualizer.create_window(width=size[0], height=size[1], visible=False):
            raise DependencyError(
                "Open3D could not open a drawing context",
                expected="an OpenGL or EGL driver",
                hint="install Debian's libegl1 and libgl1-mesa-dri",
            )
        options = self._visualizer.get_render_option()
        options.background_color = np.array(background)
        options.light_on = False
        options.mesh_show_back_face = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._visualizer.destroy_window()

    def add_mesh(self, vertices: Array, triangles: NDArray[np.int32], colours: Array) -> Any:
        """Show a mesh with vertex colours [N, 3]; the handle changes it with `change_mesh`."""
        shown = self._o3d.geometry.TriangleMesh()
        shown.triangles = self._o3d.utility.Vector3iVector(triangles)
        self._fill(shown, vertices, colours)
        self._show(shown)
        return shown

    def change_mesh(self, shown: Any, vertices: Array, colours: Array | None = None) -> None:
        """New vertices and, if given, colours [N, 3] for a mesh that is shown."""
        self._fill(shown, vertices, colours)
        self._visualizer.update_geometry(shown)

    def look(self, R: Array, t: Array) -> None:
        """Move the view: world to camera rotation [3, 3] and translation [3] (metres)."""
        self._pose[:3, :3], self._pose[:3, 3] = R, t
        width, height = self.size
        parameters = self._o3d.camera.PinholeCameraParameters()
        parameters.intrinsic = self._o3d.camera.PinholeCameraIntrinsic(
            width, height, self.focal, self.focal, (width - 1) / 2, (height - 1) / 2
        )
        parameters.extrinsic = self._pose
        control = self._visualizer.get_view_control()
        control.convert_from_pinhole_camera_parameters(parameters, True)
        control.set_constant_z_near(_NEAR_M)
        control.set_constant_z_far(_FAR_M)

    def picture(self) -> NDArray[np.uint8]:
        """What is in view: uint8 [height, width, 3], blue green red."""
        self._visualizer.poll_events()
        self._visualizer.update_renderer()
        drawn = np.asarray(self._visualizer.capture_screen_float_buffer(do_render=False))
        return np.asarray(cv2.cvtColor(cv2.convertScaleAbs(drawn, alpha=255.0), cv2.COLOR_RGB2BGR), dtype=np.uint8)

    def _show(self, shown: Any) -> None:
        self._visualizer.add_geometry(shown)
        # Adding something moves the view to show it all.
        self.look(self._pose[:3, :3], self._pose[:3, 3])

    def _fill(self, shown: Any, vertices: Array, colours: Array | None) -> None:
        shown.vertices = self._o3d.utility.Vector3dVector(vertices)
        if colours is not None:
            shown.vertex_colors = self._o3d.utility.Vector3dVector(colours)
