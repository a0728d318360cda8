"""Skeletons drawn on the videos they were found in, to see where they are right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import Camera, CameraRig
from calibration.projection import Lenses, project
from mocap.errors import DataError
from mocap.types import Keypoints2D, Source, Trajectories3D
from mocap.video import probe, read_frames
from mocap.viewer.clip import Clip, as_clip
from mocap.viewer.encode import write_h264
from mocap.viewer.labels import ink_of, write
from mocap.viewer.scene import bones_of

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def overlay_keypoints(
    video: Path, keypoints: Keypoints2D, camera: str, output: Path, progress: Callable[[int, int], None] | None = None
) -> int:
    """Draw a detector's 2D people on the video of one camera.

    Parameters
    ----------
    video, output : Path
        The output ends in .mp4.
    keypoints : Keypoints2D
        Slots are coloured by number; they carry no identity.
    camera : str
        One of `keypoints.cameras`.
    progress : callable, optional
        Called with frames done and their number.

    Returns
    -------
    int
        Frames written: those the keypoints cover.

    Raises
    ------
    DataError
        A camera that the keypoints do not have.
    VideoError
        A video that cannot be read or written, or is shorter than the keypoints.
    """
    if camera not in keypoints.cameras:
        raise DataError(f"no keypoints of camera {camera!r}", expected=f"one of {', '.join(keypoints.cameras)}")
    v = keypoints.cameras.index(camera)
    pixels = keypoints.keypoints[v].astype(np.float64)
    strength = np.clip(keypoints.confidence[v].astype(np.float64), 0.0, 1.0)
    people = np.arange(pixels.shape[1])
    frames = keypoints.frames, keypoints.frames
    return _draw(video, output, lambda t: (pixels[t], strength[t]), frames, keypoints.joint_names, people, progress)


def overlay_trajectories(
    video: Path, trajectories: Trajectories3D, camera: Camera, output: Path,
    progress: Callable[[int, int], None] | None = None,
) -> int:  # fmt: skip
    """Draw a 3D result, seen through the lens of a camera, on that camera's video.

    Joints that are not triangulated are drawn thin. For the parameters and errors see
    `overlay_keypoints`; returns the number of frames written.
    """
    return overlay_clip(video, as_clip(trajectories), camera, output, trajectories.frames, progress)


def overlay_clip(
    video: Path, clip: Clip, camera: Camera, output: Path, video_frames: NDArray[np.int64],
    progress: Callable[[int, int], None] | None = None,
) -> int:  # fmt: skip
    """As `overlay_trajectories`, of a result of any length; `video_frames` [T] says where in the video its rows are."""
    lenses = Lenses.of(CameraRig((camera,)))

    def at(t: int) -> tuple[Array, Array]:
        moment = clip.at(t)
        pixels = project(lenses, moment.part.positions[moment.row].astype(np.float64))[0]
        return pixels, np.where(moment.part.source[moment.row] == Source.TRIANGULATED, 1.0, 0.3)

    return _draw(video, output, at, (clip.frames, video_frames), clip.joint_names, clip.person_ids, progress)


def _draw(
    video: Path, output: Path, at: Callable[[int], tuple[Array, Array]],
    frames: tuple[NDArray[np.int64], NDArray[np.int64]], joint_names: tuple[str, ...], people: NDArray[np.int64],
    progress: Callable[[int, int], None] | None,
) -> int:  # fmt: skip
    """Draw pixels [P, J, 2] and strength [P, J] of each row; `frames`: numbers to write, and where in the video."""
    info = probe(video)
    bones = bones_of(joint_names)
    inside = (frames[1] >= 0) & (frames[1] < info.n_frames)
    # A camera slower than the session shows several rows on each of its pictures; the last is drawn.
    rows = {int(frames[1][t]): t for t in np.flatnonzero(inside).tolist()}
    if 2 * inside.sum() <= len(inside):
        found = f"frames {int(frames[1].min())} to {int(frames[1].max())}" if len(frames[1]) else "no frames"
        raise DataError(
            "the skeletons do not fit the video", expected=f"frames 0 to {info.n_frames - 1}", found=found,
            where=str(video),
        )  # fmt: skip

    def pictures() -> Iterator[Image]:
        number = min(rows)
        done = 0
        for batch in read_frames(video, number, max(rows) + 1):
            for image in batch:
                t = rows.get(number)
                number += 1
                if t is None:
                    continue
                pixels, strength = at(t)
                for p, person in enumerate(people):
                    draw_person(image, pixels[p], strength[p], bones, ink_of(int(person)))
                write(image, f"frame {int(frames[0][t])}", (12, 32), 0.8)
                yield image
                done += 1
                if progress is not None:
                    progress(done, len(rows))

    Path(output).parent.mkdir(parents=True, exist_ok=True)
    return write_h264(output, pictures(), info.fps, (info.width, info.height))


def draw_person(image: Image, pixels: Array, strength: Array, bones: NDArray[np.int64],
                ink: tuple[int, int, int]) -> None:  # fmt: skip
    """Draw one person's joints [J, 2] px and bones on a picture in place.

    `strength` [J] in 0..1 is the thickness; NaN joints and what is far outside is left out.
    """
    size = max(image.shape[:2])
    there = np.isfinite(pixels).all(-1) & (np.abs(np.nan_to_num(pixels)) < 4 * size).all(-1) & (strength > 0)
    fixed = np.round(np.nan_to_num(pixels) * (1 << _SHIFT)).astype(np.int64)
    unit = max(1.0, size / 600)
    for a, b in bones:
        if there[a] and there[b]:
            width = max(1, round(1.6 * unit * float(min(strength[a], strength[b]))))
            start, end = ((int(fixed[i, 0]), int(fixed[i, 1])) for i in (a, b))
            cv2.line(image, start, end, ink, width, cv2.LINE_AA, _SHIFT)
    for j in np.flatnonzero(there):
        centre = (int(fixed[j, 0]), int(fixed[j, 1]))
        radius = round((1.0 + 1.2 * strength[j]) * unit * (1 << _SHIFT))
        cv2.circle(image, centre, radius, ink, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(image, centre, radius, (255, 255, 255), 1, cv2.LINE_AA, _SHIFT)
