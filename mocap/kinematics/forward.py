"""Forward kinematics: world positions and rotations of a motion's joints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mocap.types import SkeletalMotion

Array = NDArray[np.float64]


def joint_rotations(motion: SkeletalMotion) -> Array:
    """World rotations of all joints: float64 [T, P, B, 3, 3]."""
    shape = motion.rotations.shape[:-1]
    flat = motion.rotations.reshape(-1, 4).astype(np.float64)
    local = Rotation.from_quat(flat).as_matrix().reshape(*shape, 3, 3)
    world = local.copy()
    for b, parent in enumerate(motion.parents):
        if parent >= 0:
            world[:, :, b] = world[:, :, parent] @ local[:, :, b]
    return world


def joint_positions(motion: SkeletalMotion) -> Array:
    """World positions of all joints: float64 [T, P, B, 3], metres."""
    world = joint_rotations(motion)
    out = np.empty(world.shape[:-1])
    for b, parent in enumerate(motion.parents):
        if parent < 0:
            out[:, :, b] = motion.root_positions
        else:
            offset = motion.offsets[:, b].astype(np.float64)
            out[:, :, b] = out[:, :, parent] + np.einsum("tpij,pj->tpi", world[:, :, parent], offset)
    return out
