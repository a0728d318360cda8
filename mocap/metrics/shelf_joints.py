"""The 14 joints of the Shelf and Campus data sets, and how detectors' joints become them.

The truth has 14 joints; a 15th, the middle of the hips, is added for the torso. What COCO and BODY-25
lack (the bottom and the top of the head) is made as the code of mvpose (Dong et al., CVPR 2019) and of
4D Association (Zhang et al., CVPR 2020) makes it, so that scores compare with theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.skeleton import BODY_25, COCO_17, apply_joint_map, identify, joint_map

Array = NDArray[np.float64]

SHELF_JOINTS = (
    "r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "r_wrist", "r_elbow", "r_shoulder",
    "l_shoulder", "l_elbow", "l_wrist", "head_bottom", "head_top", "pelvis",
)  # fmt: skip

_COCO_LIMBS = np.array([COCO_17.index(j) for j in SHELF_JOINTS[:12]])
_BODY_JOINTS = np.array([BODY_25.index(j) for j in (*SHELF_JOINTS[:12], "neck", "nose", "pelvis")])
_R_HIP, _L_HIP = SHELF_JOINTS.index("r_hip"), SHELF_JOINTS.index("l_hip")
_R_SHOULDER, _L_SHOULDER = SHELF_JOINTS.index("r_shoulder"), SHELF_JOINTS.index("l_shoulder")
_BOTTOM, _TOP, _PELVIS = 12, 13, 14


def to_shelf(positions: Array, joint_names: Sequence[str]) -> Array:
    """Joints [..., J, 3] of a known skeleton as the 15 of Shelf [..., 15, 3], metres.

    COCO-17 and BODY-25 by their published conversions; any other skeleton by way of COCO-17.

    Raises
    ------
    DataError
        Joint names of no known skeleton, or without the head's joints.
    """
    X = np.asarray(positions, np.float64)
    if tuple(joint_names) == SHELF_JOINTS:
        return X
    if tuple(joint_names) == SHELF_JOINTS[:14]:
        return with_pelvis(X)
    skeleton = identify(joint_names)
    if skeleton is BODY_25:
        return _from_body25(X)
    if skeleton is not COCO_17:
        weights = joint_map(skeleton, COCO_17)
        if np.isnan(weights).any():
            lost = [j for j, w in zip(COCO_17.joints, weights, strict=True) if np.isnan(w).any()]
            raise DataError(
                "these joints cannot be scored as Shelf's", expected="COCO-17, BODY-25 or joints that make COCO-17",
                found=f"{skeleton.name}, without {', '.join(lost)}", hint="PCP needs nose and ears for the head",
            )  # fmt: skip
        X = apply_joint_map(weights, X)
    return _from_coco(X)


def with_pelvis(joints: Array) -> Array:
    """The 14 joints of the truth [..., 14, 3] with the middle of the hips added."""
    middle = (joints[..., _R_HIP, :] + joints[..., _L_HIP, :]) / 2
    return np.concatenate([joints, middle[..., None, :]], -2)


def _from_coco(c: Array) -> Array:
    """The `coco2shelf3D` of mvpose, blended with the line from shoulders to ears, as bench scores use it."""
    out = np.empty((*c.shape[:-2], 15, 3))
    out[..., :12, :] = c[..., _COCO_LIMBS, :]
    nose = c[..., COCO_17.index("nose"), :]
    ears = (c[..., COCO_17.index("l_ear"), :] + c[..., COCO_17.index("r_ear"), :]) / 2
    shoulders = (out[..., _R_SHOULDER, :] + out[..., _L_SHOULDER, :]) / 2
    low = (shoulders + ears) / 2
    high = 2 * ears - low
    top = shoulders + (nose - shoulders) * (0.75, 0.75, 1.5)
    bottom = (shoulders + nose) / 2
    out[..., _TOP, :] = 0.75 * top + 0.25 * high
    out[..., _BOTTOM, :] = 0.75 * bottom + 0.25 * low
    out[..., _PELVIS, :] = (out[..., _R_HIP, :] + out[..., _L_HIP, :]) / 2
    return out


def _from_body25(s: Array) -> Array:
    """4D Association's way: the head's bottom between shoulders and ears, its top ahead of and above it."""
    out = s[..., _BODY_JOINTS, :].copy()
    across = out[..., _R_SHOULDER, :] - out[..., _L_SHOULDER, :]
    facing = np.cross(out[..., _BOTTOM, :] - out[..., _PELVIS, :], across)
    length = np.linalg.norm(facing, axis=-1, keepdims=True)
    facing = facing / np.where(length == 0, 1, length)
    shoulders = (s[..., BODY_25.index("r_shoulder"), :] + s[..., BODY_25.index("l_shoulder"), :]) / 2
    ears = (s[..., BODY_25.index("r_ear"), :] + s[..., BODY_25.index("l_ear"), :]) / 2
    out[..., _BOTTOM, :] = (shoulders + ears) / 2
    out[..., _TOP, :] = out[..., _BOTTOM, :] + 0.125 * facing + (0, 0, 0.145)
    return out
