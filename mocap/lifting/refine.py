"""The most probable pose given the network's prediction, the rays and the bones.

The network sees all cues at once but fits none exactly. Gauss-Newton on the sum of three squared
terms does: distance from the prediction in units of its uncertainty, reprojection error of the
pose where it stands, and bone lengths, which are themselves unknowns with a prior (people differ,
left and right do not; known lengths have a narrow one). Joints of one limb err alike in depth:
the distance from the prediction is Mahalanobis', with one correlation for all poses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.lifting.body import ASSUMED_SIZE, MEAN_BONES
from mocap.skeleton import H36M_17

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_STEPS = 3  # more fit the noise too
_BONE_STD = 0.025  # of the length; joints are not quite rigid
_RAY_FLOOR = 1e-3  # of the focal length: smallest standard deviation a ray is given
_HUBER = 2.0
_KNOWN = 0.005  # standard deviation of the logarithm of a known length
_COMMON, _OWN = 0.035, 0.03  # of a guessed one: common to all bones, and each bone's own
_NEAREST = 0.3
_FREE = np.array([0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 7, 8, 9])  # bones of both sides share a length
_BONES = H36M_17.bone_index
_ROOT, _LENGTHS, _SIZE = 48, 51, 61  # unknowns: joints 1-16, pelvis, logarithms of the free lengths
_LEAST_STD = 1e-4  # metres
_SHARE = ((np.arange(10)[:, None] == _FREE) / np.bincount(_FREE)[:, None]).T  # mean of left and right
_MEAN_LOGS = np.log(ASSUMED_SIZE * np.array(MEAN_BONES) @ _SHARE)
_LENGTH_INFORMATION = np.stack([np.linalg.inv(_OWN**2 * np.eye(10) + _COMMON**2), np.eye(10) / _KNOWN**2])


@dataclass(frozen=True, eq=False)
class Refined:
    """Result: positions [N, 17, 3] m, their covariance [N, 17, 3, 3] m2, root [N, 3] m."""

    positions: Array
    covariance: Array
    root: Array


def refine(
    positions: Array, std: Array, coupling: Array, root: Array, rays: Array, ray_std: Array, lengths: Array
) -> Refined:
    """Fit poses to their rays and bones.

    Parameters
    ----------
    positions : [N, 17, 3]
        Predicted, metres, relative to the pelvis, in axes of which the third is along the view; finite.
    std : [N, 17, 2]
        Of the prediction, across and along the view, metres.
    coupling : [2, 48, 48]
        Inverse of the correlation of the errors of joints 1-16, without and with known lengths.
    root : [N, 3]
        Start of the pelvis in the same axes, metres; finite.
    rays : [N, 17, 2], ray_std : [N, 17]
        x/z, y/z and their standard deviation; infinite where a joint was not seen.
    lengths : [N, 16]
        Bone lengths, metres; rows with NaN are not known.
    """
    start, known = _length_prior(lengths, _FREE, _MEAN_LOGS)
    x, T = positions.copy(), root.copy()
    after = np.zeros((*positions.shape[:2], 3, 3))
    strength = np.where(np.isfinite(ray_std), 1 / np.maximum(ray_std, _RAY_FLOOR), 0.0)
    _refine(
        positions, 1 / np.maximum(std, _LEAST_STD), coupling, known, start, _LENGTH_INFORMATION, rays, strength,
        _BONES, _FREE, x, T, after,
    )  # fmt: skip
    return Refined(x, after, T)


@njit(cache=True, error_model="numpy", nogil=True)
def _refine(
    positions: Array, precise: Array, coupling: Array, known: Indices, start: Array, length_information: Array,
    rays: Array, strength: Array, bones: Indices, free: Indices, x: Array, T: Array, after: Array,
) -> None:  # fmt: skip
    """All poses, one after the other: `x` and `T` start as predicted and end as fitted; `after` is filled."""
    H, g, prior = np.zeros((_SIZE, _SIZE)), np.zeros(_SIZE), np.zeros((_SIZE, _SIZE))
    off, inverse = np.zeros(_SIZE), np.zeros((_SIZE, _SIZE))
    for n in range(len(x)):
        logs = start[n].copy()
        _prior(prior, precise[n], coupling[known[n]], length_information[known[n]])
        for step in range(_STEPS + 1):
            for k in range(_ROOT):
                off[k] = x[n, 1 + k // 3, k % 3] - positions[n, 1 + k // 3, k % 3]
            off[_LENGTHS:] = logs - start[n]
            H[:] = prior
            _times(prior, off, g)
            _bones(H, g, x[n], logs, bones, free)
            _rays(H, g, x[n], T[n], rays[n], strength[n])
            _factor(H)
            if step == _STEPS:
                break
            _solve(H, g)
            for k in range(_ROOT):
                x[n, 1 + k // 3, k % 3] -= min(0.3, max(-0.3, g[k]))
            for k in range(3):
                T[n, k] -= g[_ROOT + k]
            T[n, 2] = max(T[n, 2], _NEAREST)
            for k in range(10):
                logs[k] -= min(0.2, max(-0.2, g[_LENGTHS + k]))
        _inverse_blocks(H, inverse, after[n])


@njit(cache=True, error_model="numpy", nogil=True)
def _prior(prior: Array, precise: Array, coupling: Array, lengths: Array) -> None:
    """Information of the prediction and of the bones, which do not depend on the pose."""
    prior[:] = 0
    strength = np.empty(_ROOT)
    for i in range(_ROOT):
        strength[i] = precise[1 + i // 3, i % 3 // 2]
    for i in range(_ROOT):
        for j in range(_ROOT):
            prior[i, j] = coupling[i, j] * strength[i] * strength[j]
    prior[_LENGTHS:, _LENGTHS:] = lengths
    for k in range(_SIZE):
        prior[k, k] += 1e-9


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract"})
def _times(A: Array, x: Array, out: Array) -> None:
    for i in range(len(x)):
        total = 0.0
        for k in range(len(x)):
            total += A[i, k] * x[k]
        out[i] = total


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract"})
def _factor(H: Array) -> None:
    """Cholesky's factor in place of the lower triangle, and its transpose of the upper one."""
    for i in range(len(H)):
        for j in range(i + 1):
            total = H[i, j]
            for k in range(j):
                total -= H[i, k] * H[j, k]
            H[i, j] = np.sqrt(total) if i == j else total / H[j, j]
            H[j, i] = H[i, j]


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract"})
def _solve(L: Array, b: Array) -> None:
    """L L' x = b, in place of b."""
    for i in range(len(b)):
        total = b[i]
        for k in range(i):
            total -= L[i, k] * b[k]
        b[i] = total / L[i, i]
    for i in range(len(b) - 1, -1, -1):
        total = b[i]
        for k in range(i + 1, len(b)):
            total -= L[i, k] * b[k]
        b[i] = total / L[i, i]


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract"})
def _invert(L: Array, M: Array) -> None:
    """M becomes the inverse of the lower triangle L: row by row, of four rows above at a time."""
    for i in range(len(L)):
        M[i] = 0
        M[i, i] = 1
        whole = i - i % 4
        for k in range(0, whole, 4):
            a, b, c, d = L[i, k], L[i, k + 1], L[i, k + 2], L[i, k + 3]
            for j in range(k + 4):
                M[i, j] -= a * M[k, j] + b * M[k + 1, j] + c * M[k + 2, j] + d * M[k + 3, j]
        for k in range(whole, i):
            for j in range(k + 1):
                M[i, j] -= L[i, k] * M[k, j]
        scale = 1 / L[i, i]
        for j in range(i + 1):
            M[i, j] *= scale


