"""Pictures and videos of a result, without a display."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera, CameraRig
from mocap.errors import DataError
from mocap.storage.atomic import write_bytes
from mocap.types import Source, Trajectories3D
from mocap.video import write_video
from mocap.viewer._canvas import Canvas
from mocap.viewer.labels import label
from mocap.viewer.lighting import shadow
from mocap.viewer.scene import SkeletonModel, axes_lines, camera_frustums, floor_tiles, known_skeleton, trails
from mocap.viewer.settings import ViewSettings
from mocap.viewer.view import Orbit, facing

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_BACKGROUND = (0.93, 0.94, 0.96)
_SHADOW = 0.60
# Drawn larger and shrunk: Open3D's hidden windows do not smooth edges.
_OVERSAMPLING = 2


def render(
    trajectories: Trajectories3D,
    output: Path,
    rig: CameraRig | None = None,
    settings: ViewSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render a result to a video (.mp4) or a picture (.png) of its best-populated middle frame.

    Parameters
    ----------
    trajectories : Trajectories3D
        Of any skeleton; joints that belong to none are drawn as points.
    output : Path
        Ends in .mp4 or .png.
    rig : CameraRig, optional
        Drawn where its cameras stand.
    settings : ViewSettings, optional
    progress : callable, optional
        Called with frames done and their number.

    Raises
    ------
    DataError
        Another ending, or nothing to show.
    DependencyError
        Open3D cannot be loaded or cannot draw.
    StorageError, VideoError
        The file cannot be written.
    """
    output, settings = Path(output), settings or ViewSettings()
    kind = output.suffix.lower()
    if kind not in (".mp4", ".png"):
        raise DataError(
            "unknown kind of picture", expected="a name that ends in .mp4 or .png", found=output.name, where="view"
        )
    if kind == ".png":
        picture = next(render_frames(trajectories, rig, settings, [middle_frame(trajectories)]))
        write_bytes(output, cv2.imencode(".png", picture)[1].tobytes())
        return
    frames = _counted(render_frames(trajectories, rig, settings), len(trajectories.frames), progress)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_video(output, frames, trajectories.fps, (settings.width, settings.height))


def _counted(pictures: Iterator[Image], total: int, progress: Callable[[int, int], None] | None) -> Iterator[Image]:
    for done, picture in enumerate(pictures, 1):
        yield picture
        if progress is not None:
            progress(done, total)


def middle_frame(trajectories: Trajectories3D) -> int:
    """Row that shows as much as any, nearest to the middle.

    Raises
    ------
    DataError
        No frame at all.
    """
    present = (trajectories.source != Source.MISSING).sum((1, 2))
    if not len(present):
        raise DataError("nothing to show: the result has no frame", where="view")
    best = np.flatnonzero(present >= 0.95 * present.max())
    return int(best[np.abs(best - len(present) / 2).argmin()])


def make_orbit(trajectories: Trajectories3D, settings: ViewSettings) -> Orbit:
    """The view that keeps all people in the picture, from where the first of them is seen from the front."""
    positions = trajectories.positions.astype(np.float64)
    names = trajectories.joint_names
    skeleton = known_skeleton(names)
    front = -np.pi / 2
    if skeleton is not None:
        left, right = (positions[:, 0, skeleton.index(f"{s}_hip")] if positions.shape[1] else None for s in "lr")
        front = front if left is None or right is None else facing(left, right)
    # A little from the side, where depth shows.
    return Orbit(positions, front + np.radians(25.0), settings)


def render_frames(
    trajectories: Trajectories3D,
    rig: CameraRig | None = None,
    settings: ViewSettings | None = None,
    rows: list[int] | None = None,
) -> Iterator[Image]:
    """Pictures uint8 [height, width, 3] (blue green red) of the rows given, else of all."""
    settings = settings or ViewSettings()
    orbit = make_orbit(trajectories, settings)
    first = orbit.camera()
    size = (_OVERSAMPLING * settings.width, _OVERSAMPLING * settings.height)
    large = first.resized(size)
    with Canvas(size, float(large.K[1, 1]), _BACKGROUND) as canvas:
        stage = _Stage(canvas, trajectories, rig if settings.show_cameras else None, orbit, settings)
        total = max(len(trajectories.frames) - 1, 1)
        for t in range(len(trajectories.frames)) if rows is None else rows:
            camera = orbit.camera(0.5 if rows is not None else t / total)
            stage.pose(t)
            picture = _shot(canvas, camera, settings)
            if settings.show_text:
                label(picture, trajectories, t, camera)
            yield picture


def _shot(canvas: Canvas, camera: Camera, settings: ViewSettings) -> Image:
    canvas.look(camera.R, camera.t)
    small = cv2.resize(canvas.picture(), (settings.width, settings.height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small, dtype=np.uint8)


class _Stage:
    """What stands on a canvas: floor, cameras, people with their shadows, trails."""

    def __init__(self, canvas: Canvas, trajectories: Trajectories3D, rig: CameraRig | None, orbit: Orbit,
                 settings: ViewSettings) -> None:  # fmt: skip
        self._canvas, self._trajectories, self._settings = canvas, trajectories, settings
        floor = floor_tiles(orbit.target, 2.2 * orbit.radius + 1.0)
        canvas.add_mesh(floor.vertices, floor.triangles, floor.colours)
        still = [axes_lines()] + ([] if rig is None else [camera_frustums(rig)])
        for lines in still:
            canvas.add_lines(lines.points, lines.segments, lines.colours)
        self._model = SkeletonModel(trajectories, settings)
        start = self._model.frame(0)
        self._people = canvas.add_mesh(start.vertices, start.triangles, start.colours)
        dark = np.full_like(start.colours, _SHADOW)
        self._shadow = canvas.add_mesh(shadow(start.vertices), start.triangles, dark)
        self._trails: Any = None

    def pose(self, t: int) -> None:
        surface = self._model.frame(t)
        self._canvas.change_mesh(self._people, surface.vertices, surface.colours)
        self._canvas.change_mesh(self._shadow, shadow(surface.vertices))
        if self._settings.trail_s > 0:
            lines = trails(self._trajectories, t, self._settings.trail_s)
            if self._trails is None:
                self._trails = self._canvas.add_lines(lines.points, lines.segments, lines.colours)
            else:
                self._canvas.change_lines(self._trails, lines.points, lines.segments, lines.colours)
