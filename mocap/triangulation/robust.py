"""Robust triangulation of many joints: all views first, subset hypotheses where a view is doubtful."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.triangulation.hypotheses import inlier_mask, is_known, mode_spread, pair_points
from mocap.triangulation.kernels import (
    BEHIND,
    DISAGREE,
    FEW_VIEWS,
    KEPT_PAIRS,
    OK,
    PARALLEL,
    expectation_maximisation,
    metres_per_pixel,
    midpoint,
    normal_equations,
    null_evidence,
    ray_directions,
    responsibilities,
    solve_symmetric,
    view_residual,
)

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@njit(cache=True, error_model="numpy")
def largest_angle(
    d: Array,
    valid: Bools,
) -> float:
    """Largest sin^2 of the angle between two rays that count."""
    best = 0.0
    for a in range(d.shape[0]):
        if not valid[a]:
            continue
        for b in range(a):
            if valid[b]:
                cosine = d[a, 0] * d[b, 0] + d[a, 1] * d[b, 1] + d[a, 2] * d[b, 2]
                best = max(best, 1.0 - cosine * cosine)
    return best


@njit(cache=True, error_model="numpy")
def _plain(
    R: Array, t: Array, u: Array, A: Array, sigma: Array, prior: Array, X: Array, gamma: Array, r2: Array,
    w: Array, H: Array, g: Array, C: Array, step: Array, r: Array, J: Array,
) -> int:  # fmt: skip
    """Weighted least squares over all views, no outliers. Status."""
    for v in range(R.shape[0]):
        gamma[v] = 1.0 if prior[v] > 0.0 else 0.0
        w[v] = gamma[v] / (sigma[v] * sigma[v])
    for _ in range(5):
        if not normal_equations(R, t, u, A, w, X, H, g, r, J):
            return BEHIND
        if not solve_symmetric(H, g, step, C):
            return PARALLEL
        for i in range(3):
            X[i] -= step[i]
    for v in range(R.shape[0]):
        r2[v] = np.nan
        if gamma[v] > 0.0:
            if view_residual(R, t, u, A, v, X, r, J) < 0.0:
                return BEHIND
            r2[v] = r[v, 0] * r[v, 0] + r[v, 1] * r[v, 1]
    return OK


@njit(cache=True, error_model="numpy", nogil=True)
def robust_points(
    R: Array, t: Array, centres: Array, u: Array, A: Array, sigma: Array, prior: Array, spread: float,
    robust: bool, min_views: int, max_doubt: float, min_sin2: float, limit: int, X: Array, C: Array, gamma: Array,
    r2: Array, leverage: Array, status: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Triangulate N joints.

    Parameters
    ----------
    R [V, 3, 3], t [V, 3], centres [V, 3] : cameras.
    u [N, V, 2], A [N, V, 2, 2] : normalised coordinates and px per normalised unit.
    sigma [N, V], prior [N, V] : pixel noise per axis and inlier probability; prior 0 = not seen.
    spread : scale of the outlier density, px.
    X [N, 3], C [N, 3, 3], gamma, r2, leverage [N, V], status [N] : results.
    """
    V = R.shape[0]
    H, g, step, Ck = np.empty((3, 3)), np.empty(3), np.empty(3), np.empty((3, 3))
    r, J, d, w = np.empty((V, 2)), np.empty((V, 2, 3)), np.empty((V, 3)), np.empty(V)
    order, valid = np.empty(V, np.int64), np.empty(V, np.bool_)
    points, scores = np.empty((KEPT_PAIRS, 3)), np.empty(KEPT_PAIRS)
    modes, evidence = np.empty((KEPT_PAIRS + 1, 3)), np.empty(KEPT_PAIRS + 1)
    covs, Xk = np.empty((KEPT_PAIRS + 1, 3, 3)), np.empty(3)
    masks = np.empty(KEPT_PAIRS + 1, np.int64)
    for n in range(u.shape[0]):
        X[n] = np.nan
        C[n] = np.nan
        gamma[n] = 0.0
        r2[n] = np.nan
        leverage[n] = 0.0
        seen = 0
        for v in range(V):
            valid[v] = prior[n, v] > 0.0
            seen += valid[v]
            w[v] = prior[n, v] / (sigma[n, v] * sigma[n, v]) if valid[v] else 0.0
        if seen < min_views:
            status[n] = FEW_VIEWS
            continue
        ray_directions(R, u[n], valid, d)
        if largest_angle(d, valid) < min_sin2 or not midpoint(centres, d, w, Xk, H, g, Ck):
            status[n] = PARALLEL
            continue
        if not robust:
            status[n] = _plain(R, t, u[n], A[n], sigma[n], prior[n], Xk, gamma[n], r2[n], w, H, g, Ck, step, r, J)
            if status[n] == OK:
                X[n], C[n] = Xk, Ck
            continue
        status[n] = _robust_point(
            R, t, centres, u[n], A[n], sigma[n], prior[n], spread, min_views, max_doubt, min_sin2, limit, Xk, C[n],
            gamma[n],
            r2[n], w, H, g, Ck, step, r, J, d, order, valid, points, scores, modes, evidence, covs, masks,
        )  # fmt: skip
        if status[n] == OK:
            X[n] = Xk
            _leverages(R, t, u[n], A[n], sigma[n], gamma[n], Xk, w, H, g, Ck, step, r, J, leverage[n])
        else:
            C[n] = np.nan


