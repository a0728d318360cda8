"""The end of triangulation, compiled: a step on the full lens model, residuals, the worst direction."""

from __future__ import annotations

from math import acos, cos, pi, sqrt

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.lens_kernels import bend
from mocap.triangulation.kernels import OK, UNCERTAIN
from mocap.triangulation.mixture import LEAST_GAMMA, inverse, slope, squares

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


@njit(cache=True, error_model="numpy")
def largest_eigenvalue(C: Array, n: int) -> float:
    """Of the symmetric 3x3 matrix C[n] (Smith 1961, the trigonometric form)."""
    p, q, r = C[n, 0, 1], C[n, 0, 2], C[n, 1, 2]
    mean = (C[n, 0, 0] + C[n, 1, 1] + C[n, 2, 2]) / 3.0
    off = p * p + q * q + r * r
    a, b, c = C[n, 0, 0] - mean, C[n, 1, 1] - mean, C[n, 2, 2] - mean
    size = sqrt((a * a + b * b + c * c + 2.0 * off) / 6.0)
    if not size > 0.0:
        return float(mean)
    det = a * (b * c - r * r) - p * (p * c - r * q) + q * (p * r - b * q)
    angle = acos(min(1.0, max(-1.0, det / (2.0 * size**3)))) / 3.0
    return float(mean + 2.0 * size * cos(angle if angle <= pi / 3.0 else pi / 3.0))


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
    r, J, views, B = np.empty((V, 2)), np.empty((V, 6)), np.empty(V, np.int64), np.empty((2, 2))
    for n in range(X.shape[0]):
        error[n] = np.nan
        if np.isnan(X[n, 0]):
            continue
        h, g0, g1, g2 = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0, 0.0, 0.0
        count, good = 0, True
        for v in range(V):
            if not gamma[n, v] > LEAST_GAMMA:
                continue
            if not _look(K, distortion, fisheye, pose, v, X, pixels, n, B, r, J, count):
                good = False
                continue
            w, e, f = gamma[n, v] / (sigma[n, v] * sigma[n, v]), r[count, 0], r[count, 1]
            a, b = (J[count, 0], J[count, 1], J[count, 2]), (J[count, 3], J[count, 4], J[count, 5])
            g0, g1 = g0 + w * (a[0] * e + b[0] * f), g1 + w * (a[1] * e + b[1] * f)
            g2 += w * (a[2] * e + b[2] * f)
            h = squares(h, a, b, w, 0.0, w)
            views[count] = v
            count += 1
        solvable, c = inverse(h[0], h[1], h[2], h[3], h[4], h[5])
        x = y = z = 0.0
        if good and solvable:
            x, y = c[0] * g0 + c[1] * g1 + c[2] * g2, c[1] * g0 + c[3] * g1 + c[4] * g2
            z = c[2] * g0 + c[4] * g1 + c[5] * g2
            X[n, 0], X[n, 1], X[n, 2] = X[n, 0] - x, X[n, 1] - y, X[n, 2] - z
        # The step is so small that the residual needs no second projection.
        total, inliers = 0.0, 0
        for k in range(count):
            if gamma[n, views[k]] > 0.5:
                e = r[k, 0] - (J[k, 0] * x + J[k, 1] * y + J[k, 2] * z)
                f = r[k, 1] - (J[k, 3] * x + J[k, 4] * y + J[k, 5] * z)
                total += sqrt(e * e + f * f)
                inliers += 1
        if inliers:
            error[n] = total / inliers


@njit(cache=True, error_model="numpy", inline="always")
def _look(
    K: Array, distortion: Array, fisheye: Bools, pose: Array, v: int, X: Array, pixels: Array, n: int, B: Array,
    r: Array, J: Array, k: int,
) -> bool:  # fmt: skip
    """Residual r[k] px and Jacobian J[k] [2 x 3] px/m of view v with the full lens model; False behind it."""
    p, q, s = X[n, 0], X[n, 1], X[n, 2]
    z = pose[v, 2, 0] * p + pose[v, 2, 1] * q + pose[v, 2, 2] * s + pose[v, 2, 3]
    good = z > 1e-9
    if good:
        near = 1.0 / z
        x = (pose[v, 0, 0] * p + pose[v, 0, 1] * q + pose[v, 0, 2] * s + pose[v, 0, 3]) * near
        y = (pose[v, 1, 0] * p + pose[v, 1, 1] * q + pose[v, 1, 2] * s + pose[v, 1, 3]) * near
        a, b = bend(distortion[v], fisheye[v], x, y, B)
        f, skew, g = K[v, 0, 0], K[v, 0, 1], K[v, 1, 1]
        r[k, 0] = f * a + skew * b + K[v, 0, 2] - pixels[v, n, 0]
        r[k, 1] = g * b + K[v, 1, 2] - pixels[v, n, 1]
        xx, xy = f * B[0, 0] + skew * B[1, 0], f * B[0, 1] + skew * B[1, 1]
        yx, yy = g * B[1, 0], g * B[1, 1]
        da, db = slope(pose, v, x, y, near)
        for i in range(3):
            J[k, i], J[k, 3 + i] = xx * da[i] + xy * db[i], yx * da[i] + yy * db[i]
    return good


@njit(cache=True, error_model="numpy", nogil=True)
def drop_lost(C: Array, limit: float, X: Array, gamma: Array, status: NDArray[np.uint8]) -> None:
    """Joints [N] whose standard deviation along the worst direction exceeds a limit are lost; NaN where any is."""
    for n in range(C.shape[0]):
        # The trace bounds the largest eigenvalue.
        far = C[n, 0, 0] + C[n, 1, 1] + C[n, 2, 2] > limit * limit
        if status[n] == OK and far and largest_eigenvalue(C, n) > limit * limit:
            status[n] = UNCERTAIN
        if status[n] != OK:
            for i in range(3):
                X[n, i] = np.nan
                for j in range(3):
                    C[n, i, j] = np.nan
            for v in range(gamma.shape[1]):
                gamma[n, v] = 0.0
