"""The arithmetic of one joint seen by several views, compiled: normal equations and inlier EM.

Observations enter as undistorted normalised coordinates `u` with the Jacobian `A` of the lens
there (px per normalised unit), so that a residual in px needs no lens model: A (x/z - u). That is
exact at the observation and second-order small for inliers; `mocap.triangulation.estimate` ends
with Gauss-Newton steps on the full model.

Sources: the mixture of inliers and outliers is Hartley & Zisserman's and Vogiatzis & Hernandez
2011 (eq. 1) with a Gaussian inlier and a bivariate Cauchy outlier density; evidence of a
hypothesis by Laplace's method (MacKay 2003, ch. 27).
"""

from __future__ import annotations

from math import log, pi, sqrt

import numpy as np
from numba import njit
from numpy.typing import NDArray

EM_STEPS = 10
KEPT_PAIRS = 4

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


@njit(cache=True, error_model="numpy")
def ray_directions(
    R: Array,
    u: Array,
    valid: Bools,
    d: Array,
) -> None:
    """World unit vectors [V, 3] of normalised coordinates u [V, 2]."""
    for v in range(R.shape[0]):
        if not valid[v]:
            continue
        x, y = u[v, 0], u[v, 1]
        n = 1.0 / sqrt(x * x + y * y + 1.0)
        for i in range(3):
            d[v, i] = (R[v, 0, i] * x + R[v, 1, i] * y + R[v, 2, i]) * n


@njit(cache=True, error_model="numpy")
def midpoint(
    centres: Array,
    d: Array,
    w: Array,
    X: Array,
    H: Array,
    g: Array,
    C: Array,
) -> bool:
    """The point X nearest to the rays, weighted by w [V] (views of weight 0 do not count)."""
    H[:] = 0.0
    g[:] = 0.0
    for v in range(d.shape[0]):
        if w[v] <= 0.0:
            continue
        along = d[v, 0] * centres[v, 0] + d[v, 1] * centres[v, 1] + d[v, 2] * centres[v, 2]
        for i in range(3):
            g[i] += w[v] * (centres[v, i] - along * d[v, i])
            for j in range(3):
                H[i, j] += w[v] * ((1.0 if i == j else 0.0) - d[v, i] * d[v, j])
    return solve_symmetric(H, g, X, C)


@njit(cache=True, error_model="numpy")
def view_residual(
    Rv: Array,
    tv: Array,
    uv: Array,
    Av: Array,
    X: Array,
    r: Array,
    J: Array,
) -> float:
    """Residual r [2] px and Jacobian J [2, 3] px/m of one view; depth, negative where X is behind."""
    px = Rv[0, 0] * X[0] + Rv[0, 1] * X[1] + Rv[0, 2] * X[2] + tv[0]
    py = Rv[1, 0] * X[0] + Rv[1, 1] * X[1] + Rv[1, 2] * X[2] + tv[1]
    z = Rv[2, 0] * X[0] + Rv[2, 1] * X[1] + Rv[2, 2] * X[2] + tv[2]
    if z <= 1e-6:
        return -1.0
    x, y = px / z, py / z
    ex, ey = x - uv[0], y - uv[1]
    for i in range(2):
        r[i] = Av[i, 0] * ex + Av[i, 1] * ey
        for k in range(3):
            J[i, k] = (Av[i, 0] * (Rv[0, k] - x * Rv[2, k]) + Av[i, 1] * (Rv[1, k] - y * Rv[2, k])) / z
    return z


@njit(cache=True, error_model="numpy")
def normal_equations(
    R: Array, t: Array, u: Array, A: Array, w: Array, X: Array, H: Array, g: Array, r: Array, J: Array,
) -> bool:  # fmt: skip
    """H = sum w J^T J and g = sum w J^T r at X; False where a counting view has X behind it."""
    H[:] = 0.0
    g[:] = 0.0
    for v in range(R.shape[0]):
        if w[v] <= 0.0:
            continue
        if view_residual(R[v], t[v], u[v], A[v], X, r, J) < 0.0:
            return False
        for i in range(3):
            g[i] += w[v] * (J[0, i] * r[0] + J[1, i] * r[1])
            for j in range(3):
                H[i, j] += w[v] * (J[0, i] * J[0, j] + J[1, i] * J[1, j])
    return True


