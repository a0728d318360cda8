"""Rays of pixels and pixels of points, compiled: what matching and triangulation do by the million.

The same model as `calibration.projection`, one point at a time.
"""

from __future__ import annotations

from math import atan, sqrt

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

_STEPS = 12


@njit(cache=True, error_model="numpy")
def bend(c: Array, fisheye: bool, x: float, y: float, J: Array) -> tuple[float, float]:
    """Distorted normalised coordinates of ideal ones; J [2, 2] becomes the Jacobian. c [5]: coefficients."""
    r2 = x * x + y * y
    if fisheye:
        r = sqrt(r2 + 1e-30)
        theta = atan(r)
        q = theta * theta
        scale = theta * (1 + q * (c[0] + q * (c[1] + q * (c[2] + q * c[3])))) / r
        slope = 1 + q * (3 * c[0] + q * (5 * c[1] + q * (7 * c[2] + q * 9 * c[3])))
        slope = (slope / (1 + r2) - scale) / (r2 + 1e-30)
        J[0, 0], J[1, 1] = scale + x * x * slope, scale + y * y * slope
        J[0, 1] = J[1, 0] = x * y * slope
        return x * scale, y * scale
    radial = 1 + r2 * (c[0] + r2 * (c[1] + r2 * c[4]))
    slope = c[0] + r2 * (2 * c[1] + r2 * 3 * c[4])
    J[0, 0] = radial + 2 * x * x * slope + 2 * c[2] * y + 6 * c[3] * x
    J[0, 1] = J[1, 0] = 2 * x * y * slope + 2 * c[2] * x + 2 * c[3] * y
    J[1, 1] = radial + 2 * y * y * slope + 6 * c[2] * y + 2 * c[3] * x
    bx = x * radial + 2 * c[2] * x * y + c[3] * (r2 + 2 * x * x)
    by = y * radial + c[2] * (r2 + 2 * y * y) + 2 * c[3] * x * y
    return bx, by


@njit(cache=True, error_model="numpy")
def _straighten(c: Array, fisheye: bool, bx: float, by: float, J: Array) -> tuple[float, float, bool]:
    """Ideal coordinates of distorted ones by Newton's method, and whether they were found."""
    x, y = bx, by
    for _ in range(_STEPS):
        u, v = bend(c, fisheye, x, y, J)
        ex, ey = u - bx, v - by
        if abs(ex) <= 1e-14 and abs(ey) <= 1e-14:
            break
        det = J[0, 0] * J[1, 1] - J[0, 1] * J[1, 0]
        x -= (J[1, 1] * ex - J[0, 1] * ey) / det
        y -= (J[0, 0] * ey - J[1, 0] * ex) / det
    u, v = bend(c, fisheye, x, y, J)
    good = abs(u - bx) + abs(v - by) < 1e-9 and J[0, 0] * J[1, 1] - J[0, 1] * J[1, 0] > 0
    return x, y, good


@njit(cache=True, error_model="numpy", nogil=True)
def slot_rays(
    K: Array, distortion: Array, fisheye: Bools, R: Array, pixels: NDArray[np.float32], d: Array,
) -> None:  # fmt: skip
    """Unit ray directions d [V, N, 3] in the world of raw pixels [V, N, 2]; NaN where there is none."""
    J = np.empty((2, 2))
    for v in range(pixels.shape[0]):
        straight = not fisheye[v] and np.all(distortion[v] == 0.0)
        for n in range(pixels.shape[1]):
            if np.isnan(pixels[v, n, 0]):
                d[v, n, 0] = d[v, n, 1] = d[v, n, 2] = np.nan
                continue
            y = (pixels[v, n, 1] - K[v, 1, 2]) / K[v, 1, 1]
            x = (pixels[v, n, 0] - K[v, 0, 2] - K[v, 0, 1] * y) / K[v, 0, 0]
            if not straight:
                x, y, good = _straighten(distortion[v], fisheye[v], x, y, J)
                if not good:
                    d[v, n, 0] = d[v, n, 1] = d[v, n, 2] = np.nan
                    continue
            length = 1.0 / sqrt(x * x + y * y + 1.0)
            for i in range(3):
                d[v, n, i] = (R[v, 0, i] * x + R[v, 1, i] * y + R[v, 2, i]) * length


@njit(cache=True, error_model="numpy")
def pixels_of(
    K: Array, c: Array, fisheye: bool, R: Array, t: Array, X: Array, scratch: Array, u: Array,
) -> None:  # fmt: skip
    """Raw pixels u [J, 2] of world points X [J, 3] in one camera; NaN behind it or where X is.

    `scratch` is [2, 2].
    """
    straight = not fisheye and np.all(c == 0.0)
    r00, r01, r02, r10, r11, r12 = R[0, 0], R[0, 1], R[0, 2], R[1, 0], R[1, 1], R[1, 2]
    r20, r21, r22, t0, t1, t2 = R[2, 0], R[2, 1], R[2, 2], t[0], t[1], t[2]
    f, skew, cx, g, cy = K[0, 0], K[0, 1], K[0, 2], K[1, 1], K[1, 2]
    for j in range(X.shape[0]):
        x, y, z = X[j, 0], X[j, 1], X[j, 2]
        depth = r20 * x + r21 * y + r22 * z + t2
        if not depth > 1e-9:
            u[j, 0] = u[j, 1] = np.nan
            continue
        a, b = (r00 * x + r01 * y + r02 * z + t0) / depth, (r10 * x + r11 * y + r12 * z + t1) / depth
        if not straight:
            a, b = bend(c, fisheye, a, b, scratch)
        u[j, 0], u[j, 1] = f * a + skew * b + cx, g * b + cy


@njit(cache=True, error_model="numpy", nogil=True)
def normalise(
    K: Array, distortion: Array, fisheye: Bools, pixels: Array, u: Array, A: Array,
) -> None:  # fmt: skip
    """Ideal coordinates of raw pixels, and what a step there means in pixels.

    Parameters
    ----------
    K [V, 3, 3], distortion [V, 5], fisheye [V] : the cameras.
    pixels : float64 [V, N, 2], px
    u : float64 [N, V, 2]
        Result: x/z, y/z; NaN where there is none.
    A : float64 [N, V, 2, 2]
        Result: d pixel / d u, px.
    """
    J = np.empty((2, 2))
    for v in range(pixels.shape[0]):
        f, skew, g = K[v, 0, 0], K[v, 0, 1], K[v, 1, 1]
        straight = not fisheye[v] and np.all(distortion[v] == 0.0)
        for n in range(pixels.shape[1]):
            y = (pixels[v, n, 1] - K[v, 1, 2]) / g
            x = (pixels[v, n, 0] - K[v, 0, 2] - skew * y) / f
            J[0, 0], J[0, 1], J[1, 0], J[1, 1] = 1.0, 0.0, 0.0, 1.0
            if not straight and not np.isnan(x):
                x, y, good = _straighten(distortion[v], fisheye[v], x, y, J)
                if not good:
                    x = y = np.nan
            u[n, v, 0], u[n, v, 1] = x, y
            A[n, v, 0, 0], A[n, v, 0, 1] = f * J[0, 0] + skew * J[1, 0], f * J[0, 1] + skew * J[1, 1]
            A[n, v, 1, 0], A[n, v, 1, 1] = g * J[1, 0], g * J[1, 1]
