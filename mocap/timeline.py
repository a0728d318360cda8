"""Where a recording is continuous: nothing may be filtered, tracked or filled across a jump."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def segments(frames: NDArray[np.int64], max_gap: int) -> list[slice]:
    """Rows of `frames` between which no more than `max_gap` frame numbers are left out.

    Parameters
    ----------
    frames : int [T]
        Increasing frame numbers.
    max_gap : int
        Largest number of missing frames that still counts as continuous (0: none).

    Returns
    -------
    list of slice
        In order, covering all rows.
    """
    if len(frames) == 0:
        return []
    breaks = np.flatnonzero(np.diff(frames) > max_gap + 1) + 1
    edges = [0, *breaks.tolist(), len(frames)]
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
