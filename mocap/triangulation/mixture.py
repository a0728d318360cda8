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
Row = tuple[float, float, float]
Symmetric = tuple[float, float, float, float, float, float]


@njit(cache=True, error_model="numpy")
def pack(u: Array, A: Array, sigma: Array, prior: Array, n: int, spread: float, views: Ints, packed: Array) -> int:
    """Rows of `packed` [V, PACKED] and `views` [V] for the views that see joint n; how many they are.

    u [N, V, 2], A [N, V, 2, 2], sigma [N, V], prior [N, V]: see `robust_points`. A row holds u, the metric A^T A (xx,
    xy, yy), 1 / sigma^2, the height of the inliers' and of the outliers' density, and normalised units per px.
    """
    count = 0
    height = 1.0 / (2.0 * pi * spread * spread)
    for v in range(prior.shape[1]):
        if not (prior[n, v] > 0.0 and np.isfinite(u[n, v, 0]) and np.isfinite(u[n, v, 1])):
            continue
        a, b, c, d = A[n, v, 0, 0], A[n, v, 0, 1], A[n, v, 1, 0], A[n, v, 1, 1]
        precision = 1.0 / (sigma[n, v] * sigma[n, v])
        packed[count, 0], packed[count, 1] = u[n, v, 0], u[n, v, 1]
        packed[count, 2], packed[count, 3], packed[count, 4] = a * a + c * c, a * b + c * d, b * b + d * d
        packed[count, 5] = precision
        packed[count, 6] = prior[n, v] * precision / (2.0 * pi)
        packed[count, 7] = (1.0 - prior[n, v]) * height
        packed[count, 8] = 1.0 / sqrt(abs(a * d - b * c))
        views[count] = v
        count += 1
    return count


@njit(cache=True, error_model="numpy", inline="always")
def _image(pose: Array, v: int, p: float, q: float, s: float) -> tuple[float, float, float]:
    """Depth of a point in view v, and its ideal coordinates."""
    z = pose[v, 2, 0] * p + pose[v, 2, 1] * q + pose[v, 2, 2] * s + pose[v, 2, 3]
    near = 1.0 / z
    x = (pose[v, 0, 0] * p + pose[v, 0, 1] * q + pose[v, 0, 2] * s + pose[v, 0, 3]) * near
    y = (pose[v, 1, 0] * p + pose[v, 1, 1] * q + pose[v, 1, 2] * s + pose[v, 1, 3]) * near
    return z, x, y


@njit(cache=True, error_model="numpy", inline="always")
def _densities(packed: Array, k: int, e2: float, outside2: float) -> tuple[float, float]:
    """Density of the inliers, and of inliers and outliers together, at a squared residual e2, px2."""
    inlier, tail = packed[k, 6] * exp(-0.5 * e2 * packed[k, 5]), 1.0 + e2 * outside2
    return inlier, inlier + packed[k, 7] / (tail * sqrt(tail))


