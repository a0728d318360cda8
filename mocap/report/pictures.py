"""Thumbnails of the worst frames, with the result and the detections drawn on the video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses, project
from mocap.errors import VideoError
from mocap.report.measures import Measures
from mocap.types import Source
from mocap.video import read_frames
from mocap.viewer.labels import ink_of
from mocap.viewer.overlay import draw_person
from mocap.viewer.scene import known_skeleton

Image = NDArray[np.uint8]

_HEIGHT = 420  # px
_QUALITY = 80
_APART_S = 0.5


@dataclass(frozen=True)
class Thumbnail:
    """A small picture: JPEG data, what it shows for those who cannot see it, and a caption."""

    jpeg: bytes
    alt: str
    caption: str


def worst_views(measures: Measures, count: int = 6) -> list[tuple[int, int]]:
    """Camera index and row of the views with the largest error, at least half a second apart in one camera."""
    matches = measures.take.matches
    apart = max(1, round(_APART_S * matches.fps))
    error = np.nan_to_num(measures.view_error, nan=-1.0)
    chosen: list[tuple[int, int]] = []
    for _ in range(count):
        v, t = np.unravel_index(int(error.argmax()), error.shape)
        if error[v, t] <= 0:
            break
        chosen.append((int(v), int(t)))
        error[v, max(0, t - apart + 1) : t + apart] = -1.0
    return chosen


def thumbnails(
    measures: Measures, videos: Mapping[str, Path], rows: Mapping[str, NDArray[np.int64]], count: int = 6
) -> list[Thumbnail]:
    """The worst frames; those whose video cannot be read are left out.

    Parameters
    ----------
    measures : Measures
    videos : mapping
        Video by camera.
    rows : mapping
        Per camera int [T]: the video's own frame for each row of the take.
    count : int
    """
    take = measures.take
    out = []
    for v, t in worst_views(measures, count):
        camera = take.matches.cameras[v]
        if camera not in videos:
            continue
        try:
            number = int(rows[camera][t])
            image = next(iter(read_frames(videos[camera], number, number + 1, 1)))[0]
        except (VideoError, StopIteration):
            continue
        error = measures.view_error[v, t]
        caption = f"camera {camera}, frame {int(take.matches.frames[t])}: {error:.1f} px"
        alt = f"Video frame of camera {camera} with the result drawn on the people and the detections as crosses"
        out.append(Thumbnail(_encode(_draw(image, measures, v, t)), alt, caption))
    return out


def _draw(image: Image, measures: Measures, v: int, t: int) -> Image:
    take = measures.take
    lenses = Lenses.of(CameraRig((take.rig.cameras[v],)))
    seen, projected = take.matches.keypoints[v, t], project(lenses, take.filtered.positions[t].astype(np.float64))[0]
    left, top, right, bottom = _crop(image, np.concatenate([seen.reshape(-1, 2), projected.reshape(-1, 2)]))
    scale = _HEIGHT / (bottom - top)
    part = cv2.resize(image[top:bottom, left:right], None, fx=scale, fy=scale)
    small: Image = np.ascontiguousarray(part, np.uint8)
    # Pixel centres: (0, 0) is the middle of the first pixel.
    corner = np.array([left, top]) - 0.5
    result = (projected - corner) * scale - 0.5
    strength = np.where(take.filtered.source[t] == Source.TRIANGULATED, 1.0, 0.3)
    skeleton = known_skeleton(take.matches.joint_names)
    bones = np.zeros((0, 2), np.int64) if skeleton is None else skeleton.bone_index
    for p, person in enumerate(take.filtered.person_ids):
        draw_person(small, result[p], strength[p], bones, ink_of(int(person)))
        for x, y in (seen[p] - corner) * scale - 0.5:
            if np.isfinite(x) and np.isfinite(y):
                at = (round(float(x)), round(float(y)))
                cv2.drawMarker(small, at, (255, 255, 255), cv2.MARKER_TILTED_CROSS, 8, 3)
                cv2.drawMarker(small, at, (0, 0, 0), cv2.MARKER_TILTED_CROSS, 8, 1)
    return small


def _crop(image: Image, points: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a part of 4:3 or the whole width that shows all points, px."""
    height, width = image.shape[:2]
    inside = points[((points >= 0) & (points < (width, height))).all(-1)]
    if not len(inside):
        return 0, 0, width, height
    low, high = inside.min(0), inside.max(0)
    tall = int(min(height, max(1.3 * (high[1] - low[1]), 1.3 * (high[0] - low[0]) * 3 / 4, height / 6)))
    wide = min(width, tall * 4 // 3)
    x, y = (low + high) / 2
    left, top = int(np.clip(x - wide / 2, 0, width - wide)), int(np.clip(y - tall / 2, 0, height - tall))
    return left, top, left + wide, top + tall


def _encode(image: Image) -> bytes:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise VideoError("a picture could not be encoded")
    return data.tobytes()
