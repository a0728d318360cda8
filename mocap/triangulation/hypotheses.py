"""Subset hypotheses of one joint: points of view pairs, and what rival modes say about doubt."""

from __future__ import annotations

from math import exp, log

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.triangulation.mixture import LEAST_DEPTH, log_likelihood

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

KEPT_PAIRS = 4
# Inlier probability of a view that agrees.
CLEAR = 0.9
# Log likelihood ratio beyond which a rival adds nothing, not even to the covariance of a point metres away from it
# and where its own covariance is a thousand times as large.
_MARGIN = 20.0


@njit(cache=True, error_model="numpy")
def trusted_views(packed: Array, seen: int, limit: int, order: Ints) -> int:
    """Rows of `packed` of the `limit` most trusted views in `order` [V]; how many there are."""
    for k in range(seen):
        trust = packed[k, 6] * packed[k, 6] / packed[k, 5]  # (inlier probability / sigma)^2, up to a factor
        i = k
        while i > 0 and packed[order[i - 1], 6] * packed[order[i - 1], 6] / packed[order[i - 1], 5] < trust:
            order[i] = order[i - 1]
            i -= 1
        order[i] = k
    return min(seen, limit)


@njit(cache=True, error_model="numpy")
def pair_points(
    pose: Array, centres: Array, packed: Array, views: Ints, seen: int, spread: float, min_sin2: float, limit: int,
    d: Array, points: Array, scores: Array, order: Ints, X: Array,
) -> int:  # fmt: skip
    """The best `KEPT_PAIRS` view-pair points by mixture likelihood; how many were found.

    d [V, 3] are the ray directions of the seen views, in the order of `packed`; packed, views, seen: see
    `mocap.triangulation.mixture.pack`.
    """
    n = trusted_views(packed, seen, limit, order)
    found = 0
    for ia in range(n):
        for ib in range(ia):
            a, b = order[ia], order[ib]
            cosine = d[a, 0] * d[b, 0] + d[a, 1] * d[b, 1] + d[a, 2] * d[b, 2]
            if 1.0 - cosine * cosine < min_sin2 or not _between(centres, d, views, a, b, cosine, X):
                continue
            if _depth(pose, views[a], X) <= LEAST_DEPTH or _depth(pose, views[b], X) <= LEAST_DEPTH:
                continue
            score = log_likelihood(pose, packed, views, seen, spread, X)
            k = min(found, KEPT_PAIRS - 1)
            if found >= KEPT_PAIRS and score <= scores[k]:
                continue
            while k > 0 and scores[k - 1] < score:
                scores[k] = scores[k - 1]
                for i in range(3):
                    points[k, i] = points[k - 1, i]
                k -= 1
            scores[k] = score
            for i in range(3):
                points[k, i] = X[i]
            found = min(found + 1, KEPT_PAIRS)
    return found


@njit(cache=True, error_model="numpy")
def beyond_doubt(
    pose: Array, packed: Array, views: Ints, seen: int, spread: float, X: Array, gamma: Array,
) -> bool:  # fmt: skip
    """Whether no other point can come near the likelihood of X [3], whatever the doubtful views say.

    Another point may have every doubtful view as a perfect inlier, but no more than two, or half, of those that
    agree on X: two rays fix a point. Without this, most joints of large rigs were searched for rivals, as one of
    many views is nearly always wrong, and time grew faster than with the number of views.
    """
    rival, gain, agreeing = 0.0, 0.0, 0
    for k in range(seen):
        outside, inside = log(packed[k, 7]), log(packed[k, 6] + packed[k, 7])
        if gamma[k] > CLEAR:
            rival += outside
            gain = max(gain, inside - outside)
            agreeing += 1
        else:
            rival += inside
    rival += max(2, agreeing // 2) * gain
    return agreeing > 2 and log_likelihood(pose, packed, views, seen, spread, X) > rival + _MARGIN


@njit(cache=True, error_model="numpy")
def _between(centres: Array, d: Array, views: Ints, a: int, b: int, cosine: float, X: Array) -> bool:
    """X [3] becomes the point nearest to the rays of the seen views a and b; False where they are parallel."""
    along_a, along_b, sin2 = 0.0, 0.0, 1.0 - cosine * cosine
    if not sin2 > 1e-12:
        return False
    va, vb = views[a], views[b]
    for i in range(3):
        e = centres[vb, i] - centres[va, i]
        along_a += d[a, i] * e
        along_b += d[b, i] * e
    s, q = (along_a - cosine * along_b) / sin2, (cosine * along_a - along_b) / sin2
    for i in range(3):
        X[i] = 0.5 * (centres[va, i] + s * d[a, i] + centres[vb, i] + q * d[b, i])
    return True


@njit(cache=True, error_model="numpy")
def _depth(pose: Array, v: int, X: Array) -> float:
    return float(pose[v, 2, 0] * X[0] + pose[v, 2, 1] * X[1] + pose[v, 2, 2] * X[2] + pose[v, 2, 3])


@njit(cache=True, error_model="numpy")
def mode_spread(
    modes: Array, evidence: Array, covariances: Array, n: int, best: int, null: float, reach: float, C: Array,
) -> float:  # fmt: skip
    """Covariance C [6] (xx, xy, xz, yy, yz, zz) of the best of n modes with what rival modes add.

    `reach` is the standard deviation, metres, of where a rival may lie: a wrong detection is near the
    person, so a mode at the other end of the hall is no rival. Returns the posterior probability
    that no two views agree.
    """
    top = max(evidence[best], null)
    total = exp(null - top)
    none = total
    for k in range(n):
        distance = 0.0
        for i in range(3):
            distance += (modes[k, i] - modes[best, i]) ** 2
        # The same mode reached from two starts counts once.
        if k != best and distance < 0.05 * _trace(covariances, best):
            evidence[k] = -np.inf
        evidence[k] -= 0.5 * distance / (reach * reach)
        total += exp(evidence[k] - top)
    for i in range(6):
        C[i] = 0.0
    live = total - none
    for k in range(n):
        p = exp(evidence[k] - top) / live if live > 0.0 else (1.0 if k == best else 0.0)
        if p < 1e-9:
            continue
        x, y, z = modes[k, 0] - modes[best, 0], modes[k, 1] - modes[best, 1], modes[k, 2] - modes[best, 2]
        C[0] += p * (covariances[k, 0] + x * x)
        C[1] += p * (covariances[k, 1] + x * y)
        C[2] += p * (covariances[k, 2] + x * z)
        C[3] += p * (covariances[k, 3] + y * y)
        C[4] += p * (covariances[k, 4] + y * z)
        C[5] += p * (covariances[k, 5] + z * z)
    return none / total


@njit(cache=True, error_model="numpy", inline="always")
def _trace(covariances: Array, k: int) -> float:
    return float(covariances[k, 0] + covariances[k, 3] + covariances[k, 5])


@njit(cache=True, error_model="numpy")
def inlier_mask(gamma: Array, seen: int) -> int:
    """Views that are more probably inliers than not, as bits in the order of `packed`."""
    mask = np.int64(0)
    for k in range(seen):
        if gamma[k] > 0.5:
            mask |= np.int64(1) << np.int64(k)
    return int(mask)


@njit(cache=True, error_model="numpy")
def is_known(X: Array, mask: int, modes: Array, covs: Array, masks: Ints, n: int) -> bool:
    """Whether X, with these inliers, lies at one of the n modes: it would only lead there again."""
    for k in range(n):
        distance = 0.0
        for i in range(3):
            distance += (X[i] - modes[k, i]) ** 2
        if masks[k] == mask and distance < 16.0 * _trace(covs, k):
            return True
    return False
