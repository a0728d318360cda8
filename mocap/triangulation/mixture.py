"""Inliers and outliers of one joint, compiled: expectation-maximisation over the views that see it.

Observations enter as undistorted normalised coordinates `u` with the Jacobian `A` of the lens
there (px per normalised unit), so that a residual in px needs no lens model: A (x/z - u). That is
exact at the observation and second-order small for inliers; `mocap.triangulation.finish` ends
with a Gauss-Newton step on the full model.

What does not change while a joint is worked on is packed once, view by view (`pack`); one pass over
the views then gives responsibilities, likelihood and normal equations together, in scalars.

Sources: the mixture of inliers and outliers is Hartley & Zisserman's and Vogiatzis & Hernandez
2011 (eq. 1) with a Gaussian inlier and a bivariate Cauchy outlier density; evidence of a
hypothesis by Laplace's method (MacKay 2003, ch. 27).
"""

from __future__ import annotations

from math import exp, log, pi, sqrt

import numpy as np
from numba import njit
from numpy.typing import NDArray

EM_STEPS = 10
# Columns of what `pack` makes, and of the sums of `pass_over_views`.
PACKED, SUMS = 9, 11

# Metres: what is nearer to a camera counts as behind it.
LEAST_DEPTH = 1e-6
# Inlier probability below which a view does not count.
LEAST_GAMMA = 1e-6
# The product of densities is taken into the logarithm before it underflows.
_SMALL = 1e-200

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@njit(cache=True, error_model="numpy")
def pack(u: Array, A: Array, sigma: Array, prior: Array, spread: float, views: Ints, packed: Array) -> int:
    """Rows of `packed` [V, PACKED] and `views` [V] for the views that see the joint; how many they are.

    u [V, 2], A [V, 2, 2], sigma [V], prior [V]: see `robust_points`. A row holds u, the metric A^T A (xx, xy,
    yy), 1 / sigma^2, the height of the inliers' and of the outliers' density, and normalised units per px.
    """
    n = 0
    height = 1.0 / (2.0 * pi * spread * spread)
    for v in range(prior.shape[0]):
        if prior[v] <= 0.0:
            continue
        a, b, c, d = A[v, 0, 0], A[v, 0, 1], A[v, 1, 0], A[v, 1, 1]
        precision = 1.0 / (sigma[v] * sigma[v])
        packed[n, 0], packed[n, 1] = u[v, 0], u[v, 1]
        packed[n, 2], packed[n, 3], packed[n, 4] = a * a + c * c, a * b + c * d, b * b + d * d
        packed[n, 5] = precision
        packed[n, 6] = prior[v] * precision / (2.0 * pi)
        packed[n, 7] = (1.0 - prior[v]) * height
        packed[n, 8] = 1.0 / sqrt(abs(a * d - b * c))
        views[n] = v
        n += 1
    return n


@njit(cache=True, error_model="numpy")
def log_likelihood(pose: Array, packed: Array, views: Ints, n: int, spread: float, X: Array) -> float:
    """Of the mixture at X [3]; pose [V, 3, 4] are [R | t]."""
    outside2 = 1.0 / (spread * spread)
    total, product = 0.0, 1.0
    for k in range(n):
        v = views[k]
        z = pose[v, 2, 0] * X[0] + pose[v, 2, 1] * X[1] + pose[v, 2, 2] * X[2] + pose[v, 2, 3]
        if z <= LEAST_DEPTH:
            product *= 1e-3 * packed[k, 7]
        else:
            near = 1.0 / z
            ex = (pose[v, 0, 0] * X[0] + pose[v, 0, 1] * X[1] + pose[v, 0, 2] * X[2] + pose[v, 0, 3]) * near
            ey = (pose[v, 1, 0] * X[0] + pose[v, 1, 1] * X[1] + pose[v, 1, 2] * X[2] + pose[v, 1, 3]) * near
            ex -= packed[k, 0]
            ey -= packed[k, 1]
            e2 = ex * (packed[k, 2] * ex + 2.0 * packed[k, 3] * ey) + packed[k, 4] * ey * ey
            tail = 1.0 + e2 * outside2
            product *= packed[k, 6] * exp(-0.5 * e2 * packed[k, 5]) + packed[k, 7] / (tail * sqrt(tail))
        if product < _SMALL:
            total += log(product)
            product = 1.0
    return total + log(product)


