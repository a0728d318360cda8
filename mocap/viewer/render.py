"""Pictures and videos of a result, without a display or a graphics driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera, CameraRig
from mocap.errors import CalibrationError, DataError
from mocap.storage.atomic import write_bytes
from mocap.types import Trajectories3D
from mocap.viewer._raster import draw_capsules
from mocap.viewer.backdrop import Backdrop, draw_shadows
from mocap.viewer.capsules import Capsules, People
from mocap.viewer.clip import Clip, as_clip
from mocap.viewer.encode import write_h264
from mocap.viewer.labels import label
from mocap.viewer.scene import axes_lines, camera_frustums, trails
from mocap.viewer.settings import ViewSettings
from mocap.viewer.view import Orbit, make_orbit, through

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

# Half the width of lines and trails.
_LINE_M, _TRAIL_M = 0.003, 0.004


def render(
    result: Trajectories3D | Clip,
    output: Path,
    rig: CameraRig | None = None,
    settings: ViewSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
    other: Clip | None = None,
) -> None:
    """Render a result to a video (.mp4, H.264) or a picture (.png) of its best-populated middle frame.

    Parameters
    ----------
    result : Trajectories3D or Clip
        Of any skeleton; joints that belong to none are drawn as points.
    output : Path
        Ends in .mp4 or .png.
    rig : CameraRig, optional
        Drawn where its cameras stand.
    settings : ViewSettings, optional
    progress : callable, optional
        Called with frames done and their number.
    other : Clip, optional
        A second result to compare with, drawn thin and grey in the frames that both have.

    Raises
    ------
    DataError
        Another ending, or nothing to show.
    CalibrationError
        The settings name a camera that the rig does not have.
    StorageError, VideoError
        The file cannot be written.
    """
    output, settings, clip = Path(output), settings or ViewSettings(), as_clip(result)
    kind = output.suffix.lower()
    if kind not in (".mp4", ".png"):
        raise DataError(
            "unknown kind of picture", expected="a name that ends in .mp4 or .png", found=output.name, where="view"
        )
    if kind == ".png":
        picture = next(render_frames(clip, rig, settings, [middle_frame(clip)], other))
        write_bytes(output, cv2.imencode(".png", picture)[1].tobytes())
        return
    frames = _counted(render_frames(clip, rig, settings, None, other), len(clip), progress)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_h264(output, frames, clip.fps, (settings.width, settings.height))


def _counted(pictures: Iterator[Image], total: int, progress: Callable[[int, int], None] | None) -> Iterator[Image]:
    for done, picture in enumerate(pictures, 1):
        yield picture
        if progress is not None:
            progress(done, total)


def middle_frame(result: Trajectories3D | Clip) -> int:
    """Row that shows as much as any, nearest to the middle.

    Raises
    ------
    DataError
        No frame at all.
    """
    present = as_clip(result).joints_present
    if not len(present):
        raise DataError("nothing to show: the result has no frame", where="view")
    best = np.flatnonzero(present >= 0.95 * present.max())
    return int(best[np.abs(best - len(present) / 2).argmin()])


def render_frames(
    result: Trajectories3D | Clip,
    rig: CameraRig | None = None,
    settings: ViewSettings | None = None,
    rows: list[int] | None = None,
    other: Clip | None = None,
) -> Iterator[Image]:
    """Pictures uint8 [height, width, 3] (blue green red) of the rows given, else of all; see `render`."""
    clip, settings = as_clip(result), settings or ViewSettings()
    orbit = make_orbit(clip, settings)
    fixed = _named_view(rig, settings)
    scene = _Scene(clip, other, rig if settings.show_cameras and fixed is None else None, orbit, settings)
    total = max(len(clip) - 1, 1)
    for t in range(len(clip)) if rows is None else rows:
        camera = fixed or orbit.camera(0.5 if rows is not None else t / total)
        picture = scene.picture(t, camera)
        if settings.show_text:
            moment = clip.at(t)
            label(picture, moment.part, moment.row, camera, settings, compared=other is not None)
        yield picture


def _named_view(rig: CameraRig | None, settings: ViewSettings) -> Camera | None:
    if not settings.view:
        return None
    if rig is None:
        raise CalibrationError("a camera's view needs the rig", found=settings.view, where="view.view")
    return through(rig.select([settings.view]).cameras[0], settings)


class _Scene:
    """Floor, cameras, people with their shadows, trails; the empty floor is drawn once per place of the view."""

    def __init__(self, clip: Clip, other: Clip | None, rig: CameraRig | None, orbit: Orbit,
                 settings: ViewSettings) -> None:  # fmt: skip
        self._clip, self._other, self._settings = clip, other, settings
        self._people = People(clip.person_ids, clip.joint_names, settings)
        self._compared = None if other is None else People.compared(other.person_ids, other.joint_names, settings)
        self._backdrop = Backdrop(orbit.target, 2.2 * orbit.radius + 1.0)
        lines = [axes_lines()] + ([] if rig is None else [camera_frustums(rig)])
        self._still = Capsules.together([Capsules.of_lines(x, _LINE_M) for x in lines])
        self._floor: tuple[Camera, Image] | None = None

    def picture(self, t: int, camera: Camera) -> Image:
        """What a camera without distortion sees of row `t`."""
        if self._floor is None or self._floor[0] is not camera:
            self._floor = camera, self._backdrop.picture(camera)
        image = self._floor[1].copy()
        moment = self._clip.at(t)
        people = self._people.capsules(moment.part, moment.row)
        draw_shadows(image, people, camera)
        shown = [people, self._still]
        if self._settings.trail_s > 0:
            shown.append(Capsules.of_lines(trails(moment.part, moment.row, self._settings.trail_s), _TRAIL_M))
        draw_capsules(image, Capsules.together(shown), camera)
        if self._other is not None and self._compared is not None:
            k = self._other.row_of(int(self._clip.frames[t]))
            if k is not None:  # over the rest, or what agrees could not be seen
                second = self._other.at(k)
                draw_capsules(image, self._compared.capsules(second.part, second.row), camera)
        return image
