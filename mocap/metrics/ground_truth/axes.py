"""Units and axes of files that leave them open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError

Array = NDArray[np.float64]

WORLD_FROM_Y_UP: Array = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Rotation from y up (BVH, OpenSim's TRC) to our world, z up."""

_METRES = {"m": 1.0, "meters": 1.0, "metres": 1.0, "cm": 0.01, "mm": 0.001}


def metres_per(unit: str, where: str) -> float:
    """Metres per unit of length; DataError for a unit that is none."""
    factor = _METRES.get(unit.strip().lower())
    if factor is None:
        raise DataError("unknown unit of length", expected=", ".join(_METRES), found=unit or "none", where=where)
    return factor
