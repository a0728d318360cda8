"""Euler angles that do not jump."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

EulerOrder = Literal["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"]


def continuous_euler(R: Array, order: EulerOrder) -> Array:
    """Euler angles of a rotation over time, without jumps between equal descriptions.

    Parameters
    ----------
    R : float64 [T, 3, 3]
    order : str
        Axes in the order of the product, e.g. "ZXY": R = Rz Rx Ry.

    Returns
    -------
    float64 [T, 3], radians
        Of the descriptions (a, b, c) and (a + pi, pi - b, c + pi), each modulo whole turns, the one
        nearest to the frame before; the first frame has its middle angle within 90 degrees.
    """
    angles = Rotation.from_matrix(R).as_euler(order)
    _nearest(angles)
    return angles


@njit(cache=True)  # type: ignore[misc]
def _nearest(angles: Array) -> None:
    turn = 2 * np.pi
    best = np.empty(3)
    other = np.empty(3)
    for t in range(1, len(angles)):
        other[0], other[1], other[2] = angles[t, 0] + np.pi, np.pi - angles[t, 1], angles[t, 2] + np.pi
        first = 0.0
        second = 0.0
        for i in range(3):
            best[i] = angles[t, i] - turn * np.round((angles[t, i] - angles[t - 1, i]) / turn)
            other[i] -= turn * np.round((other[i] - angles[t - 1, i]) / turn)
            first += abs(best[i] - angles[t - 1, i])
            second += abs(other[i] - angles[t - 1, i])
        for i in range(3):
            angles[t, i] = other[i] if second < first else best[i]
