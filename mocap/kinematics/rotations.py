"""Rotation arithmetic on whole takes: axes to rotations, gaps in rotations, continuous signs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from mocap.filtering.gaps import neighbours

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def unit(v: Array) -> Array:
    """Vectors [..., 3] at length 1; zero stays zero."""
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)


def frame(primary: Array, secondary: Array) -> Array:
    """Right-handed frames [..., 3, 3] (columns): first axis along `primary`, second towards `secondary`."""
    a = unit(primary)
    b = unit(secondary - (secondary * a).sum(-1, keepdims=True) * a)
    return np.stack([a, b, np.cross(a, b)], -1)


def align(rest_primary: Array, rest_secondary: Array, primary: Array, secondary: Array) -> Array:
    """Rotations [T, 3, 3] that take the rest directions [3] to the seen ones [T, 3].

    The primary direction is met exactly, the secondary as nearly as that leaves it.
    """
    return frame(primary, secondary) @ frame(rest_primary, rest_secondary).T


def swing(R: Array, rest: Array, direction: Array) -> Array:
    """`R` [T, 3, 3] turned by the smallest rotation that takes its image of `rest` [3] to `direction` [T, 3]."""
    a, b = unit(R @ rest), unit(direction)
    axis = np.cross(a, b)
    sine, cosine = np.linalg.norm(axis, axis=-1), (a * b).sum(-1)
    # Opposite directions: any axis across will do.
    across = np.cross(a, np.eye(3)[np.abs(a).argmin(-1)])
    axis = np.where((sine < 1e-9)[:, None], across, axis)
    return Rotation.from_rotvec(unit(axis) * np.arctan2(sine, cosine)[:, None]).as_matrix() @ R


def smooth_within(values: Array, parts: list[slice], sigma: float) -> Array:
    """Gaussian mean over time of [T, 3] inside each part; `sigma` in samples."""
    if sigma < 0.3:
        return values
    out = np.empty_like(values)
    for s in parts:
        out[s] = gaussian_filter1d(values[s], sigma, axis=0, mode="nearest")
    return out


def fill_rotations(R: Array, known: Mask, part: NDArray[np.int64]) -> tuple[Array, Mask]:
    """Rotations [T, 3, 3] with the unknown ones made up.

    Parameters
    ----------
    R : float64 [T, 3, 3]
    known : bool [T]
    part : int [T]
        Which continuous part of the recording a row belongs to.

    Returns
    -------
    R : float64 [T, 3, 3]
        Between known rows of the same part by slerp, else held from the nearest known row (of the
        same part if it has one); identity where nothing is known at all.
    within : bool [T]
        Rows that are known or were made from their own part.
    """
    if known.all():
        return R, known
    if not known.any():
        return np.broadcast_to(np.eye(3), R.shape).copy(), known
    a, b, u, within = _anchors(known, part)
    out = R.copy()
    row = np.flatnonzero(~known)
    start, stop = Rotation.from_matrix(R[a[row]]), Rotation.from_matrix(R[b[row]])
    turn = (start.inv() * stop).as_rotvec()
    out[row] = (start * Rotation.from_rotvec(turn * u[row, None])).as_matrix()
    return out, within


def fill_points(x: Array, known: Mask, part: NDArray[np.int64]) -> Array:
    """Points [T, 3] with unknown rows interpolated or held, as `fill_rotations` does."""
    if known.all():
        return x
    a, b, u, _ = _anchors(known, part)
    return np.where(known[:, None], x, x[a] + u[:, None] * (x[b] - x[a]))


def _anchors(known: Mask, part: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Mask]:
    n = len(known)
    near = neighbours(known[:, None])
    before, after = near.before[:, 0], near.after[:, 0]
    here_a = (before >= 0) & (part[before] == part)
    here_b = (after < n) & (part[np.minimum(after, n - 1)] == part)
    # Without a neighbour in its own part a row is held from the nearest one elsewhere.
    elsewhere = np.where(before >= 0, before, after)
    a = np.where(here_a, before, np.where(here_b, after, elsewhere))
    b = np.where(here_a & here_b, after, a)
    u = (np.arange(n) - a) / np.maximum(b - a, 1) * (b > a)
    return a, b, u, known | here_a | here_b


def continuous_quaternions(R: Array) -> Array:
    """Quaternions [T, 4] (scalar last) of rotations [T, 3, 3], with signs that never flip in time."""
    q = Rotation.from_matrix(R).as_quat(canonical=True)
    sign = np.where((q[1:] * q[:-1]).sum(-1) < 0, -1.0, 1.0)
    q[1:] *= np.cumprod(sign)[:, None]
    return q