@njit(cache=True, error_model="numpy")
def log_likelihood(pose: Array, packed: Array, views: Ints, n: int, spread: float, X: Array) -> float:
    """Of the mixture at X [3]; pose [V, 3, 4] are [R | t]."""
    outside2 = 1.0 / (spread * spread)
    p, q, s = X[0], X[1], X[2]
    total, product = 0.0, 1.0
    for k in range(n):
        z, x, y = _image(pose, views[k], p, q, s)
        if z <= LEAST_DEPTH:
            product *= 1e-3 * packed[k, 7]
        else:
            ex, ey = x - packed[k, 0], y - packed[k, 1]
            e2 = ex * (packed[k, 2] * ex + 2.0 * packed[k, 3] * ey) + packed[k, 4] * ey * ey
            product *= _densities(packed, k, e2, outside2)[1]
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
        Inlier probability and squared residual, px2 (NaN behind a view), of the n views, in the order of `packed`.
    sums : float64 [SUMS]
        Result: H = sum w J^T J (xx, xy, xz, yy, yz, zz), g = sum w J^T r, metres per pixel summed over the views
        that have X before them, and their number.
    """
    outside2 = 1.0 / (spread * spread)
    p, q, s = X[0], X[1], X[2]
    h = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    g0 = g1 = g2 = scale = count = total = 0.0
    product = 1.0
    for k in range(n):
        v = views[k]
        z, x, y = _image(pose, v, p, q, s)
        if z <= LEAST_DEPTH:
            if given:
                return np.nan
            gamma[k], r2[k] = 0.0, np.nan
            product *= 1e-3 * packed[k, 7]
            continue
        scale, count = scale + z * packed[k, 8], count + 1.0
        ex, ey = x - packed[k, 0], y - packed[k, 1]
        cx, cy = packed[k, 2] * ex + packed[k, 3] * ey, packed[k, 3] * ex + packed[k, 4] * ey
        if not given:
            e2 = ex * cx + ey * cy
            inlier, both = _densities(packed, k, e2, outside2)
            gamma[k], r2[k] = inlier / both, e2
            product *= both
            if product < _SMALL:
                total, product = total + log(product), 1.0
        if gamma[k] > LEAST_GAMMA:
            w, near = gamma[k] * packed[k, 5], 1.0 / z
            a, b = slope(pose, v, x, y, near)
            cx, cy = w * cx, w * cy
            g0, g1, g2 = g0 + a[0] * cx + b[0] * cy, g1 + a[1] * cx + b[1] * cy, g2 + a[2] * cx + b[2] * cy
            h = squares(h, a, b, w * packed[k, 2], w * packed[k, 3], w * packed[k, 4])
    sums[0], sums[1], sums[2], sums[3], sums[4], sums[5] = h
    sums[6], sums[7], sums[8], sums[9], sums[10] = g0, g1, g2, scale, count
    return total + log(product)


@njit(cache=True, error_model="numpy", inline="always")
def slope(pose: Array, v: int, x: float, y: float, near: float) -> tuple[Row, Row]:
    """What the ideal coordinates x and y of a point at depth 1 / near do as the point moves, 1/m."""
    a = (
        (pose[v, 0, 0] - x * pose[v, 2, 0]) * near,
        (pose[v, 0, 1] - x * pose[v, 2, 1]) * near,
        (pose[v, 0, 2] - x * pose[v, 2, 2]) * near,
    )
    b = (
        (pose[v, 1, 0] - y * pose[v, 2, 0]) * near,
        (pose[v, 1, 1] - y * pose[v, 2, 1]) * near,
        (pose[v, 1, 2] - y * pose[v, 2, 2]) * near,
    )
    return a, b


@njit(cache=True, error_model="numpy", inline="always")
def squares(h: Symmetric, a: Row, b: Row, xx: float, xy: float, yy: float) -> Symmetric:
    """H + J^T W J of the rows a and b of J."""
    c0, c1, c2 = xx * a[0] + xy * b[0], xx * a[1] + xy * b[1], xx * a[2] + xy * b[2]
    d0, d1, d2 = xy * a[0] + yy * b[0], xy * a[1] + yy * b[1], xy * a[2] + yy * b[2]
    return (
        h[0] + a[0] * c0 + b[0] * d0, h[1] + a[0] * c1 + b[0] * d1, h[2] + a[0] * c2 + b[0] * d2,
        h[3] + a[1] * c1 + b[1] * d1, h[4] + a[1] * c2 + b[1] * d2, h[5] + a[2] * c2 + b[2] * d2,
    )  # fmt: skip


@njit(cache=True, error_model="numpy", inline="always")
def inverse(a: float, b: float, c: float, d: float, e: float, f: float) -> tuple[bool, Symmetric]:
    """Inverse of the symmetric matrix (xx, xy, xz, yy, yz, zz), and whether it has one."""
    m00, m01, m02 = d * f - e * e, c * e - b * f, b * e - c * d
    det, trace = a * m00 + b * m01 + c * m02, a + d + f
    one = 1.0 / det
    return det > 1e-16 * trace * trace * trace, (
        m00 * one, m01 * one, m02 * one, (a * f - c * c) * one, (b * c - a * e) * one, (a * d - b * b) * one
    )  # fmt: skip


@njit(cache=True, error_model="numpy")
def invert(sums: Array, C: Array) -> bool:
    """C [6] becomes the inverse (xx, xy, xz, yy, yz, zz) of the H of `sums`; False where it has none."""
    good, c = inverse(sums[0], sums[1], sums[2], sums[3], sums[4], sums[5])
    C[0], C[1], C[2], C[3], C[4], C[5] = c
    return good


@njit(cache=True, error_model="numpy")
def expectation_maximisation(
    pose: Array, packed: Array, views: Ints, n: int, spread: float, X: Array, gamma: Array, r2: Array, sums: Array,
    C: Array,
) -> float:  # fmt: skip
    """Refine X [3] and gamma [V] in place, from the `sums` at X; the log evidence of the mode.

    It is -inf where the mode breaks down. `sums` become those at the result, C [6] the covariance (xx, xy, xz, yy,
    yz, zz). The prior volume is the cube whose side is what `spread` means at X, so that the evidence compares
    with "no two views agree" (`null_evidence`).
    """
    total = trace = det = 0.0
    for _ in range(EM_STEPS):
        good, c = inverse(sums[0], sums[1], sums[2], sums[3], sums[4], sums[5])
        if not good:
            return -np.inf
        x = c[0] * sums[6] + c[1] * sums[7] + c[2] * sums[8]
        y = c[1] * sums[6] + c[3] * sums[7] + c[4] * sums[8]
        z = c[2] * sums[6] + c[4] * sums[7] + c[5] * sums[8]
        X[0], X[1], X[2] = X[0] - x, X[1] - y, X[2] - z
        C[0], C[1], C[2], C[3], C[4], C[5] = c
        trace = c[0] + c[3] + c[5]
        det = (
            c[0] * (c[3] * c[5] - c[4] * c[4]) - c[1] * (c[1] * c[5] - c[4] * c[2]) + c[2] * (c[1] * c[4] - c[3] * c[2])
        )
        total = pass_over_views(pose, packed, views, n, spread, X, False, gamma, r2, sums)
        if x * x + y * y + z * z < 1e-4 * trace:
            break
    side = 4.0 * sqrt(pi) * spread * metres_per_pixel(sums)
    # A mode less certain than the prior has no inliers: that is what `null_evidence` stands for.
    if not det > 0.0 or not side > 0.0 or trace > side * side:
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
    pose: Array, packed: Array, views: Ints, n: int, X: Array, gamma: Array, C: Array, row: int, leverage: Array
) -> None:
    """Degrees of freedom that the fit takes from each view, tr(w J C J^T), between 0 and 2, into leverage[row].

    gamma [V] in the order of `packed`, C [6] from `invert`.
    """
    for k in range(n):
        v = views[k]
        z, x, y = _image(pose, v, X[0], X[1], X[2])
        if not gamma[k] > LEAST_GAMMA or z <= LEAST_DEPTH:
            continue
        a, b = slope(pose, v, x, y, 1.0 / z)
        p0, p1, p2 = _times(C, a)
        q0, q1, q2 = _times(C, b)
        aa, ab = a[0] * p0 + a[1] * p1 + a[2] * p2, b[0] * p0 + b[1] * p1 + b[2] * p2
        bb = b[0] * q0 + b[1] * q1 + b[2] * q2
        metric = packed[k, 2] * aa + 2.0 * packed[k, 3] * ab + packed[k, 4] * bb
        leverage[row, v] = gamma[k] * packed[k, 5] * metric


@njit(cache=True, error_model="numpy", inline="always")
def _times(C: Array, a: Row) -> Row:
    """Symmetric C [6] times a."""
    return (
        C[0] * a[0] + C[1] * a[1] + C[2] * a[2],
        C[1] * a[0] + C[3] * a[1] + C[4] * a[2],
        C[2] * a[0] + C[4] * a[1] + C[5] * a[2],
    )
