"""What a viewer shows: a result with what belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from mocap.viewer.clip import Clip


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
    """

    clip: Clip
    rig: CameraRig | None = None
    other: Clip | None = None
    videos: Mapping[str, Path] = field(default_factory=dict)
    video_frames: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    title: str = "mocap"
