"""Tying lifted poses to what triangulation knows, in the same frame and in the frames around it.

A lifted pose errs as a whole (offset, rotation) and joint by joint. Both errors change slowly, so
that what they are where triangulated joints show them says much about the frames around: each is
treated as an Ornstein-Uhlenbeck process that is known in some frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_MIN_ANCHORS = 3
_STIFFNESS = 0.02  # m2; joints must be spread by more than this to turn a pose
_SMOOTH = 2  # frames on either side that a measured error is averaged with


@dataclass(frozen=True, eq=False)
class Tied:
    """Poses of one view after tying.

    Attributes
    ----------
    positions : float64 [T, 17, 3]
        World, metres.
    root_share : float64 [T]
        Share (0..1) that is left of the variance of where the pose stands.
    joint_share : float64 [T, 17]
        Share that is left of each joint's own variance.
    """

    positions: Array
    root_share: Array
    joint_share: Array


def bridge(values: Array, known: Mask, memory: float) -> tuple[Array, Array]:
    """Conditional mean and relative variance of a zero-mean Ornstein-Uhlenbeck process.

    Parameters
    ----------
    values : [T, ...]
        What it is where known.
    known : bool [T, ...]
        Broadcasts over the last axis of `values`: shape of `values` without it.
    memory : float
        Frames after which correlation has fallen to 1/e.

    Returns
    -------
    mean : float64 [T, ...]
        `values` where known, 0 far from there.
    share : float64 [T, ...]
        Variance as a share of the process' own: 0 where known, 1 far away. Shape of `known`.

    Notes
    -----
    Markov property: only the nearest known frames count (Rasmussen & Williams 2006, B.2.1).
    """
    frames = np.arange(len(known)).reshape(-1, *([1] * (known.ndim - 1)))
    before = np.maximum.accumulate(np.where(known, frames, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, frames, len(known))[::-1], axis=0)[::-1]
    c = np.where(before >= 0, np.exp((before - frames) / memory), 0.0)
    d = np.where(after < len(known), np.exp((frames - after) / memory), 0.0)
    clean = np.where(known[..., None], values, 0.0)
    left = np.take_along_axis(clean, np.clip(before, 0, None)[..., None], 0)
    right = np.take_along_axis(clean, np.clip(after, None, len(known) - 1)[..., None], 0)
    rest = np.maximum(1 - c * c * d * d, 1e-12)
    weight_left, weight_right = c * (1 - d * d) / rest, d * (1 - c * c) / rest
    mean = weight_left[..., None] * left + weight_right[..., None] * right
    share = (1 - c * c) * (1 - d * d) / rest
    return np.where(known[..., None], clean, mean), np.where(known, 0.0, share)


def tie(lifted: Array, anchors: Array, root_memory: float, joint_memory: float) -> Tied:
    """Move lifted poses so that they fit the triangulated joints.

    Parameters
    ----------
    lifted : [T, 17, 3]
        Poses in the world, metres; NaN where there is none.
    anchors : [T, 17, 3]
        Triangulated joints; NaN where missing.
    root_memory, joint_memory : float
        Frames over which the pose's and the joints' errors persist.
    """
    present: Mask = np.asarray(np.isfinite(lifted).all(axis=(1, 2)))
    common = np.isfinite(anchors).all(-1) & present[:, None]
    anchored = common.sum(-1) >= _MIN_ANCHORS
    safe = np.where(present[:, None, None], lifted, 0.0)
    target = np.where(common[..., None], anchors, 0.0)
    shift, turn = _fit(safe, target, common & anchored[:, None])
    errors = _smoothed(np.concatenate([shift, turn], -1), anchored)
    # In its own frame a fit counts as measured; smoothing is for carrying it elsewhere.
    carried, root_share = bridge(errors, anchored, root_memory)
    whole = np.where(anchored[:, None], np.concatenate([shift, turn], -1), carried)
    pivot = safe.mean(1, keepdims=True)
    R = Rotation.from_rotvec(whole[:, 3:]).as_matrix()
    moved = np.einsum("tik,tjk->tji", R, safe - pivot) + pivot + whole[:, None, :3]
    own, joint_share = bridge(_smoothed(np.where(common[..., None], target - moved, 0.0), common), common, joint_memory)
    positions = np.where(present[:, None, None], moved + own, np.nan)
    # The mean of n joints fixes a pose to about 1/n of one joint's variance.
    known_share = 1.0 / np.maximum(common.sum(-1), 1)
    return Tied(
        positions, np.where(anchored, known_share, root_share), np.where(common, known_share[:, None], joint_share)
    )


def _fit(source: Array, target: Array, common: Mask) -> tuple[Array, Array]:
    """Shift [T, 3] and rotation vector [T, 3] about the pose's mean that fit the common joints.

    Kabsch (1976) with a pull towards no rotation, which decides where the joints do not.
    """
    w = common.astype(float)[..., None]
    count = np.maximum(w.sum(1, keepdims=True), 1)
    a, b = (source * w).sum(1, keepdims=True) / count, (target * w).sum(1, keepdims=True) / count
    H = np.einsum("tji,tjk->tik", (target - b) * w, source - a) + _STIFFNESS * np.eye(3)
    U, _, Vt = np.linalg.svd(H)
    U[:, :, 2] *= np.sign(np.linalg.det(U) * np.linalg.det(Vt))[:, None]
    R = U @ Vt
    pivot = source.mean(1)
    shift = b[:, 0] - a[:, 0] + np.einsum("tik,tk->ti", R - np.eye(3), pivot - a[:, 0])
    turn = Rotation.from_matrix(R).as_rotvec()
    empty: Mask = np.asarray(~common.any(axis=-1))
    shift[empty], turn[empty] = 0, 0
    return shift, turn


def _smoothed(values: Array, known: Mask) -> Array:
    """Mean over the known frames within `_SMOOTH` of each frame."""
    total, count = np.zeros_like(values), np.zeros(known.shape)
    clean = np.where(known[..., None], values, 0.0)
    length = len(values)
    for offset in range(-_SMOOTH, _SMOOTH + 1):
        to = slice(max(0, offset), min(length, length + offset))
        of = slice(max(0, -offset), min(length, length - offset))
        total[to] += clean[of]
        count[to] += known[of]
    return total / np.maximum(count, 1)[..., None]
