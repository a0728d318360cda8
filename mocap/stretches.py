"""Parts of a take, for questions that need not look at all of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.rows import take
from mocap.types import Keypoints2D


def spread_windows(keypoints: Keypoints2D, count: int, length: int) -> Keypoints2D:
    """`count` runs of `length` consecutive rows, evenly spread from the first to the last; all if there are not more.

    Runs, not single frames: matching people needs their neighbours in time.
    """
    n_frames = len(keypoints.frames)
    return keypoints if n_frames <= count * length else take(keypoints, window_rows(n_frames, count, length))


def window_rows(n_frames: int, count: int, length: int) -> NDArray[np.int64]:
    """The rows [R] of `spread_windows`."""
    if n_frames <= count * length:
        return np.arange(n_frames)
    starts = np.linspace(0, n_frames - length, count).astype(np.int64)
    return np.unique((starts[:, None] + np.arange(length)).ravel())
