"""Pictures and videos of a result, without a display or a graphics driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera, CameraRig
from mocap.errors import DataError
from mocap.storage.atomic import write_bytes
from mocap.types import Source, Trajectories3D
from mocap.viewer._raster import draw_capsules
from mocap.viewer.backdrop import Backdrop, draw_shadows
from mocap.viewer.capsules import Capsules, People
from mocap.viewer.encode import write_h264
from mocap.viewer.labels import label
from mocap.viewer.scene import axes_lines, camera_frustums, known_skeleton, trails
from mocap.viewer.settings import ViewSettings
from mocap.viewer.view import Orbit, facing

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

# Half the width of lines and trails.
_LINE_M, _TRAIL_M = 0.003, 0.004


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
    write_h264(output, frames, trajectories.fps, (settings.width, settings.height))


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
    scene = _Scene(trajectories, rig if settings.show_cameras else None, orbit, settings)
    total = max(len(trajectories.frames) - 1, 1)
    for t in range(len(trajectories.frames)) if rows is None else rows:
        camera = orbit.camera(0.5 if rows is not None else t / total)
        picture = scene.picture(t, camera)
        if settings.show_text:
            label(picture, trajectories, t, camera, settings)
        yield picture


class _Scene:
    """Floor, cameras, people with their shadows, trails; the empty floor is drawn once per place of the view."""

    def __init__(self, trajectories: Trajectories3D, rig: CameraRig | None, orbit: Orbit,
                 settings: ViewSettings) -> None:  # fmt: skip
        self._trajectories, self._settings = trajectories, settings
        self._people = People(trajectories.person_ids, trajectories.joint_names, settings)
        self._backdrop = Backdrop(orbit.target, 2.2 * orbit.radius + 1.0)
        lines = [axes_lines()] + ([] if rig is None else [camera_frustums(rig)])
        self._still = Capsules.together([Capsules.of_lines(x, _LINE_M) for x in lines])
        self._floor: tuple[Camera, Image] | None = None

    def picture(self, t: int, camera: Camera) -> Image:
        """What a camera without distortion sees of row `t`."""
        if self._floor is None or (self._floor[0].R != camera.R).any() or (self._floor[0].t != camera.t).any():
            self._floor = camera, self._backdrop.picture(camera)
        image = self._floor[1].copy()
        people = self._people.capsules(self._trajectories, t)
        draw_shadows(image, people, camera)
        shown = [people, self._still]
        if self._settings.trail_s > 0:
            shown.append(Capsules.of_lines(trails(self._trajectories, t, self._settings.trail_s), _TRAIL_M))
        draw_capsules(image, Capsules.together(shown), camera)
        return image
