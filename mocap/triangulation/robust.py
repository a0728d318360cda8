"""Robust triangulation of many joints: all views first, subset hypotheses where a view is doubtful."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.triangulation.hypotheses import (
    CLEAR,
    KEPT_PAIRS,
    beyond_doubt,
    inlier_mask,
    is_known,
    mode_spread,
    pair_points,
)
from mocap.triangulation.kernels import (
    BEHIND,
    DISAGREE,
    FEW_VIEWS,
    OK,
    PARALLEL,
    midpoint,
    normal_equations,
    ray_directions,
    solve_symmetric,
    view_residual,
)
from mocap.triangulation.mixture import (
    PACKED,
    SUMS,
    expectation_maximisation,
    invert,
    leverages,
    metres_per_pixel,
    null_evidence,
    pack,
    pass_over_views,
)

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@njit(cache=True, error_model="numpy")
def have_angle(d: Array, valid: Bools, min_sin2: float) -> bool:
    """Whether sin^2 of the angle between two rays d [V, 3] that count reaches `min_sin2`."""
    for a in range(d.shape[0]):
        if not valid[a]:
            continue
        for b in range(a):
            if valid[b]:
                cosine = d[a, 0] * d[b, 0] + d[a, 1] * d[b, 1] + d[a, 2] * d[b, 2]
                if 1.0 - cosine * cosine >= min_sin2:
                    return True
    return False


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
    R: Array, t: Array, pose: Array, centres: Array, u: Array, A: Array, sigma: Array, prior: Array, spread: float,
    robust: bool, warm: bool, min_views: int, max_doubt: float, min_sin2: float, limit: int, X: Array, C: Array,
    gamma: Array, r2: Array, leverage: Array, status: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Triangulate N joints.

    Parameters
    ----------
    R [V, 3, 3], t [V, 3], pose [V, 3, 4] = [R | t], centres [V, 3] : cameras.
    u [N, V, 2], A [N, V, 2, 2] : normalised coordinates and px per normalised unit.
    sigma [N, V], prior [N, V] : pixel noise per axis and inlier probability; prior 0 = not seen.
    spread : scale of the outlier density, px.
    warm : start from X and gamma where there are any, and look for no other modes.
    X [N, 3], C [N, 3, 3], gamma, r2, leverage [N, V], status [N] : results.
    """
    V = R.shape[0]
    H, g, step, Ck = np.empty((3, 3)), np.empty(3), np.empty(3), np.empty((3, 3))
    r, J, d, w = np.empty((V, 2)), np.empty((V, 2, 3)), np.empty((V, 3)), np.empty(V)
    order, views, valid = np.empty(V, np.int64), np.empty(V, np.int64), np.empty(V, np.bool_)
    packed, sums = np.empty((V, PACKED)), np.empty(SUMS)
    points, scores = np.empty((KEPT_PAIRS, 3)), np.empty(KEPT_PAIRS)
    modes, evidence = np.empty((KEPT_PAIRS + 1, 3)), np.empty(KEPT_PAIRS + 1)
    covs, Xk = np.empty((KEPT_PAIRS + 1, 3, 3)), np.empty(3)
    masks = np.empty(KEPT_PAIRS + 1, np.int64)
    for n in range(u.shape[0]):
        known = warm and not np.isnan(X[n, 0])
        Xk[:] = X[n]
        X[n] = np.nan
        C[n] = np.nan
        r2[n] = np.nan
        leverage[n] = 0.0
        seen = 0
        for v in range(V):
            valid[v] = prior[n, v] > 0.0
            seen += valid[v]
            gamma[n, v] = gamma[n, v] if known else prior[n, v]
            w[v] = prior[n, v] / (sigma[n, v] * sigma[n, v]) if valid[v] else 0.0
        status[n] = FEW_VIEWS if seen < min_views else OK
        if seen >= min_views:
            ray_directions(R, u[n], valid, d)
            if not have_angle(d, valid, min_sin2) or not (known or midpoint(centres, d, w, Xk, H, g, Ck)):
                status[n] = PARALLEL
        if status[n] != OK:
            gamma[n] = 0.0
            continue
        if not robust:
            status[n] = _plain(R, t, u[n], A[n], sigma[n], prior[n], Xk, gamma[n], r2[n], w, H, g, Ck, step, r, J)
            if status[n] == OK:
                X[n], C[n] = Xk, Ck
            continue
        pack(u[n], A[n], sigma[n], prior[n], spread, views, packed)
        status[n] = _robust_point(
            pose, centres, packed, views, seen, sigma[n], prior[n], spread, known, min_views, max_doubt, min_sin2,
            limit, Xk, C[n], gamma[n], r2[n], sums, Ck, d, order, valid, points, scores, modes, evidence, covs, masks,
        )  # fmt: skip
        if status[n] == OK:
            X[n] = Xk
            if invert(sums, Ck):
                leverages(pose, packed, views, seen, Xk, gamma[n], Ck, leverage[n])
        else:
            C[n] = np.nan


