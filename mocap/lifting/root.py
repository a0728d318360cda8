"""Where a lifted pose stands: the pelvis in camera axes, from the rays of all joints."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

_STEPS = 8
_RAY_STD = 0.004  # 2D error in units of the focal length: about 5 px at f = 1150 px
_HUBER = 1.5
_NEAREST = 0.3  # metres; a person nearer to the camera than this is not believed


def place_root(positions: Array, rays: Array, confidence: Array, std: Array) -> tuple[Array, Array]:
    """Confidence-weighted robust least squares of the reprojection error over the translation.

    Parameters
    ----------
    positions : [N, J, 3]
        Metres, camera axes, relative to the pelvis.
    rays : [N, J, 2]
        Undistorted x/z, y/z of the same joints; NaN where not seen.
    confidence : [N, J]
        Weights; 0 where not seen.
    std : [N, J]
        Standard deviation of `positions` across the view, metres.

    Returns
    -------
    root : float64 [N, 3]
        Metres, camera axes; NaN with fewer than three joints seen, or when they do not say.
    covariance : float64 [N, 3, 3]
        Metres squared, from the residuals' expected spread; a common error of the pose's size is
        not in it.

    Notes
    -----
    Gauss-Newton with Huber weights (Huber 1964) on x/z; the start is the linear solution.
    """
    rays, positions, weight, seen = _seen(positions, rays, confidence)
    root = _linear(positions, rays, weight)
    covariance = np.empty((len(root), 3, 3))
    _gauss_newton(positions, rays, weight, std, root, covariance)
    root[(seen < 3) | (root[:, 2] <= _NEAREST)] = np.nan
    return root, covariance


@njit(cache=True, error_model="numpy", nogil=True)
def _seen(positions: Array, rays: Array, confidence: Array) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Rays, positions and weights with zeros where a joint was not seen, and how many were [N]."""
    rays, positions, weight = rays.copy(), positions.copy(), confidence.copy()
    seen = np.zeros(len(rays), np.int64)
    for n in range(len(rays)):
        for j in range(rays.shape[1]):
            if confidence[n, j] > 0 and np.isfinite(rays[n, j]).all() and np.isfinite(positions[n, j]).all():
                seen[n] += 1
            else:
                rays[n, j], positions[n, j], weight[n, j] = 0, 0, 0
    return rays, positions, weight, seen


@njit(cache=True, error_model="numpy", nogil=True)
def _gauss_newton(positions: Array, rays: Array, weight: Array, std: Array, root: Array, covariance: Array) -> None:
    """All poses, one after the other: `root` goes from the start to the solution, `covariance` is filled."""
    for n in range(len(root)):
        depth = max(root[n, 2], _NEAREST)
        variance = _RAY_STD**2 + (std[n] / depth) ** 2
        for _ in range(_STEPS):
            inverse, g = _normal(positions[n], rays[n], weight[n], variance, root[n], _HUBER)
            for a in range(3):
                root[n, a] -= inverse[a, 0] * g[0] + inverse[a, 1] * g[1] + inverse[a, 2] * g[2]
            root[n, 2] = min(max(root[n, 2], _NEAREST), 1e3)
        covariance[n] = _normal(positions[n], rays[n], weight[n], variance, root[n], np.inf)[0]


@njit(cache=True, error_model="numpy", nogil=True)
def _normal(
    positions: Array, rays: Array, weight: Array, variance: Array, root: Array, huber: float
) -> tuple[Array, Array]:
    """Inverse [3, 3] and right side [3] of the normal equations of x/z, y/z over the translation."""
    H, g = 1e-6 * np.eye(3), np.zeros(3)
    for j in range(len(weight)):
        z = max(positions[j, 2] + root[2], 0.1)
        x, y = (positions[j, 0] + root[0]) / z, (positions[j, 1] + root[1]) / z
        u, v = x - rays[j, 0], y - rays[j, 1]
        whitened = np.sqrt((u * u + v * v) / (2 * variance[j]))
        w = weight[j] / variance[j] * min(1.0, huber / max(whitened, 1e-9)) / z
        H[0, 0] += w / z
        H[1, 1] += w / z
        H[0, 2] -= w * x / z
        H[1, 2] -= w * y / z
        H[2, 2] += w * (x * x + y * y) / z
        g[0] += w * u
        g[1] += w * v
        g[2] -= w * (x * u + y * v)
    H[2, 0], H[2, 1] = H[0, 2], H[1, 2]
    # By cofactors; H[0, 1] is zero.
    inverse = np.empty((3, 3))
    a, b, c, d, e = H[0, 0], H[1, 1], H[2, 2], H[0, 2], H[1, 2]
    det = a * b * c - a * e * e - b * d * d
    inverse[0, 0], inverse[1, 1], inverse[2, 2] = (b * c - e * e) / det, (a * c - d * d) / det, a * b / det
    inverse[0, 1] = inverse[1, 0] = d * e / det
    inverse[0, 2] = inverse[2, 0] = -b * d / det
    inverse[1, 2] = inverse[2, 1] = -a * e / det
    return inverse, g


@njit(cache=True, error_model="numpy", nogil=True)
def _linear(positions: Array, rays: Array, weight: Array) -> Array:
    """Least squares of (X + Tx) - u (Z + Tz) and the same in y: the translations [N, 3]."""
    root = np.empty((len(rays), 3))
    for n in range(len(rays)):
        s, su, sv, sq, bx, by, bz = 1e-9, 0.0, 0.0, 1e-9, 0.0, 0.0, 0.0
        for j in range(rays.shape[1]):
            u, v, w = rays[n, j, 0], rays[n, j, 1], weight[n, j]
            x, y = u * positions[n, j, 2] - positions[n, j, 0], v * positions[n, j, 2] - positions[n, j, 1]
            s, su, sv, sq = s + w, su + w * u, sv + w * v, sq + w * (u * u + v * v)
            bx, by, bz = bx + w * x, by + w * y, bz - w * (u * x + v * y)
        # Tx and Ty follow from Tz, which is left of the three equations.
        depth = (bz + (su * bx + sv * by) / s) / (sq - (su * su + sv * sv) / s)
        root[n, 0], root[n, 1] = (bx + su * depth) / s, (by + sv * depth) / s
        root[n, 2] = min(max(depth, 2 * _NEAREST), 1e3)
    return root