@njit(cache=True, error_model="numpy")
def pass_over_views(
    pose: Array, packed: Array, views: Ints, n: int, spread: float, X: Array, given: bool, gamma: Array, r2: Array,
    sums: Array,
) -> float:  # fmt: skip
    """Responsibilities at X [3], and the normal equations that they weigh; the log likelihood.

    Parameters
    ----------
    pose : float64 [V, 3, 4]
        [R | t].
    packed, views, n : from `pack`
    given : bool
        Take `gamma` as it is; NaN is returned where a view that counts has X behind it, else 0.
    gamma, r2 : float64 [V]
        Inlier probability and squared residual, px2 (NaN behind a view), of the views that see the joint.
    sums : float64 [SUMS]
        Result: H = sum w J^T J (xx, xy, xz, yy, yz, zz), g = sum w J^T r, metres per pixel summed over the views
        that have X before them, and their number.
    """
    outside2 = 1.0 / (spread * spread)
    p, q, s = X[0], X[1], X[2]
    h00 = h01 = h02 = h11 = h12 = h22 = g0 = g1 = g2 = scale = count = 0.0
    total, product = 0.0, 1.0
    for k in range(n):
        v = views[k]
        r20, r21, r22 = pose[v, 2, 0], pose[v, 2, 1], pose[v, 2, 2]
        z = r20 * p + r21 * q + r22 * s + pose[v, 2, 3]
        if z <= LEAST_DEPTH:
            if given:
                return np.nan
            gamma[v], r2[v] = 0.0, np.nan
            product *= 1e-3 * packed[k, 7]
            continue
        scale, count, near = scale + z * packed[k, 8], count + 1.0, 1.0 / z
        r00, r01, r02 = pose[v, 0, 0], pose[v, 0, 1], pose[v, 0, 2]
        r10, r11, r12 = pose[v, 1, 0], pose[v, 1, 1], pose[v, 1, 2]
        x = (r00 * p + r01 * q + r02 * s + pose[v, 0, 3]) * near
        y = (r10 * p + r11 * q + r12 * s + pose[v, 1, 3]) * near
        ex, ey = x - packed[k, 0], y - packed[k, 1]
        xx, xy, yy, height, floor = packed[k, 2], packed[k, 3], packed[k, 4], packed[k, 6], packed[k, 7]
        cx, cy = xx * ex + xy * ey, xy * ex + yy * ey
        if not given:
            e2 = ex * cx + ey * cy
            inlier, tail = height * exp(-0.5 * e2 * packed[k, 5]), 1.0 + e2 * outside2
            both = inlier + floor / (tail * sqrt(tail))
            gamma[v], r2[v] = inlier / both, e2
            product *= both
            if product < _SMALL:
                total, product = total + log(product), 1.0
        w = gamma[v]
        if not w > LEAST_GAMMA:
            continue
        w *= packed[k, 5] * near
        a0, a1, a2 = r00 - x * r20, r01 - x * r21, r02 - x * r22
        b0, b1, b2 = r10 - y * r20, r11 - y * r21, r12 - y * r22
        g0 += w * (a0 * cx + b0 * cy)
        g1 += w * (a1 * cx + b1 * cy)
        g2 += w * (a2 * cx + b2 * cy)
        w *= near
        xx, xy, yy = w * xx, w * xy, w * yy
        c0, d0 = xx * a0 + xy * b0, xy * a0 + yy * b0
        c1, d1 = xx * a1 + xy * b1, xy * a1 + yy * b1
        h00 += a0 * c0 + b0 * d0
        h01 += a1 * c0 + b1 * d0
        h02 += a2 * c0 + b2 * d0
        h11 += a1 * c1 + b1 * d1
        h12 += a2 * c1 + b2 * d1
        h22 += a2 * (xx * a2 + xy * b2) + b2 * (xy * a2 + yy * b2)
    sums[0], sums[1], sums[2], sums[3], sums[4], sums[5] = h00, h01, h02, h11, h12, h22
    sums[6], sums[7], sums[8], sums[9], sums[10] = g0, g1, g2, scale, count
    return total + log(product)