@njit(cache=True, error_model="numpy")
def _robust_point(
    R: Array, t: Array, centres: Array, u: Array, A: Array, sigma: Array, prior: Array, spread: float,
    min_views: int, max_doubt: float, min_sin2: float, limit: int, X: Array, C: Array, gamma: Array, r2: Array,
    w: Array, H: Array, g: Array, Ck: Array, step: Array, r: Array, J: Array, d: Array, order: Ints, valid: Bools,
    points: Array, scores: Array, modes: Array, evidence: Array, covs: Array, masks: Ints,
) -> int:  # fmt: skip
    V = R.shape[0]
    null = null_evidence(prior, spread)
    n, behind = 0, False
    for v in range(V):
        gamma[v] = prior[v]
        behind |= valid[v] and view_residual(R, t, u, A, v, X, r, J) < 0.0
    e = expectation_maximisation(R, t, u, A, sigma, prior, spread, X, gamma, r2, w, H, g, Ck, step, r, J)
    certain = e > null + 5.0
    for v in range(V):
        certain &= not valid[v] or gamma[v] > 0.9
    if e > -np.inf:
        modes[0], evidence[0], covs[0], masks[0], n = X, e, Ck, inlier_mask(gamma), 1
    if not certain:
        found = pair_points(
            R, t, centres, u, A, sigma, prior, spread, min_sin2, limit, d, points, scores, order, X, gamma, r2, w, H,
            g, Ck, r, J,
        )  # fmt: skip
        for k in range(found):
            X[:] = points[k]
            responsibilities(R, t, u, A, sigma, prior, spread, X, gamma, r2, r, J)
            if is_known(X, inlier_mask(gamma), modes, covs, masks, n):
                continue
            e = expectation_maximisation(R, t, u, A, sigma, prior, spread, X, gamma, r2, w, H, g, Ck, step, r, J)
            if e > -np.inf:
                modes[n], evidence[n], covs[n], masks[n] = X, e, Ck, inlier_mask(gamma)
                n += 1
    if n == 0:
        return BEHIND if behind else DISAGREE
    best = int(np.argmax(evidence[:n]))
    X[:] = modes[best]
    responsibilities(R, t, u, A, sigma, prior, spread, X, gamma, r2, r, J)
    scale = metres_per_pixel(R, t, A, prior, X)
    none = mode_spread(modes, evidence, covs, n, best, null, 3.0 * spread * scale, C)
    inliers = 0
    for v in range(V):
        valid[v] = gamma[v] > 0.5
        inliers += valid[v]
    if inliers < min_views or none > max_doubt:
        return DISAGREE
    if largest_angle(d, valid) < min_sin2:
        return PARALLEL
    return OK


@njit(cache=True, error_model="numpy")
def _leverages(
    R: Array, t: Array, u: Array, A: Array, sigma: Array, gamma: Array, X: Array, w: Array, H: Array, g: Array,
    C: Array, step: Array, r: Array, J: Array, leverage: Array,
) -> None:  # fmt: skip
    """Degrees of freedom [V] that the fit takes from each view: tr(w J C J^T), between 0 and 2."""
    for v in range(R.shape[0]):
        w[v] = gamma[v] / (sigma[v] * sigma[v]) if gamma[v] > 1e-6 else 0.0
    if not normal_equations(R, t, u, A, w, X, H, g, r, J) or not solve_symmetric(H, g, step, C):
        return
    for v in range(R.shape[0]):
        if w[v] <= 0.0:
            continue
        for i in range(2):
            for j in range(3):
                for k in range(3):
                    leverage[v] += w[v] * J[v, i, j] * C[j, k] * J[v, i, k]
