"""Single pictures of the footage, for frustums and overlays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mocap.video import VideoInfo, probe, read_frames

Image = NDArray[np.uint8]


class Footage:
    """The pictures of several cameras at the rows of a result.

    Parameters
    ----------
    videos : mapping of camera name to file
    frames : mapping of camera name to int64 [T]
        The frame of each video that belongs to each row.
    height : int
        Pictures are made this high, px.
    """

    def __init__(self, videos: Mapping[str, Path], frames: Mapping[str, NDArray[np.int64]], height: int = 270) -> None:
        self._videos, self._frames, self._height = videos, frames, height
        self._info: dict[str, VideoInfo] = {}
        self.cameras = tuple(name for name in videos if name in frames)

    def picture(self, camera: str, row: int) -> Image | None:
        """What a camera saw: uint8 [height, width, 3], blue green red; None where it has no picture.

        Raises
        ------
        VideoError
            A video that cannot be read.
        """
        if camera not in self.cameras:
            return None
        if camera not in self._info:
            self._info[camera] = probe(self._videos[camera])
        frame, info = int(self._frames[camera][row]), self._info[camera]
        if not 0 <= frame < info.n_frames:
            return None
        whole = next(iter(read_frames(self._videos[camera], frame, frame + 1)))[0]
        width = round(self._height * info.width / info.height)
        return np.asarray(cv2.resize(whole, (width, self._height), interpolation=cv2.INTER_AREA), np.uint8)