@njit(cache=True, error_model="numpy")
def responsibilities(
    R: Array, t: Array, u: Array, A: Array, sigma: Array, prior: Array, spread: float, X: Array, gamma: Array,
    r2: Array, r: Array, J: Array,
) -> tuple[float, float]:  # fmt: skip
    """Inlier probabilities gamma [V] and squared residuals r2 [V] px2 at X.

    Returns the log likelihood of the mixture and the (mean) metres per pixel at X.
    """
    total, scale, count = 0.0, 0.0, 0
    for v in range(R.shape[0]):
        gamma[v] = 0.0
        r2[v] = np.nan
        if prior[v] <= 0.0:
            continue
        z = view_residual(R[v], t[v], u[v], A[v], X, r, J)
        s2 = sigma[v] * sigma[v]
        if z < 0.0:
            total += log((1.0 - prior[v]) / (2.0 * pi * spread * spread) * 1e-3)
            continue
        e2 = r[0] * r[0] + r[1] * r[1]
        tail = 1.0 + e2 / (spread * spread)
        outlier = (1.0 - prior[v]) / (2.0 * pi * spread * spread * tail * sqrt(tail))
        inlier = prior[v] * np.exp(-0.5 * e2 / s2) / (2.0 * pi * s2)
        gamma[v] = inlier / (inlier + outlier)
        r2[v] = e2
        total += log(inlier + outlier)
        scale += z / sqrt(abs(A[v, 0, 0] * A[v, 1, 1] - A[v, 0, 1] * A[v, 1, 0]))
        count += 1
    return total, (scale / count if count else 0.0)


@njit(cache=True, error_model="numpy")
def expectation_maximisation(
    R: Array, t: Array, u: Array, A: Array, sigma: Array, prior: Array, spread: float, X: Array, gamma: Array,
    r2: Array, w: Array, H: Array, g: Array, C: Array, step: Array, r: Array, J: Array,
) -> float:  # fmt: skip
    """Refine X [3] and gamma [V] in place; the log evidence of the mode, -inf where it breaks down.

    The prior volume is the cube whose side is what `spread` means at X, so that the evidence
    compares with "no two views agree" (`null_evidence`).
    """
    for _ in range(EM_STEPS):
        for v in range(R.shape[0]):
            w[v] = gamma[v] / (sigma[v] * sigma[v]) if gamma[v] > 1e-6 else 0.0
        if not normal_equations(R, t, u, A, w, X, H, g, r, J) or not solve_symmetric(H, g, step, C):
            return -np.inf
        move, size = 0.0, C[0, 0] + C[1, 1] + C[2, 2]
        for i in range(3):
            X[i] -= step[i]
            move += step[i] * step[i]
        total, scale = responsibilities(R, t, u, A, sigma, prior, spread, X, gamma, r2, r, J)
        if move < 1e-4 * size:
            break
    det = (
        C[0, 0] * (C[1, 1] * C[2, 2] - C[1, 2] * C[1, 2])
        - C[0, 1] * (C[0, 1] * C[2, 2] - C[1, 2] * C[0, 2])
        + C[0, 2] * (C[0, 1] * C[1, 2] - C[1, 1] * C[0, 2])
    )
    volume = (16.0 * pi * spread * spread) ** 1.5 * scale**3
    # A mode less certain than the prior has no inliers: that is what `null_evidence` stands for.
    if not det > 0.0 or not volume > 0.0 or C[0, 0] + C[1, 1] + C[2, 2] > volume ** (2.0 / 3.0):
        return -np.inf
    return total + 1.5 * log(2.0 * pi) + 0.5 * log(det) - log(volume)


@njit(cache=True, error_model="numpy")
def null_evidence(
    prior: Array,
    spread: float,
) -> float:
    """Log evidence that at most one view sees the joint: every residual is a random one."""
    n = 0
    for v in range(prior.shape[0]):
        n += prior[v] > 0.0
    return -n * log(16.0 * pi * spread * spread)
