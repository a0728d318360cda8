"""The torso's own axes, from shoulders and hips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.skeleton import Skeleton

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TorsoFrames:
    """World from torso: x to the person's left, y backwards, z up along the spine.

    Attributes
    ----------
    R : float64 [T, 3, 3]
        Identity where not known.
    origin : float64 [T, 3]
        Middle of the shoulders, world, metres; 0 where not known.
    known : bool [T]
    """

    R: Array
    origin: Array
    known: NDArray[np.bool_]


def torso_frames(positions: Array, skeleton: Skeleton) -> TorsoFrames:
    """Frames of positions [T, J, 3]; not known where a shoulder is missing.

    Without hips the torso counts as upright.
    """
    T = len(positions)
    if not {"l_shoulder", "r_shoulder", "l_hip", "r_hip"} <= set(skeleton.joints):
        return TorsoFrames(np.tile(np.eye(3), (T, 1, 1)), np.zeros((T, 3)), np.zeros(T, bool))
    left, right, l_hip, r_hip = (
        positions[:, skeleton.index(j)] for j in ("l_shoulder", "r_shoulder", "l_hip", "r_hip")
    )
    origin = (left + right) / 2
    up = origin - (l_hip + r_hip) / 2
    up = np.where(np.isfinite(up).all(-1, keepdims=True), up, np.array([0.0, 0.0, 1.0]))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = up / np.linalg.norm(up, axis=-1, keepdims=True)
        y = np.cross(z, left - right)
        y /= np.linalg.norm(y, axis=-1, keepdims=True)
    R = np.stack([np.cross(y, z), y, z], -1)
    known = np.isfinite(R).all((1, 2))
    return TorsoFrames(np.where(known[:, None, None], R, np.eye(3)), np.where(known[:, None], origin, 0.0), known)
