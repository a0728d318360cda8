"""What a viewer shows: a result with what belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from mocap.storage.hdf5 import read_frames
from mocap.types import Matches
from mocap.viewer.clip import Clip

_AHEAD = 256


class Detections:
    """The 2D points that the result was made from, read as they are looked at.

    Parameters
    ----------
    path : Path
        An artifact that holds Matches.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: Matches | None = None

    def at(self, camera: str, frame: int) -> NDArray[np.float64]:
        """Points [N, 2] of a camera in a frame, px of its picture; NaN where missing."""
        if self._held is None or frame not in self._held.frames:
            self._held = read_frames(self._path, Matches, frame, frame + _AHEAD)
        rows = np.flatnonzero(self._held.frames == frame)
        if not len(rows) or camera not in self._held.cameras:
            return np.zeros((0, 2))
        return self._held.keypoints[self._held.cameras.index(camera), rows[0]].reshape(-1, 2).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A result, its cameras, a second result to compare with, and the footage.

    Attributes
    ----------
    clip : Clip
    rig : CameraRig or None
        As it stood during the take.
    other : Clip or None
        Shown in the frames that both have.
    videos : mapping of camera name to file
    video_frames : mapping of camera name to int64 [T]
        The frame of each video that is nearest to each row of the clip; below 0 or beyond the end where there is none.
    title : str
    detections : Detections or None
    """

    clip: Clip
    rig: CameraRig | None = None
    other: Clip | None = None
    videos: Mapping[str, Path] = field(default_factory=dict)
    video_frames: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    title: str = "mocap"
    detections: Detections | None = None
