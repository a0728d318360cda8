"""Gaps filled as benchmarks do it, so that nothing is gained by leaving out what is hard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.timeline import segments

Array = NDArray[np.float64]
Frames = NDArray[np.int64]

# Frame numbers farther apart than this belong to different clips.
_CLIP_GAP = 10


def fill_gaps(positions: Array, frames: Frames) -> Array:
    """Positions [T, P, J, 3] without NaN: straight lines in time inside a clip, held at its ends.

    A joint that a clip never shows gets the median of the person's points of the clip, and the
    origin where there is nobody. A clip ends where frame numbers jump by more than ten.
    """
    filled = np.array(positions, np.float64)
    filled[~np.isfinite(filled).all(-1)] = np.nan
    for part in segments(frames, _CLIP_GAP):
        filled[part] = _fill_clip(filled[part])
    return filled


def _fill_clip(x: Array) -> Array:
    known = np.asarray(np.isfinite(x).all(-1))
    rows = np.arange(len(x))[:, None, None]
    before = np.maximum.accumulate(np.where(known, rows, -1), 0)
    after = np.minimum.accumulate(np.where(known, rows, len(x))[::-1], 0)[::-1]
    # Outside the first and last known sample both ends are the same one.
    low = np.where(before < 0, after, before).clip(0, len(x) - 1)
    high = np.where(after >= len(x), before, after).clip(0, len(x) - 1)
    a, b = (np.take_along_axis(x, i[..., None], 0) for i in (low, high))
    share = np.where(high > low, (rows - low) / np.maximum(high - low, 1), 0.0)[..., None]
    out = a + share * (b - a)
    unseen = np.asarray(~known.any(0))
    for p, j in np.argwhere(unseen):
        # The benchmark's program goes joint by joint: those before are filled already, those after are not.
        points = np.concatenate([out[:, p, :j].reshape(-1, 3), x[:, p, j + 1 :][known[:, p, j + 1 :]]])
        out[:, p, j] = np.median(points, 0) if known[:, p].any() else 0.0
    return out
