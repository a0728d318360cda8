"""The end of triangulation, compiled: a step on the full lens model, residuals, the worst direction."""

from __future__ import annotations

from math import acos, cos, pi, sqrt

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.lens_kernels import bend
from mocap.triangulation.kernels import solve_symmetric

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


@njit(cache=True, error_model="numpy")
def _look(
    K: Array, c: Array, fisheye: bool, R: Array, t: Array, X: Array, pixel: Array, B: Array, r: Array, J: Array,
) -> bool:  # fmt: skip
    """Residual r [2] px and Jacobian J [2, 3] px/m of one view with the full lens model; False behind it."""
    px = R[0, 0] * X[0] + R[0, 1] * X[1] + R[0, 2] * X[2] + t[0]
    py = R[1, 0] * X[0] + R[1, 1] * X[1] + R[1, 2] * X[2] + t[1]
    z = R[2, 0] * X[0] + R[2, 1] * X[1] + R[2, 2] * X[2] + t[2]
    if not z > 1e-9:
        return False
    x, y = px / z, py / z
    a, b = bend(c, fisheye, x, y, B)
    r[0] = K[0, 0] * a + K[0, 1] * b + K[0, 2] - pixel[0]
    r[1] = K[1, 1] * b + K[1, 2] - pixel[1]
    for k in range(3):
        dx, dy = (R[0, k] - x * R[2, k]) / z, (R[1, k] - y * R[2, k]) / z
        da, db = B[0, 0] * dx + B[0, 1] * dy, B[1, 0] * dx + B[1, 1] * dy
        J[0, k], J[1, k] = K[0, 0] * da + K[0, 1] * db, K[1, 1] * db
    return True


@njit(cache=True, error_model="numpy", nogil=True)
def finish_points(
    K: Array, distortion: Array, fisheye: Bools, R: Array, t: Array, pixels: Array, weights: Array, X: Array,
    residual: Array,
) -> None:  # fmt: skip
    """One Gauss-Newton step with the full lens model, in place.

    Parameters
    ----------
    K, distortion, fisheye, R, t : the V cameras.
    pixels : float64 [V, N, 2], px
    weights : float64 [N, V]
        Inverse variance, px^-2; 0 where a view does not count.
    X : float64 [N, 3]
        World, metres; NaN stays NaN.
    residual : float64 [N, V]
        Result: distances at the new point, px; 0 where a view does not count.
    """
    V = R.shape[0]
    B, r, J, H, g = np.empty((2, 2)), np.empty((V, 2)), np.empty((V, 2, 3)), np.empty((3, 3)), np.empty(3)
    step, C = np.empty(3), np.empty((3, 3))
    for n in range(X.shape[0]):
        residual[n] = 0.0
        if np.isnan(X[n, 0]):
            continue
        H[:] = 0.0
        g[:] = 0.0
        good = True
        for v in range(V):
            w = weights[n, v]
            if w <= 0.0:
                continue
            if not _look(K[v], distortion[v], fisheye[v], R[v], t[v], X[n], pixels[v, n], B, r[v], J[v]):
                good = False
                r[v] = np.nan
                J[v] = 0.0
                continue
            for i in range(3):
                g[i] += w * (J[v, 0, i] * r[v, 0] + J[v, 1, i] * r[v, 1])
                for k in range(3):
                    H[i, k] += w * (J[v, 0, i] * J[v, 0, k] + J[v, 1, i] * J[v, 1, k])
        good = good and solve_symmetric(H, g, step, C)
        for i in range(3):
            step[i] = step[i] if good else 0.0
            X[n, i] -= step[i]
        # The step is so small that the residual needs no second projection.
        for v in range(V):
            if weights[n, v] > 0.0:
                e = r[v, 0] - (J[v, 0, 0] * step[0] + J[v, 0, 1] * step[1] + J[v, 0, 2] * step[2])
                f = r[v, 1] - (J[v, 1, 0] * step[0] + J[v, 1, 1] * step[1] + J[v, 1, 2] * step[2])
                residual[n, v] = sqrt(e * e + f * f)


@njit(cache=True, error_model="numpy", nogil=True)
def worst_deviation(C: Array, out: Array) -> None:
    """Standard deviation [N] along the worst direction of covariances [N, 3, 3]; 0 where NaN."""
    for n in range(C.shape[0]):
        out[n] = 0.0 if np.isnan(C[n, 0, 0]) else sqrt(max(largest_eigenvalue(C[n]), 0.0))
