"""Pictures of a scene through the real lens of each camera.

Open3D draws a pinhole view that covers what the lens sees; the picture is then resampled through
the lens model of `calibration.projection`, so that its pixels match `project` exactly. The centre
of the top-left pixel is (0, 0) in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

from calibration.camera import Camera, CameraRig
from calibration.projection import Lenses, undistort
from mocap.errors import DataError
from mocap.synthetic.body import Body
from mocap.synthetic.figure import Look, build_figure, rest_positions
from mocap.synthetic.mesh import skin
from mocap.synthetic.scene import Scene, build_room
from mocap.viewer._canvas import Canvas
from mocap.viewer.lighting import shade, shadow

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

# The pinhole picture is finer than the wanted one, which smooths its hard edges on resampling.
_OVERSAMPLING = 1.25
_MARGIN_PX = 4
_SPLINE_STEP_PX = 8
# Open3D narrows wider views without a word.
# Straight down: networks take a long hard shadow on the floor for a person.
_SHADOW = (0.40, 0.39, 0.36)
_WIDEST_RAD = np.radians(88.0)


@dataclass(frozen=True, eq=False)
class PinholeView:
    """A distortion-free view that covers a camera's image, and the way from one to the other.

    Attributes
    ----------
    size : (int, int)
        Width and height of the pinhole picture, px.
    focal : float
        px; the principal point is the middle of the picture.
    map_x, map_y : float32 [height, width]
        For each pixel of the camera, the place in the pinhole picture (for ``cv2.remap``).
    """

    size: tuple[int, int]
    focal: float
    map_x: NDArray[np.float32]
    map_y: NDArray[np.float32]


def pinhole_view(camera: Camera, oversampling: float = _OVERSAMPLING) -> PinholeView:
    """The pinhole view of a camera.

    Raises
    ------
    DataError
        The lens sees more than a pinhole picture can hold (88 degrees high), or cannot be inverted.
    """
    ideal = _ideal_coordinates(camera)
    reach = np.abs(ideal).max((0, 1))
    if not np.isfinite(reach).all() or 2 * np.arctan(reach[1]) > _WIDEST_RAD:
        raise DataError(
            f"the lens of camera {camera.name!r} sees more than can be rendered",
            expected=f"a view of at most {np.degrees(_WIDEST_RAD):.0f} degrees whose distortion can be inverted",
            found="distortion that folds over"
            if np.isnan(reach[1])
            else f"{np.degrees(2 * np.arctan(reach[1])):.0f} degrees",
            hint="use a longer focal length or less distortion",
        )
    focal = oversampling * float(camera.K[1, 1])
    size = tuple(2 * int(np.ceil(focal * r + _MARGIN_PX)) for r in reach)
    maps = (focal * ideal + (np.array(size) - 1) / 2).astype(np.float32)
    return PinholeView((size[0], size[1]), focal, maps[..., 0].copy(), maps[..., 1].copy())


def _ideal_coordinates(camera: Camera) -> Array:
    """Ideal x/z, y/z of every pixel [height, width, 2]; NaN throughout where some have none.

    A lens is so smooth that cubic splines through every eighth pixel or so stand for it to 1e-6 px.
    """
    width, height = camera.size
    columns, rows = (np.linspace(0, n - 1, max(n // _SPLINE_STEP_PX, 8)) for n in (width, height))
    u, v = np.meshgrid(columns, rows)
    knots = undistort(Lenses.of(CameraRig((camera,))), np.stack([u, v], -1)[None])[0]
    if not np.isfinite(knots).all():
        return np.full((height, width, 2), np.nan)
    each = [RectBivariateSpline(rows, columns, knots[..., i])(np.arange(height), np.arange(width)) for i in (0, 1)]
    return np.stack(each, -1)


class CameraRenderer(Canvas):
    """One camera's view of a set of meshes, through its lens. Use as a context manager."""

    def __init__(self, camera: Camera, *, background: tuple[float, float, float] = (0.6, 0.65, 0.7)) -> None:
        self._view = pinhole_view(camera)
        super().__init__(self._view.size, self._view.focal, background)
        self.look(camera.R, camera.t)

    def picture(self) -> Image:
        """What the camera sees now: uint8 [height, width, 3], blue green red."""
        pinhole = super().picture()
        return np.asarray(cv2.remap(pinhole, self._view.map_x, self._view.map_y, cv2.INTER_LINEAR), dtype=np.uint8)


def render_camera(scene: Scene, camera: Camera, frames: Iterable[int] | None = None) -> Iterator[Image]:
    """The frames of one camera, one after the other.

    Parameters
    ----------
    scene : Scene
    camera : Camera
        Need not be one of the scene's rig.
    frames : iterable of int, optional
        Rows of the motion; all unless given.

    Yields
    ------
    uint8 [height, width, 3], blue green red
    """
    motion = scene.motion
    positions, orientations = motion.world
    with CameraRenderer(camera) as renderer:
        room = build_room(scene.seed)
        renderer.add_mesh(room.vertices, room.triangles, room.colours)
        people = [_Actor(body, look, renderer) for body, look in zip(motion.bodies, scene.looks, strict=True)]
        for t in range(motion.n_frames) if frames is None else frames:
            for p, person in enumerate(people):
                person.pose(orientations[t, p], positions[t, p])
            yield renderer.picture()


class _Actor:
    """A figure and its shadow in a renderer."""

    def __init__(self, body: Body, look: Look, renderer: CameraRenderer) -> None:
        self._mesh, self._rest, self._renderer = build_figure(body, look), rest_positions(body), renderer
        self._normals = self._mesh.normals()
        dark = np.full_like(self._mesh.colours, _SHADOW)
        self._figure = renderer.add_mesh(self._mesh.vertices, self._mesh.triangles, self._mesh.colours)
        self._shadow = renderer.add_mesh(shadow(self._mesh.vertices, from_above=True), self._mesh.triangles, dark)

    def pose(self, orientations: Array, positions: Array) -> None:
        vertices, normals = skin(self._mesh, self._normals, self._rest, orientations, positions)
        self._renderer.change_mesh(self._figure, vertices, shade(self._mesh.colours, normals))
        self._renderer.change_mesh(self._shadow, shadow(vertices, from_above=True))
