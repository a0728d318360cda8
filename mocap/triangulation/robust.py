"""Robust triangulation of many joints: all views first, subset hypotheses where a view is doubtful.

One joint after the other, in scratch arrays that are made once, each copied into and out of number by number:
views into arrays and assignments of whole rows cost more than the arithmetic.
"""

from __future__ import annotations

from math import exp, sqrt

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
from mocap.triangulation.kernels import BEHIND, DISAGREE, FEW_VIEWS, OK, PARALLEL
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

# Log evidence that a point must have over "no two views agree" to be beyond doubt.
_SURE = 5.0


@njit(cache=True, error_model="numpy", nogil=True)
def robust_points(
    R: Array, pose: Array, centres: Array, u: Array, A: Array, sigma: Array, prior: Array, spread: float, warm: bool,
    min_views: int, max_doubt: float, min_sin2: float, limit: int, X: Array, C: Array, gamma: Array, r2: Array,
    leverage: Array, status: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Triangulate N joints.

    Parameters
    ----------
    R [V, 3, 3], pose [V, 3, 4] = [R | t], centres [V, 3] : cameras.
    u [N, V, 2], A [N, V, 2, 2] : normalised coordinates and px per normalised unit.
    sigma [N, V], prior [N, V] : pixel noise per axis and inlier probability; prior 0 or u NaN = not seen.
    spread : scale of the outlier density, px.
    warm : start from X and gamma where there are any, and look for no other modes.
    X [N, 3], C [N, 3, 3], gamma, r2 [N, V], status [N] : results.
    leverage [N, V] : result, zeros before; [0, V] where it is not wanted.
    """
    V = R.shape[0]
    views, order, masks = np.empty(V, np.int64), np.empty(V, np.int64), np.empty(KEPT_PAIRS + 1, np.int64)
    packed, d, sums, x = np.empty((V, PACKED)), np.empty((V, 3)), np.empty(SUMS), np.empty(3)
    inlier, square, points, scores = np.empty(V), np.empty(V), np.empty((KEPT_PAIRS, 3)), np.empty(KEPT_PAIRS)
    modes, evidence = np.empty((KEPT_PAIRS + 1, 3)), np.empty(KEPT_PAIRS + 1)
    covs, cov = np.empty((KEPT_PAIRS + 1, 6)), np.empty(6)
    for n in range(u.shape[0]):
        known = warm and not np.isnan(X[n, 0])
        seen = pack(u, A, sigma, prior, n, spread, views, packed)
        for k in range(seen):
            inlier[k], square[k] = gamma[n, views[k]] if known else prior[n, views[k]], np.nan
        for i in range(3):
            x[i] = X[n, i]
        status[n] = FEW_VIEWS
        if seen >= min_views:
            ray_directions(R, packed, views, seen, d)
            status[n] = PARALLEL
            if have_angle(d, seen, min_sin2) and (known or midpoint(centres, packed, views, seen, d, x)):
                status[n] = _robust_point(
                    pose, centres, packed, views, seen, spread, known, min_views, max_doubt, min_sin2, limit, x, cov,
                    inlier, square, sums, d, order, points, scores, modes, evidence, covs, masks,
                )  # fmt: skip
            else:
                seen = 0
        else:
            seen = 0
        _write_down(n, status[n] == OK, views, seen, x, cov, inlier, square, X, C, gamma, r2)
        if len(leverage) and status[n] == OK and invert(sums, cov):
            leverages(pose, packed, views, seen, x, inlier, cov, n, leverage)


@njit(cache=True, error_model="numpy")
def _write_down(
    n: int, good: bool, views: Ints, seen: int, x: Array, cov: Array, inlier: Array, square: Array, X: Array, C: Array,
    gamma: Array, r2: Array,
) -> None:  # fmt: skip
    """Row n of the results: x [3], cov [6], inlier [V] and square [V] of the views seen; NaN and 0 elsewhere."""
    for v in range(gamma.shape[1]):
        gamma[n, v], r2[n, v] = 0.0, np.nan
    for k in range(seen):
        gamma[n, views[k]], r2[n, views[k]] = inlier[k], square[k]
    for i in range(3):
        X[n, i] = x[i] if good else np.nan
    if not good:
        cov[:] = np.nan
    C[n, 0, 0], C[n, 1, 1], C[n, 2, 2] = cov[0], cov[3], cov[5]
    C[n, 0, 1] = C[n, 1, 0] = cov[1]
    C[n, 0, 2] = C[n, 2, 0] = cov[2]
    C[n, 1, 2] = C[n, 2, 1] = cov[4]


@njit(cache=True, error_model="numpy")
def ray_directions(R: Array, packed: Array, views: Ints, seen: int, d: Array) -> None:
    """World unit vectors d [V, 3] of the views seen, in the order of `packed`."""
    for k in range(seen):
        v, x, y = views[k], packed[k, 0], packed[k, 1]
        n = 1.0 / sqrt(x * x + y * y + 1.0)
        for i in range(3):
            d[k, i] = (R[v, 0, i] * x + R[v, 1, i] * y + R[v, 2, i]) * n


@njit(cache=True, error_model="numpy")
def have_angle(d: Array, seen: int, min_sin2: float) -> bool:
    """Whether sin^2 of the angle between two of the first `seen` rays d [V, 3] reaches `min_sin2`."""
    for a in range(seen):
        for b in range(a):
            cosine = d[a, 0] * d[b, 0] + d[a, 1] * d[b, 1] + d[a, 2] * d[b, 2]
            if 1.0 - cosine * cosine >= min_sin2:
                return True
    return False


@njit(cache=True, error_model="numpy")
def midpoint(centres: Array, packed: Array, views: Ints, seen: int, d: Array, X: Array) -> bool:
    """The point X nearest to the rays of the views seen, each weighted by its inliers' density; False if parallel."""
    a = b = c = e = f = h = p = q = r = 0.0  # H = [[a, b, c], [b, e, f], [c, f, h]]
    for k in range(seen):
        v, w, x, y, z = views[k], packed[k, 6], d[k, 0], d[k, 1], d[k, 2]
        ox, oy, oz = centres[v, 0], centres[v, 1], centres[v, 2]
        along = x * ox + y * oy + z * oz
        p, q, r = p + w * (ox - along * x), q + w * (oy - along * y), r + w * (oz - along * z)
        a, e, h = a + w * (1.0 - x * x), e + w * (1.0 - y * y), h + w * (1.0 - z * z)
        b, c, f = b - w * x * y, c - w * x * z, f - w * y * z
    m00, m01, m02 = e * h - f * f, c * f - b * h, b * f - c * e
    det, trace = a * m00 + b * m01 + c * m02, a + e + h
    if not (det > 1e-16 * trace * trace * trace):
        return False
    m11, m12, m22 = a * h - c * c, b * c - a * f, a * e - b * b
    X[0] = (m00 * p + m01 * q + m02 * r) / det
    X[1] = (m01 * p + m11 * q + m12 * r) / det
    X[2] = (m02 * p + m12 * q + m22 * r) / det
    return True


@njit(cache=True, error_model="numpy")
def _robust_point(
    pose: Array, centres: Array, packed: Array, views: Ints, seen: int, spread: float, known: bool, min_views: int,
    max_doubt: float, min_sin2: float, limit: int, X: Array, C: Array, gamma: Array, r2: Array, sums: Array, d: Array,
    order: Ints, points: Array, scores: Array, modes: Array, evidence: Array, covs: Array, masks: Ints,
) -> int:  # fmt: skip
    """Point X [3] of one joint and its covariance C [6]; status."""
    null = null_evidence(seen, spread)
    n, behind = 0, False
    if np.isnan(pass_over_views(pose, packed, views, seen, spread, X, True, gamma, r2, sums)):
        behind = True
    else:
        e = expectation_maximisation(pose, packed, views, seen, spread, X, gamma, r2, sums, C)
        if known and e == -np.inf:
            return DISAGREE
        if known or (e > null + _SURE and _agree(pose, packed, views, seen, spread, X, gamma)):
            top = max(e, null)
            none = exp(null - top)
            return _verdict(none / (none + exp(e - top)), d, seen, gamma, min_views, max_doubt, min_sin2)
        if e > -np.inf:
            n = _keep(X, C, e, inlier_mask(gamma, seen), 0, modes, covs, evidence, masks)
    n = _other_modes(
        pose, centres, packed, views, seen, spread, min_sin2, limit, X, C, gamma, r2, sums, d, order, points, scores,
        modes, evidence, covs, masks, n,
    )  # fmt: skip
    if n == 0:
        return BEHIND if behind else DISAGREE
    best = 0
    for k in range(1, n):
        if evidence[k] > evidence[best]:
            best = k
    for i in range(3):
        X[i] = modes[best, i]
    pass_over_views(pose, packed, views, seen, spread, X, False, gamma, r2, sums)
    none = mode_spread(modes, evidence, covs, n, best, null, 3.0 * spread * metres_per_pixel(sums), C)
    return _verdict(none, d, seen, gamma, min_views, max_doubt, min_sin2)


@njit(cache=True, error_model="numpy")
def _agree(pose: Array, packed: Array, views: Ints, seen: int, spread: float, X: Array, gamma: Array) -> bool:
    """Whether all views agree on X [3], or enough for no other point to come near."""
    for k in range(seen):
        if not gamma[k] > CLEAR:
            return bool(beyond_doubt(pose, packed, views, seen, spread, X, gamma))
    return True


@njit(cache=True, error_model="numpy")
def _verdict(none: float, d: Array, seen: int, gamma: Array, min_views: int, max_doubt: float, min_sin2: float) -> int:
    """Status of a point with these inlier probabilities that is no point with probability `none`."""
    inliers, angle = 0, False
    for a in range(seen):
        if gamma[a] > 0.5:
            inliers += 1
            for b in range(a):
                cosine = d[a, 0] * d[b, 0] + d[a, 1] * d[b, 1] + d[a, 2] * d[b, 2]
                angle |= gamma[b] > 0.5 and 1.0 - cosine * cosine >= min_sin2
    if inliers < min_views or none > max_doubt:
        return DISAGREE
    return OK if angle else PARALLEL


@njit(cache=True, error_model="numpy")
def _keep(
    X: Array, C: Array, e: float, mask: int, n: int, modes: Array, covs: Array, evidence: Array, masks: Ints
) -> int:
    """Write down mode n; how many there are then."""
    for i in range(3):
        modes[n, i] = X[i]
    for i in range(6):
        covs[n, i] = C[i]
    evidence[n], masks[n] = e, mask
    return n + 1


@njit(cache=True, error_model="numpy")
def _other_modes(
    pose: Array, centres: Array, packed: Array, views: Ints, seen: int, spread: float, min_sin2: float, limit: int,
    X: Array, C: Array, gamma: Array, r2: Array, sums: Array, d: Array, order: Ints, points: Array, scores: Array,
    modes: Array, evidence: Array, covs: Array, masks: Ints, n: int,
) -> int:  # fmt: skip
    """Modes that view pairs lead to, added to the n known ones; how many there are then."""
    found = pair_points(pose, centres, packed, views, seen, spread, min_sin2, limit, d, points, scores, order, X)
    for j in range(found):
        for i in range(3):
            X[i] = points[j, i]
        pass_over_views(pose, packed, views, seen, spread, X, False, gamma, r2, sums)
        if is_known(X, inlier_mask(gamma, seen), modes, covs, masks, n):
            continue
        e = expectation_maximisation(pose, packed, views, seen, spread, X, gamma, r2, sums, C)
        if e > -np.inf:
            n = _keep(X, C, e, inlier_mask(gamma, seen), n, modes, covs, evidence, masks)
    return n
