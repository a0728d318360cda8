"""A synthetic body: bone lengths, landmarks on the surface, forward kinematics.

The tree is that of H36M-17. In the rest pose the body stands in a T-pose, faces -y, its left hand
along +x (the convention of `mocap.types.SkeletalMotion`). Proportions follow Drillis & Contini
(1966) as printed in Winter, Biomechanics and Motor Control of Human Movement, fig. 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.skeleton import BODY_25, H36M_17, HALPE_26, Skeleton

Array = NDArray[np.float64]

JOINTS = H36M_17.joints
_PARENT_OF = {child: H36M_17.index(parent) for parent, child in H36M_17.bones}
PARENTS: NDArray[np.int64] = np.array([_PARENT_OF.get(j, -1) for j in JOINTS])
"""Int [17]: parent of each joint of the tree, -1 for the pelvis; parents come before children."""

# Left-hand side of the tree: offset from the parent in rest, as fractions of stature.
_OFFSETS: dict[str, tuple[float, float, float]] = {
    "pelvis": (0.0, 0.0, 0.0),
    "l_hip": (0.056, 0.0, 0.0),
    "l_knee": (0.0, 0.0, -0.242),
    "l_ankle": (0.0, 0.0, -0.243),
    "spine": (0.0, 0.004, 0.130),
    "thorax": (0.0, 0.004, 0.150),
    "neck": (0.0, -0.006, 0.062),
    "head": (0.0, -0.012, 0.066),
    "l_shoulder": (0.100, 0.0, 0.0),
    "l_elbow": (0.164, 0.0, 0.0),
    "l_wrist": (0.146, 0.0, 0.0),
}

# Points fixed to a joint's frame, as fractions of stature, left side where there are two.
_LANDMARKS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "nose": ("head", (0.0, -0.067, -0.016)),
    "l_eye_inner": ("head", (0.011, -0.053, 0.002)),
    "l_eye": ("head", (0.0185, -0.0515, 0.002)),
    "l_eye_outer": ("head", (0.026, -0.047, 0.002)),
    "l_ear": ("head", (0.044, 0.002, -0.006)),
    "l_mouth": ("head", (0.014, -0.052, -0.034)),
    "head_top": ("head", (0.0, 0.002, 0.066)),
    "l_pinky": ("l_wrist", (0.052, 0.019, 0.0)),
    "l_index": ("l_wrist", (0.056, -0.017, 0.0)),
    "l_thumb": ("l_wrist", (0.036, -0.033, -0.006)),
    "l_heel": ("l_ankle", (0.0, 0.032, -0.041)),
    "l_big_toe": ("l_ankle", (-0.010, -0.098, -0.041)),
    "l_small_toe": ("l_ankle", (0.026, -0.082, -0.041)),
}

SOLE = ("l_heel", "l_big_toe", "l_small_toe", "r_heel", "r_big_toe", "r_small_toe")
"""Landmarks that touch the floor in a standing rest pose."""


def _both_sides(points: dict[str, tuple[float, float, float]]) -> dict[str, Array]:
    full: dict[str, Array] = {}
    for name, offset in points.items():
        full[name] = np.array(offset)
        if name.startswith("l_"):
            full["r_" + name[2:]] = np.array(offset) * (-1.0, 1.0, 1.0)
    return full


@dataclass(frozen=True)
class Body:
    """A person's measures.

    Attributes
    ----------
    stature : float
        Metres, barefoot.
    legs, arms, shoulders, hips : float
        Factors on lengths of legs and arms and on widths of shoulders and hips; 1 is the average.

    Raises
    ------
    DataError
        Measures that no person has.
    """

    stature: float = 1.75
    legs: float = 1.0
    arms: float = 1.0
    shoulders: float = 1.0
    hips: float = 1.0

    def __post_init__(self) -> None:
        factors = (self.legs, self.arms, self.shoulders, self.hips)
        if not (0.5 <= self.stature <= 2.6 and all(0.5 <= f <= 2.0 for f in factors)):
            raise DataError(
                "no body has these measures", expected="stature 0.5-2.6 m, factors 0.5-2", found=f"{self}", where="Body"
            )

    @staticmethod
    def random(seed: int | list[int]) -> Body:
        """A body drawn from the spread of adults, left and right alike."""
        rng = np.random.default_rng(seed)
        stature = float(np.clip(rng.normal(1.72, 0.09), 1.5, 1.95))
        legs, arms, shoulders, hips = (float(f) for f in np.clip(rng.normal(1, 0.025, 4), 0.94, 1.06))
        return Body(stature, legs, arms, shoulders, hips)

    @cached_property
    def offsets(self) -> Array:
        """float64 [17, 3]: each joint relative to its parent in rest, metres."""
        factor = {"hip": self.hips, "knee": self.legs, "ankle": self.legs, "shoulder": self.shoulders}
        factor |= {"elbow": self.arms, "wrist": self.arms}
        full = _both_sides(_OFFSETS)
        return np.stack([full[j] * factor.get(j[2:] if j[1] == "_" else j, 1.0) for j in JOINTS]) * self.stature

    @cached_property
    def landmarks(self) -> dict[str, tuple[int, Array]]:
        """Name -> (joint of the tree, offset in its frame in metres)."""
        offsets = _both_sides({name: offset for name, (_, offset) in _LANDMARKS.items()})
        joints = {name: joint for name, (joint, _) in _LANDMARKS.items()}
        joints |= {"r_" + n[2:]: "r_" + j[2:] if j[1] == "_" else j for n, j in joints.items() if n.startswith("l_")}
        return {name: (JOINTS.index(joints[name]), offset * self.stature) for name, offset in offsets.items()}

    @property
    def sole_height(self) -> float:
        """Height of the ankles above the floor when the foot is flat, metres."""
        return float(-self.landmarks["l_heel"][1][2])


def forward_kinematics(offsets: Array, rotations: Array, root: Array) -> tuple[Array, Array]:
    """World pose of every joint of the tree.

    Parameters
    ----------
    offsets : [P, 17, 3], metres
        Relative to the parent in rest.
    rotations : [T, P, 17, 3, 3]
        Relative to the parent; the pelvis relative to the world.
    root : [T, P, 3], metres
        Of the pelvis.

    Returns
    -------
    positions : float64 [T, P, 17, 3], world, metres
    orientations : float64 [T, P, 17, 3, 3], world from joint
    """
    positions, orientations = np.empty((*rotations.shape[:3], 3)), np.empty(rotations.shape)
    for b, parent in enumerate(PARENTS):
        if parent < 0:
            positions[:, :, b], orientations[:, :, b] = root, rotations[:, :, b]
            continue
        orientations[:, :, b] = orientations[:, :, parent] @ rotations[:, :, b]
        step = np.einsum("tpij,pj->tpi", orientations[:, :, parent], offsets[:, b])
        positions[:, :, b] = positions[:, :, parent] + step
    return positions, orientations


def anchor(body: Body, joint: str, skeleton: Skeleton | None = None) -> tuple[int, Array]:
    """Where a joint of any skeleton lies on the body: (joint of the tree, offset in its frame in m).

    Raises
    ------
    DataError
        The body has no such point.
    """
    low_neck = skeleton in (BODY_25, HALPE_26)
    if joint == "neck" and low_neck:  # theirs lies between the shoulders
        return JOINTS.index("thorax"), np.zeros(3)
    if joint == "head" and skeleton is HALPE_26:
        return body.landmarks["head_top"]
    if joint in JOINTS:
        return JOINTS.index(joint), np.zeros(3)
    if joint in body.landmarks:
        return body.landmarks[joint]
    raise DataError(
        f"the synthetic body has no point {joint!r}",
        expected=", ".join((*JOINTS, *body.landmarks)),
        where="mocap.synthetic",
    )
