"""The end of triangulation, compiled: a step on the full lens model, residuals, the worst direction."""

from __future__ import annotations

from math import acos, cos, pi, sqrt

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.lens_kernels import bend
from mocap.triangulation.kernels import solve_symmetric
from mocap.triangulation.mixture import LEAST_GAMMA

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


@njit(cache=True, error_model="numpy")
def largest_eigenvalue(C: Array) -> float:
    """Of a symmetric 3x3 matrix (Smith 1961, the trigonometric form)."""
    mean = (C[0, 0] + C[1, 1] + C[2, 2]) / 3.0
    off = C[0, 1] ** 2 + C[0, 2] ** 2 + C[1, 2] ** 2
    a, b, c = C[0, 0] - mean, C[1, 1] - mean, C[2, 2] - mean
    size = sqrt((a * a + b * b + c * c + 2.0 * off) / 6.0)
    if not size > 0.0:
        return mean
    det = (
        a * (b * c - C[1, 2] * C[1, 2])
        - C[0, 1] * (C[0, 1] * c - C[1, 2] * C[0, 2])
        + C[0, 2] * (C[0, 1] * C[1, 2] - b * C[0, 2])
    )
    angle = acos(min(1.0, max(-1.0, det / (2.0 * size**3)))) / 3.0
    return mean + 2.0 * size * cos(angle if angle <= pi / 3.0 else pi / 3.0)


@njit(cache=True, error_model="numpy", nogil=True)
def finish_points(
    K: Array, distortion: Array, fisheye: Bools, pose: Array, pixels: Array, gamma: Array, sigma: Array, X: Array,
    error: Array,
) -> None:  # fmt: skip
    """One Gauss-Newton step with the full lens model, in place.

    Parameters
    ----------
    K, distortion, fisheye, pose [V, 3, 4] = [R | t] : the cameras.
    pixels : float64 [V, N, 2], px
    gamma, sigma : float64 [N, V]
        Inlier probability and noise, px.
    X : float64 [N, 3]
        World, metres; NaN stays NaN.
    error : float64 [N]
        Result: mean distance at the new point over the inlier views, px; NaN where there is none.
    """
    V = pose.shape[0]
    B, r, J, views = np.empty((2, 2)), np.empty((V, 2)), np.empty((V, 6)), np.empty(V, np.int64)
    H, g, C, step = np.empty((3, 3)), np.empty(3), np.empty((3, 3)), np.empty(3)
    for n in range(X.shape[0]):
        error[n] = np.nan
        if np.isnan(X[n, 0]):
            continue
        H[:] = 0.0
        g[:] = 0.0
        count, good = 0, True
        for v in range(V):
            if not gamma[n, v] > LEAST_GAMMA:
                continue
            if not _look(K[v], distortion[v], fisheye[v], pose, v, X[n], pixels, n, B, r, J):
                good = False
                continue
            _add(gamma[n, v] / (sigma[n, v] * sigma[n, v]), r, J, v, H, g)
            views[count] = v
            count += 1
        H[1, 0], H[2, 0], H[2, 1] = H[0, 1], H[0, 2], H[1, 2]
        if good and solve_symmetric(H, g, step, C):
            for i in range(3):
                X[n, i] -= step[i]
        else:
            step[:] = 0.0
        # The step is so small that the residual needs no second projection.
        total, inliers = 0.0, 0
        for k in range(count):
            v = views[k]
            if gamma[n, v] > 0.5:
                e = r[v, 0] - (J[v, 0] * step[0] + J[v, 1] * step[1] + J[v, 2] * step[2])
                f = r[v, 1] - (J[v, 3] * step[0] + J[v, 4] * step[1] + J[v, 5] * step[2])
                total += sqrt(e * e + f * f)
                inliers += 1
        if inliers:
            error[n] = total / inliers


@njit(cache=True, error_model="numpy")
def _look(
    K: Array, c: Array, fisheye: bool, pose: Array, v: int, X: Array, pixels: Array, n: int, B: Array, r: Array,
    J: Array,
) -> bool:  # fmt: skip
    """Residual r[v] px and Jacobian J[v] [2 x 3] px/m of view v with the full lens model; False behind it."""
    z = pose[v, 2, 0] * X[0] + pose[v, 2, 1] * X[1] + pose[v, 2, 2] * X[2] + pose[v, 2, 3]
    if not z > 1e-9:
        return False
    near = 1.0 / z
    x = (pose[v, 0, 0] * X[0] + pose[v, 0, 1] * X[1] + pose[v, 0, 2] * X[2] + pose[v, 0, 3]) * near
    y = (pose[v, 1, 0] * X[0] + pose[v, 1, 1] * X[1] + pose[v, 1, 2] * X[2] + pose[v, 1, 3]) * near
    a, b = bend(c, fisheye, x, y, B)
    r[v, 0] = K[0, 0] * a + K[0, 1] * b + K[0, 2] - pixels[v, n, 0]
    r[v, 1] = K[1, 1] * b + K[1, 2] - pixels[v, n, 1]
    xx, xy = (K[0, 0] * B[0, 0] + K[0, 1] * B[1, 0]) * near, (K[0, 0] * B[0, 1] + K[0, 1] * B[1, 1]) * near
    yx, yy = K[1, 1] * B[1, 0] * near, K[1, 1] * B[1, 1] * near
    for k in range(3):
        dx, dy = pose[v, 0, k] - x * pose[v, 2, k], pose[v, 1, k] - y * pose[v, 2, k]
        J[v, k], J[v, 3 + k] = xx * dx + xy * dy, yx * dx + yy * dy
    return True


@njit(cache=True, error_model="numpy")
def _add(w: float, r: Array, J: Array, v: int, H: Array, g: Array) -> None:
    """Add w J^T J (upper half) and w J^T r of view v."""
    for i in range(3):
        a, b = w * J[v, i], w * J[v, 3 + i]
        g[i] += a * r[v, 0] + b * r[v, 1]
        for k in range(i, 3):
            H[i, k] += a * J[v, k] + b * J[v, 3 + k]


@njit(cache=True, error_model="numpy", nogil=True)
def worst_deviation(C: Array, out: Array) -> None:
    """Standard deviation [N] along the worst direction of covariances [N, 3, 3]; 0 where NaN."""
    for n in range(C.shape[0]):
        out[n] = 0.0 if np.isnan(C[n, 0, 0]) else sqrt(max(largest_eigenvalue(C[n]), 0.0))