@njit(cache=True, error_model="numpy")
def invert(sums: Array, C: Array) -> bool:
    """C [3, 3] becomes the inverse of the H of `sums`; False where it has none."""
    a, b, c, d, e, f = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    m00, m01, m02 = d * f - e * e, c * e - b * f, b * e - c * d
    det, trace = a * m00 + b * m01 + c * m02, a + d + f
    if not (det > 1e-16 * trace * trace * trace):
        return False
    one = 1.0 / det
    C[0, 0], C[1, 1], C[2, 2] = m00 * one, (a * f - c * c) * one, (a * d - b * b) * one
    C[0, 1] = C[1, 0] = m01 * one
    C[0, 2] = C[2, 0] = m02 * one
    C[1, 2] = C[2, 1] = (b * c - a * e) * one
    return True


@njit(cache=True, error_model="numpy")
def expectation_maximisation(
    pose: Array, packed: Array, views: Ints, n: int, spread: float, X: Array, gamma: Array, r2: Array, sums: Array,
    C: Array,
) -> float:  # fmt: skip
    """Refine X [3] and gamma [V] in place, from the `sums` at X; the log evidence of the mode.

    It is -inf where the mode breaks down. `sums` become those at the result. The prior volume is the cube
    whose side is what `spread` means at X, so that the evidence compares with "no two views agree"
    (`null_evidence`).
    """
    total = 0.0
    for _ in range(EM_STEPS):
        if not invert(sums, C):
            return -np.inf
        move = 0.0
        for i in range(3):
            step = C[i, 0] * sums[6] + C[i, 1] * sums[7] + C[i, 2] * sums[8]
            X[i] -= step
            move += step * step
        total = pass_over_views(pose, packed, views, n, spread, X, False, gamma, r2, sums)
        if move < 1e-4 * (C[0, 0] + C[1, 1] + C[2, 2]):
            break
    det = (
        C[0, 0] * (C[1, 1] * C[2, 2] - C[1, 2] * C[1, 2])
        - C[0, 1] * (C[0, 1] * C[2, 2] - C[1, 2] * C[0, 2])
        + C[0, 2] * (C[0, 1] * C[1, 2] - C[1, 1] * C[0, 2])
    )
    side = 4.0 * sqrt(pi) * spread * metres_per_pixel(sums)
    # A mode less certain than the prior has no inliers: that is what `null_evidence` stands for.
    if not det > 0.0 or not side > 0.0 or C[0, 0] + C[1, 1] + C[2, 2] > side * side:
        return -np.inf
    return total + log(sqrt((2.0 * pi) ** 3 * det) / (side * side * side))


@njit(cache=True, error_model="numpy")
def metres_per_pixel(sums: Array) -> float:
    """Mean over the views that have the point before them; 0 where none has."""
    return sums[9] / sums[10] if sums[10] > 0.0 else 0.0


@njit(cache=True, error_model="numpy")
def null_evidence(n: int, spread: float) -> float:
    """Log evidence that at most one of n views sees the joint: every residual is a random one."""
    return -n * log(16.0 * pi * spread * spread)


@njit(cache=True, error_model="numpy")
def leverages(
    pose: Array, packed: Array, views: Ints, n: int, X: Array, gamma: Array, C: Array, leverage: Array
) -> None:
    """Degrees of freedom [V] that the fit takes from each view: tr(w J C J^T), between 0 and 2."""
    for k in range(n):
        v = views[k]
        z = pose[v, 2, 0] * X[0] + pose[v, 2, 1] * X[1] + pose[v, 2, 2] * X[2] + pose[v, 2, 3]
        if not gamma[v] > LEAST_GAMMA or z <= LEAST_DEPTH:
            continue
        x = (pose[v, 0, 0] * X[0] + pose[v, 0, 1] * X[1] + pose[v, 0, 2] * X[2] + pose[v, 0, 3]) / z
        y = (pose[v, 1, 0] * X[0] + pose[v, 1, 1] * X[1] + pose[v, 1, 2] * X[2] + pose[v, 1, 3]) / z
        aa = ab = bb = 0.0
        for i in range(3):
            a, b = pose[v, 0, i] - x * pose[v, 2, i], pose[v, 1, i] - y * pose[v, 2, i]
            for j in range(3):
                c, d = pose[v, 0, j] - x * pose[v, 2, j], pose[v, 1, j] - y * pose[v, 2, j]
                aa += a * C[i, j] * c
                ab += a * C[i, j] * d
                bb += b * C[i, j] * d
        metric = packed[k, 2] * aa + 2.0 * packed[k, 3] * ab + packed[k, 4] * bb
        leverage[v] = gamma[v] * packed[k, 5] * metric / (z * z)
