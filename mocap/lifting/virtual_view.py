"""Between the axes of the camera and those of the virtual one: small matrices of all windows, without NumPy's calls.

The third virtual axis is along the view. A single window takes 2 ms, of which each call of NumPy would take 2 us.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LEAST_COSINE = 0.05
_LEAST_WEIGHT = 0.05


@njit(cache=True, error_model="numpy", nogil=True)
def seen_only(rays: Array, confidence: Array) -> tuple[Array, Array, Mask]:
    """Rays [N, W, 17, 2] and confidence [N, W, 17] with zeros where a joint was not seen, and where it was."""
    seen = np.zeros(confidence.shape, np.bool_)
    clean, trust = np.zeros(rays.shape), np.zeros(confidence.shape)
    for n in range(len(rays)):
        for t in range(rays.shape[1]):
            for j in range(rays.shape[2]):
                x, y = rays[n, t, j, 0], rays[n, t, j, 1]
                if confidence[n, t, j] > 0 and np.isfinite(x) and np.isfinite(y):
                    seen[n, t, j], trust[n, t, j] = True, confidence[n, t, j]
                    clean[n, t, j, 0], clean[n, t, j, 1] = x, y
    return clean, trust, seen


@njit(cache=True, error_model="numpy", nogil=True)
def middle_rays(middle: Array, std: Array, confidence: Array, turn: Array) -> tuple[Array, Array, Array]:
    """The middle frame as the virtual camera sees it.

    Parameters
    ----------
    middle : [N, 17, 2]
        Smoothed x/z, y/z in the camera's axes.
    std : [N, 17]
        Their standard deviation; infinite where a joint was not seen.
    confidence : [N, W, 17]
    turn : [N, 3, 3]
        `camera_from_virtual`.

    Returns
    -------
    rays : float64 [N, 17, 2], noise : float64 [N, 17], weight : float64 [N, 17]
        The window's largest confidence; 0 where not seen.
    """
    count, joints = std.shape
    rays, noise, weight = np.empty((count, joints, 2)), np.empty((count, joints)), np.zeros((count, joints))
    for n in range(count):
        R = turn[n]
        for j in range(joints):
            x, y = middle[n, j, 0], middle[n, j, 1]
            z = max(x * R[0, 2] + y * R[1, 2] + R[2, 2], _LEAST_COSINE)
            for a in range(2):
                rays[n, j, a] = (x * R[0, a] + y * R[1, a] + R[2, a]) / z
            if np.isfinite(std[n, j]):
                for t in range(confidence.shape[1]):
                    weight[n, j] = max(weight[n, j], confidence[n, t, j])
            # The virtual picture lies straight before the person: the same angle is fewer units of the focal length.
            noise[n, j] = std[n, j] * R[2, 2] ** 1.5 / np.sqrt(max(weight[n, j], _LEAST_WEIGHT))
    return rays, noise, weight


@njit(cache=True, error_model="numpy", nogil=True)
def across_along(values: Array) -> Array:
    """Lengths [..., 3] in virtual axes to root mean square across the view and length along it [N, 17, 2]."""
    out = np.empty((*values.shape[:2], 2))
    for n in range(len(values)):
        for j in range(values.shape[1]):
            x, y, z = values[n, j]
            out[n, j, 0], out[n, j, 1] = np.sqrt(0.5 * (x * x + y * y)), abs(z)
    return out


@njit(cache=True, error_model="numpy", nogil=True)
def own_std(covariance: Array) -> Array:
    """Of covariances [N, 17, 3, 3]: root mean square across the view and standard deviation along it [N, 17, 2]."""
    out = np.empty((*covariance.shape[:2], 2))
    for n in range(len(covariance)):
        for j in range(covariance.shape[1]):
            C = covariance[n, j]
            out[n, j, 0], out[n, j, 1] = np.sqrt(0.5 * (C[0, 0] + C[1, 1])), np.sqrt(C[2, 2])
    return out


@njit(cache=True, error_model="numpy", nogil=True)
def to_camera(turn: Array, positions: Array, std: Array, found: Mask) -> tuple[Array, Array]:
    """Positions [N, J, 3] and, of std across and along the view [N, J, 2], covariances in the camera's axes."""
    count, joints = std.shape[:2]
    points, covariance = np.full((count, joints, 3), np.nan), np.full((count, joints, 3, 3), np.nan)
    for n in range(count):
        if not found[n]:
            continue
        R = turn[n]
        for j in range(joints):
            p, across, along = positions[n, j], std[n, j, 0] ** 2, std[n, j, 1] ** 2
            for a in range(3):
                points[n, j, a] = R[a, 0] * p[0] + R[a, 1] * p[1] + R[a, 2] * p[2]
                for b in range(3):
                    flat = R[a, 0] * R[b, 0] + R[a, 1] * R[b, 1]
                    covariance[n, j, a, b] = across * flat + along * R[a, 2] * R[b, 2]
    return points, covariance
