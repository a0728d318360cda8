"""The arithmetic of one joint seen by several views, compiled: rays, residuals, normal equations."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numba import njit
from numpy.typing import NDArray

OK, FEW_VIEWS, PARALLEL, BEHIND, DISAGREE, UNCERTAIN = 0, 1, 2, 3, 4, 5

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


@njit(cache=True, error_model="numpy")
def solve_symmetric(
    H: Array,
    g: Array,
    x: Array,
    C: Array,
) -> bool:
    """Solve H x = g for symmetric 3x3 H; C becomes the inverse. False where H is singular."""
    a, b, c, d, e, f = H[0, 0], H[0, 1], H[0, 2], H[1, 1], H[1, 2], H[2, 2]
    m00, m01, m02 = d * f - e * e, c * e - b * f, b * e - c * d
    det = a * m00 + b * m01 + c * m02
    trace = a + d + f
    if not (det > 1e-16 * trace * trace * trace):
        return False
    C[0, 0], C[0, 1], C[0, 2] = m00 / det, m01 / det, m02 / det
    C[1, 1], C[1, 2], C[2, 2] = (a * f - c * c) / det, (b * c - a * e) / det, (a * d - b * b) / det
    C[1, 0], C[2, 0], C[2, 1] = C[0, 1], C[0, 2], C[1, 2]
    for i in range(3):
        x[i] = C[i, 0] * g[0] + C[i, 1] * g[1] + C[i, 2] * g[2]
    return True


@njit(cache=True, error_model="numpy", nogil=True)
def all_directions(R: Array, u: Array, valid: Bools, d: Array) -> None:
    """World unit vectors d [N, V, 3] of u [N, V, 2], where valid [N, V]."""
    for n in range(u.shape[0]):
        for v in range(u.shape[1]):
            if valid[n, v]:
                x, y = u[n, v, 0], u[n, v, 1]
                length = 1.0 / sqrt(x * x + y * y + 1.0)
                for i in range(3):
                    d[n, v, i] = (R[v, 0, i] * x + R[v, 1, i] * y + R[v, 2, i]) * length


@njit(cache=True, error_model="numpy")
def view_residual(
    R: Array, t: Array, u: Array, A: Array, v: int, X: Array, r: Array, J: Array,
) -> float:  # fmt: skip
    """Residual r[v] [2] px and Jacobian J[v] [2, 3] px/m of view v; depth, negative where X is behind.

    Takes the arrays of all views and an index: slices cost more than the arithmetic.
    """
    px = R[v, 0, 0] * X[0] + R[v, 0, 1] * X[1] + R[v, 0, 2] * X[2] + t[v, 0]
    py = R[v, 1, 0] * X[0] + R[v, 1, 1] * X[1] + R[v, 1, 2] * X[2] + t[v, 1]
    z = R[v, 2, 0] * X[0] + R[v, 2, 1] * X[1] + R[v, 2, 2] * X[2] + t[v, 2]
    if z <= 1e-6:
        return -1.0
    near = 1.0 / z
    x, y = px * near, py * near
    ex, ey = x - u[v, 0], y - u[v, 1]
    for i in range(2):
        a, b = A[v, i, 0], A[v, i, 1]
        r[v, i] = a * ex + b * ey
        a, b = a * near, b * near
        for k in range(3):
            J[v, i, k] = a * (R[v, 0, k] - x * R[v, 2, k]) + b * (R[v, 1, k] - y * R[v, 2, k])
    return z


@njit(cache=True, error_model="numpy")
def accumulate(w: Array, r: Array, J: Array, H: Array, g: Array) -> None:
    """H = sum w J^T J and g = sum w J^T r of residuals r [V, 2] and Jacobians J [V, 2, 3] at hand."""
    H[:] = 0.0
    g[:] = 0.0
    for v in range(w.shape[0]):
        if w[v] <= 0.0:
            continue
        for i in range(3):
            a, b = w[v] * J[v, 0, i], w[v] * J[v, 1, i]
            g[i] += a * r[v, 0] + b * r[v, 1]
            for j in range(i, 3):
                H[i, j] += a * J[v, 0, j] + b * J[v, 1, j]
    H[1, 0], H[2, 0], H[2, 1] = H[0, 1], H[0, 2], H[1, 2]


@njit(cache=True, error_model="numpy")
def normal_equations(
    R: Array, t: Array, u: Array, A: Array, w: Array, X: Array, H: Array, g: Array, r: Array, J: Array,
) -> bool:  # fmt: skip
    """H = sum w J^T J and g = sum w J^T r at X; False where a counting view has X behind it."""
    for v in range(R.shape[0]):
        if w[v] > 0.0 and view_residual(R, t, u, A, v, X, r, J) < 0.0:
            return False
    accumulate(w, r, J, H, g)
    return True
