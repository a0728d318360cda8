"""Subset hypotheses of one joint: points of view pairs, and what rival modes say about doubt."""

from __future__ import annotations

from math import exp

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.triangulation.kernels import KEPT_PAIRS, log_likelihood, midpoint, responsibilities, view_residual

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@njit(cache=True, error_model="numpy")
def trusted_views(
    sigma: Array,
    prior: Array,
    limit: int,
    order: Ints,
) -> int:
    """Indices of the `limit` most trusted views in `order` [V]; how many there are."""
    n = 0
    for v in range(prior.shape[0]):
        if prior[v] <= 0.0:
            continue
        trust = prior[v] / sigma[v]
        k = n
        while k > 0 and prior[order[k - 1]] / sigma[order[k - 1]] < trust:
            order[k] = order[k - 1]
            k -= 1
        order[k] = v
        n += 1
    return min(n, limit)


@njit(cache=True, error_model="numpy")
def pair_points(
    R: Array, t: Array, centres: Array, u: Array, A: Array, sigma: Array, prior: Array, spread: float,
    min_sin2: float, limit: int, d: Array, points: Array, scores: Array, order: Ints, X: Array, gamma: Array,
    r2: Array, w: Array, H: Array, g: Array, C: Array, r: Array, J: Array,
) -> int:  # fmt: skip
    """The best `KEPT_PAIRS` view-pair points by mixture likelihood; how many were found."""
    n = trusted_views(sigma, prior, limit, order)
    found = 0
    for ia in range(n):
        for ib in range(ia):
            a, b = order[ia], order[ib]
            cosine = d[a, 0] * d[b, 0] + d[a, 1] * d[b, 1] + d[a, 2] * d[b, 2]
            if 1.0 - cosine * cosine < min_sin2:
                continue
            w[:] = 0.0
            w[a] = w[b] = 1.0
            if not midpoint(centres, d, w, X, H, g, C):
                continue
            if view_residual(R, t, u, A, a, X, r, J) < 0.0:
                continue
            if view_residual(R, t, u, A, b, X, r, J) < 0.0:
                continue
            responsibilities(R, t, u, A, sigma, prior, spread, X, gamma, r2, r, J)
            score = log_likelihood(sigma, prior, spread, r2)
            k = min(found, KEPT_PAIRS - 1)
            if found >= KEPT_PAIRS and score <= scores[k]:
                continue
            while k > 0 and scores[k - 1] < score:
                scores[k] = scores[k - 1]
                points[k] = points[k - 1]
                k -= 1
            scores[k] = score
            points[k] = X
            found = min(found + 1, KEPT_PAIRS)
    return found


@njit(cache=True, error_model="numpy")
def mode_spread(
    modes: Array, evidence: Array, covariances: Array, n: int, best: int, null: float, reach: float, C: Array,
) -> float:  # fmt: skip
    """Covariance C of the best of n modes with what rival modes add.

    `reach` is the standard deviation, metres, of where a rival may lie: a wrong detection is near the
    person, so a mode at the other end of the hall is no rival. Returns the posterior probability
    that no two views agree.
    """
    top = max(evidence[best], null)
    total = exp(null - top)
    none = total
    for k in range(n):
        distance, size = 0.0, 0.0
        for i in range(3):
            distance += (modes[k, i] - modes[best, i]) ** 2
            size += covariances[best, i, i]
        # The same mode reached from two starts counts once.
        if k != best and distance < 0.05 * size:
            evidence[k] = -np.inf
        evidence[k] -= 0.5 * distance / (reach * reach)
        total += exp(evidence[k] - top)
    C[:] = 0.0
    live = total - none
    for k in range(n):
        p = exp(evidence[k] - top) / live if live > 0.0 else (1.0 if k == best else 0.0)
        if p < 1e-9:
            continue
        for i in range(3):
            for j in range(3):
                C[i, j] += p * (covariances[k, i, j] + (modes[k, i] - modes[best, i]) * (modes[k, j] - modes[best, j]))
    return none / total


@njit(cache=True, error_model="numpy")
def inlier_mask(gamma: Array) -> int:
    """Views that are more probably inliers than not, as bits."""
    mask = np.int64(0)
    for v in range(gamma.shape[0]):
        if gamma[v] > 0.5:
            mask |= np.int64(1) << np.int64(v)
    return int(mask)


@njit(cache=True, error_model="numpy")
def is_known(X: Array, mask: int, modes: Array, covs: Array, masks: Ints, n: int) -> bool:
    """Whether X, with these inliers, lies at one of the n modes: it would only lead there again."""
    for k in range(n):
        distance, size = 0.0, 0.0
        for i in range(3):
            distance += (X[i] - modes[k, i]) ** 2
            size += covs[k, i, i]
        if masks[k] == mask and distance < 16.0 * size:
            return True
    return False