@njit(cache=True, error_model="numpy")
def _robust_point(
    pose: Array, centres: Array, packed: Array, views: Ints, seen: int, sigma: Array, prior: Array, spread: float,
    known: bool, min_views: int, max_doubt: float, min_sin2: float, limit: int, X: Array, C: Array, gamma: Array,
    r2: Array, sums: Array, Ck: Array, d: Array, order: Ints, valid: Bools, points: Array, scores: Array,
    modes: Array, evidence: Array, covs: Array, masks: Ints,
) -> int:  # fmt: skip
    null = null_evidence(seen, spread)
    n, behind, certain = 0, False, False
    if np.isnan(pass_over_views(pose, packed, views, seen, spread, X, True, gamma, r2, sums)):
        behind = True
    else:
        e = expectation_maximisation(pose, packed, views, seen, spread, X, gamma, r2, sums, Ck)
        certain = known or e > null + 5.0
        for k in range(seen):
            certain &= known or gamma[views[k]] > CLEAR
        certain = certain or (e > null + 5.0 and beyond_doubt(pose, packed, views, seen, spread, X, gamma))
        if e > -np.inf:
            modes[0], evidence[0], covs[0], masks[0], n = X, e, Ck, inlier_mask(gamma), 1
    if not certain:
        n = _other_modes(
            pose, centres, packed, views, seen, sigma, prior, spread, min_sin2, limit, X, gamma, r2, sums, Ck, d, order,
            points, scores, modes, evidence, covs, masks, n,
        )  # fmt: skip
    if n == 0:
        return BEHIND if behind else DISAGREE
    best = int(np.argmax(evidence[:n]))
    if not certain:
        X[:] = modes[best]
        pass_over_views(pose, packed, views, seen, spread, X, False, gamma, r2, sums)
    none = mode_spread(modes, evidence, covs, n, best, null, 3.0 * spread * metres_per_pixel(sums), C)
    inliers = 0
    for v in range(valid.shape[0]):
        valid[v] = gamma[v] > 0.5
        inliers += valid[v]
    if inliers < min_views or none > max_doubt:
        return DISAGREE
    return OK if have_angle(d, valid, min_sin2) else PARALLEL


@njit(cache=True, error_model="numpy")
def _other_modes(
    pose: Array, centres: Array, packed: Array, views: Ints, seen: int, sigma: Array, prior: Array, spread: float,
    min_sin2: float, limit: int, X: Array, gamma: Array, r2: Array, sums: Array, Ck: Array, d: Array, order: Ints,
    points: Array, scores: Array, modes: Array, evidence: Array, covs: Array, masks: Ints, n: int,
) -> int:  # fmt: skip
    """Modes that view pairs lead to, added to the n known ones; how many there are then."""
    found = pair_points(
        pose, centres, packed, views, seen, sigma, prior, spread, min_sin2, limit, d, points, scores, order, X
    )
    for k in range(found):
        X[:] = points[k]
        pass_over_views(pose, packed, views, seen, spread, X, False, gamma, r2, sums)
        if is_known(X, inlier_mask(gamma), modes, covs, masks, n):
            continue
        e = expectation_maximisation(pose, packed, views, seen, spread, X, gamma, r2, sums, Ck)
        if e > -np.inf:
            modes[n], evidence[n], covs[n], masks[n] = X, e, Ck, inlier_mask(gamma)
            n += 1
    return n