@njit(cache=True, error_model="numpy", nogil=True)
def _inverse_blocks(L: Array, M: Array, after: Array) -> None:
    """The joints' own blocks [17, 3, 3] of the inverse of L L'; M is room for the inverse of L."""
    _invert(L, M)
    after[:] = 0
    for i in range(len(M)):
        for joint in range(min(i, _ROOT - 1) // 3 + 1):
            for a in range(3):
                for b in range(3):
                    after[1 + joint, a, b] += M[i, 3 * joint + a] * M[i, 3 * joint + b]


@njit(cache=True, error_model="numpy", nogil=True)
def _length_prior(lengths: Array, free: Indices, guess: Array) -> tuple[Array, Indices]:
    """Logarithms [N, 10] of the free lengths, and whether they are known (1) or the guess (0)."""
    logs, known = np.empty((len(lengths), 10)), np.zeros(len(lengths), np.int64)
    for n in range(len(lengths)):
        logs[n] = guess
        known[n] = np.isfinite(lengths[n]).all()
        if known[n]:
            total, count = np.zeros(10), np.zeros(10)
            for b in range(len(free)):
                total[free[b]] += lengths[n, b]
                count[free[b]] += 1
            logs[n] = np.log(np.maximum(total / count, 1e-3))
    return logs, known


@njit(cache=True, error_model="numpy", nogil=True)
def _add(H: Array, g: Array, columns: Indices, row: Array, error: float, count: int) -> None:
    """One residual and its derivatives in `count` columns, into the normal equations."""
    for a in range(count):
        g[columns[a]] += error * row[a]
        for b in range(count):
            H[columns[a], columns[b]] += row[a] * row[b]


@njit(cache=True, error_model="numpy", nogil=True)
def _bones(H: Array, g: Array, x: Array, logs: Array, bones: Indices, free: Indices) -> None:
    """Residuals of the bone lengths."""
    columns, row = np.empty(7, np.int64), np.empty(7)
    for b in range(16):
        parent, child = bones[b]
        arm = x[child] - x[parent]
        length = max(np.sqrt((arm * arm).sum()), 1e-3)
        wanted = np.exp(logs[free[b]])
        columns[0], row[0] = _LENGTHS + free[b], -length / wanted / _BONE_STD
        for a in range(3):
            slope = arm[a] / (length * wanted * _BONE_STD)
            columns[1 + a], row[1 + a] = 3 * (child - 1) + a, slope
            columns[4 + a], row[4 + a] = 3 * (parent - 1) + a, -slope
        _add(H, g, columns, row, (length / wanted - 1) / _BONE_STD, 7 if parent > 0 else 4)


@njit(cache=True, error_model="numpy", nogil=True)
def _rays(H: Array, g: Array, x: Array, T: Array, rays: Array, strength: Array) -> None:
    """Residuals of the reprojection, with Huber's weights."""
    columns, row, error = np.empty(6, np.int64), np.empty(6), np.empty(2)
    for j in range(17):
        if strength[j] <= 0:
            continue
        z = max(x[j, 2] + T[2], _NEAREST)
        for a in range(2):
            error[a] = (x[j, a] + T[a]) / z - rays[j, a]
        size = np.sqrt(error[0] ** 2 + error[1] ** 2) * strength[j]
        w = strength[j] * np.sqrt(min(1.0, _HUBER / max(size, 1e-9)))
        for a in range(2):
            # Only the axis itself and the depth; of the joint unless it is the pelvis, and of the pelvis.
            columns[0], row[0] = _ROOT + a, w / z
            columns[1], row[1] = _ROOT + 2, -w * (x[j, a] + T[a]) / (z * z)
            columns[2], row[2] = 3 * (j - 1) + a, row[0]
            columns[3], row[3] = 3 * (j - 1) + 2, row[1]
            _add(H, g, columns, row, w * error[a], 4 if j > 0 else 2)
