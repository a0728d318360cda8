"""Triangulation without outliers, compiled: weighted least squares over all views."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.triangulation.kernels import (
    BEHIND,
    FEW_VIEWS,
    OK,
    PARALLEL,
    normal_equations,
    solve_symmetric,
    view_residual,
)
from mocap.triangulation.mixture import PACKED, pack
from mocap.triangulation.robust import have_angle, midpoint, ray_directions

Array = NDArray[np.float64]

_STEPS = 5


@njit(cache=True, error_model="numpy", nogil=True)
def plain_points(
    R: Array, t: Array, centres: Array, u: Array, A: Array, sigma: Array, prior: Array, min_views: int,
    min_sin2: float, X: Array, C: Array, gamma: Array, r2: Array, status: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Triangulate N joints; as `robust_points`, but every view that sees a joint counts as an inlier."""
    V = R.shape[0]
    packed, d, views, x = np.empty((V, PACKED)), np.empty((V, 3)), np.empty(V, np.int64), np.empty(3)
    w, H, g, cov, step = np.empty(V), np.empty((3, 3)), np.empty(3), np.empty((3, 3)), np.empty(3)
    r, J = np.empty((V, 2)), np.empty((V, 2, 3))
    for n in range(u.shape[0]):
        X[n], C[n], gamma[n], r2[n], status[n] = np.nan, np.nan, 0.0, np.nan, FEW_VIEWS
        seen = pack(u, A, sigma, prior, n, 1.0, views, packed)
        if seen < min_views:
            continue
        ray_directions(R, packed, views, seen, d)
        if not have_angle(d, seen, min_sin2) or not midpoint(centres, packed, views, seen, d, x):
            status[n] = PARALLEL
            continue
        w[:] = 0.0
        for k in range(seen):
            w[views[k]] = packed[k, 5]
        status[n] = _least_squares(R, t, u[n], A[n], w, x, H, g, cov, step, r, J, r2[n])
        if status[n] == OK:
            X[n], C[n] = x, cov
            gamma[n] = w > 0.0


@njit(cache=True, error_model="numpy")
def _least_squares(
    R: Array, t: Array, u: Array, A: Array, w: Array, X: Array, H: Array, g: Array, C: Array, step: Array, r: Array,
    J: Array, r2: Array,
) -> int:  # fmt: skip
    """Gauss-Newton from X [3]; status, and the squared residuals r2 [V] of the views that count."""
    for _ in range(_STEPS):
        if not normal_equations(R, t, u, A, w, X, H, g, r, J):
            return BEHIND
        if not solve_symmetric(H, g, step, C):
            return PARALLEL
        for i in range(3):
            X[i] -= step[i]
    for v in range(R.shape[0]):
        if w[v] > 0.0:
            if view_residual(R, t, u, A, v, X, r, J) < 0.0:
                return BEHIND
            r2[v] = r[v, 0] * r[v, 0] + r[v, 1] * r[v, 1]
    return OK
