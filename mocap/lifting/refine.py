"""The most probable pose given the network's prediction, the rays and the bones.

The network sees all cues at once but fits none exactly. Gauss-Newton on the sum of three squared
terms does: distance from the prediction in units of its uncertainty, reprojection error of the
pose where it stands, and bone lengths, which are themselves unknowns with a prior (people differ,
left and right do not; known lengths have a narrow one).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.lifting.body import MEAN_BONES
from mocap.skeleton import H36M_17

Array = NDArray[np.float64]

_STEPS = 4
_CHUNK = 512
_BONE_STD = 0.025  # of the length; joints are not quite rigid
_RAY_FLOOR = 1e-3  # of the focal length: smallest standard deviation a ray is given
_HUBER = 2.0
_KNOWN = 0.005  # standard deviation of the logarithm of a known length
_COMMON, _OWN = 0.035, 0.03  # of a guessed one: common to all bones, and each bone's own
_NEAREST = 0.3
_FREE = np.array([0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 7, 8, 9])  # bones of both sides share a length
_JOINT_COLUMNS, _ROOT, _LENGTHS = 48, slice(48, 51), slice(51, 61)
_PRIOR_ROWS, _BONE_ROWS, _RAY_ROWS, _LENGTH_ROWS = slice(0, 48), slice(48, 64), slice(64, 98), slice(98, 108)


@dataclass(frozen=True, eq=False)
class Refined:
    """Result: positions [N, 17, 3] m, their covariance [N, 17, 3, 3] m2, root [N, 3] m."""

    positions: Array
    covariance: Array
    root: Array


def refine(positions: Array, covariance: Array, root: Array, rays: Array, ray_std: Array, lengths: Array) -> Refined:
    """Fit poses to their rays and bones.

    Parameters
    ----------
    positions : [N, 17, 3]
        Predicted, metres, camera axes, relative to the pelvis; finite.
    covariance : [N, 17, 3, 3]
        Of the prediction, m2.
    root : [N, 3]
        Start of the pelvis in camera axes, metres; finite.
    rays : [N, 17, 2], ray_std : [N, 17]
        x/z, y/z and their standard deviation; infinite where a joint was not seen.
    lengths : [N, 16]
        Bone lengths, metres; rows with NaN are not known.

    Notes
    -----
    The inverse of the normal matrix takes the network's errors of different joints for independent,
    which they are not; the covariance given is the mean of it and the prediction's own.
    """
    chunks = [slice(s, s + _CHUNK) for s in range(0, len(positions), _CHUNK)]
    parts = [_refine(positions[c], covariance[c], root[c], rays[c], ray_std[c], lengths[c]) for c in chunks]
    if not parts:
        return Refined(positions, covariance, root)
    return Refined(*(np.concatenate([getattr(p, f) for p in parts]) for f in ("positions", "covariance", "root")))


def _refine(positions: Array, covariance: Array, root: Array, rays: Array, ray_std: Array, lengths: Array) -> Refined:
    n = len(positions)
    whiten = np.swapaxes(np.linalg.cholesky(np.linalg.inv(covariance[:, 1:] + 1e-8 * np.eye(3))), -1, -2)
    start, length_whiten = _length_prior(lengths)
    J = np.zeros((n, 108, 61))
    joint = np.arange(16)
    rows = joint[:, None, None] * 3 + np.arange(3)[:, None]
    columns = joint[:, None, None] * 3 + np.arange(3)
    J[:, rows, columns] = whiten
    J[:, _LENGTH_ROWS, _LENGTHS] = length_whiten
    x, T, logs = positions.copy(), root.copy(), start.copy()
    strength = np.where(np.isfinite(ray_std), 1 / np.maximum(ray_std, _RAY_FLOOR), 0.0)
    e = np.zeros((n, 108))
    for step in range(_STEPS + 1):
        e[:, _PRIOR_ROWS] = np.einsum("njab,njb->nja", whiten, (x - positions)[:, 1:]).reshape(n, -1)
        e[:, _LENGTH_ROWS] = np.einsum("nab,nb->na", length_whiten, logs - start)
        _bones(J, e, x, logs)
        _rays(J, e, x, T, rays, strength)
        H = np.swapaxes(J, 1, 2) @ J + 1e-9 * np.eye(61)
        if step == _STEPS:
            break
        change = -np.linalg.solve(H, np.einsum("nra,nr->na", J, e)[..., None])[..., 0]
        x[:, 1:] += np.clip(change[:, :_JOINT_COLUMNS], -0.3, 0.3).reshape(n, 16, 3)
        T = T + change[:, _ROOT]
        T[:, 2] = np.maximum(T[:, 2], _NEAREST)
        logs = logs + np.clip(change[:, _LENGTHS], -0.2, 0.2)
    inverse = np.linalg.inv(H)
    after = covariance.copy()
    after[:, 1:] = 0.5 * (after[:, 1:] + inverse[:, columns.swapaxes(1, 2), columns])
    return Refined(x, after, T)


def _length_prior(lengths: Array) -> tuple[Array, Array]:
    """Logarithms [N, 10] of the free lengths, and what whitens their deviations [N, 10, 10]."""
    mean = np.array([MEAN_BONES[int(np.argmax(b == _FREE))] for b in range(10)])
    known = np.asarray(np.isfinite(lengths).all(-1))
    share = (np.arange(10)[:, None] == _FREE) / np.bincount(_FREE)[:, None]
    told = np.log(np.maximum(np.where(known[:, None], lengths, 1.0) @ share.T, 1e-3))
    guess = _OWN**2 * np.eye(10) + _COMMON**2
    guess_whiten = np.linalg.cholesky(np.linalg.inv(guess)).T
    whiten = np.where(known[:, None, None], np.eye(10) / _KNOWN, guess_whiten)
    return np.where(known[:, None], told, np.log(mean)), whiten


def _bones(J: Array, e: Array, x: Array, logs: Array) -> None:
    """Rows of the bone lengths."""
    parent, child = H36M_17.bone_index.T
    arm = x[:, child] - x[:, parent]
    length = np.maximum(np.linalg.norm(arm, axis=-1), 1e-3)
    wanted = np.exp(logs)[:, _FREE]
    ratio = length / wanted
    direction = arm / (length * wanted)[..., None] / _BONE_STD
    e[:, _BONE_ROWS] = (ratio - 1) / _BONE_STD
    bone = np.arange(16)
    row = _BONE_ROWS.start + bone
    J[:, row[:, None], 3 * (child - 1)[:, None] + np.arange(3)] = direction
    inner = parent > 0
    J[:, row[inner, None], 3 * (parent - 1)[inner, None] + np.arange(3)] = -direction[:, inner]
    J[:, row, _LENGTHS.start + _FREE] = -ratio / _BONE_STD


def _rays(J: Array, e: Array, x: Array, T: Array, rays: Array, strength: Array) -> None:
    """Rows of the reprojection error, with Huber's weights."""
    n = len(x)
    points = x + T[:, None]
    z = np.maximum(points[..., 2], _NEAREST)
    xy = points[..., :2] / z[..., None]
    residual = xy - np.where(strength[..., None] > 0, rays, xy)
    size = np.linalg.norm(residual, axis=-1) * strength
    w = strength * np.sqrt(np.minimum(1.0, _HUBER / np.maximum(size, 1e-9)))
    D = np.zeros((n, 17, 2, 3))
    D[..., 0, 0] = D[..., 1, 1] = w / z
    D[..., 0, 2], D[..., 1, 2] = -w * xy[..., 0] / z, -w * xy[..., 1] / z
    e[:, _RAY_ROWS] = (residual * w[..., None]).reshape(n, 34)
    J[:, _RAY_ROWS, _ROOT] = D.reshape(n, 34, 3)
    joint = np.arange(16)
    rows = _RAY_ROWS.start + 2 * (joint[:, None, None] + 1) + np.arange(2)[:, None]
    J[:, rows, 3 * joint[:, None, None] + np.arange(3)] = D[:, 1:]
