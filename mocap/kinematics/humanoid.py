"""The skeleton that motion is solved for: HumanIK's node names, a T-pose at rest.

Rest pose: z up, facing -y, left hand along +x, palms down. Every bone's own axes are the world's
in the rest pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.skeleton import Skeleton


@dataclass(frozen=True)
class Bone:
    """A node of the humanoid.

    Attributes
    ----------
    name, parent : str
        Parent is empty for the root.
    landmark : str
        The body landmark at which this node sits; empty where no joint of the input is.
    """

    name: str
    parent: str
    landmark: str = ""


def _arm(side: str, s: str) -> tuple[Bone, ...]:
    return (
        Bone(f"{side}Shoulder", "Spine1"),
        Bone(f"{side}Arm", f"{side}Shoulder", f"{s}_shoulder"),
        Bone(f"{side}ForeArm", f"{side}Arm", f"{s}_elbow"),
        Bone(f"{side}Hand", f"{side}ForeArm", f"{s}_wrist"),
    )


def _leg(side: str, s: str) -> tuple[Bone, ...]:
    return (
        Bone(f"{side}UpLeg", "Hips", f"{s}_hip"),
        Bone(f"{side}Leg", f"{side}UpLeg", f"{s}_knee"),
        Bone(f"{side}Foot", f"{side}Leg", f"{s}_ankle"),
        Bone(f"{side}ToeBase", f"{side}Foot", f"{s}_toe"),
    )


BONES: tuple[Bone, ...] = (
    Bone("Hips", "", "pelvis"),
    Bone("Spine", "Hips"),
    Bone("Spine1", "Spine", "spine"),
    Bone("Neck", "Spine1", "thorax"),
    Bone("Head", "Neck", "head_base"),
    *_arm("Left", "l"),
    *_arm("Right", "r"),
    *_leg("Left", "l"),
    *_leg("Right", "r"),
)
"""Parents before children."""

NAMES: tuple[str, ...] = tuple(b.name for b in BONES)
PARENTS: NDArray[np.int64] = np.array([NAMES.index(b.parent) if b.parent else -1 for b in BONES])

_POINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "heel", "big_toe", "small_toe", "ear", "eye")

BODY = Skeleton(
    "body",
    ("pelvis", "spine", "thorax", "neck", "head", "nose", *(f"{s}_{p}" for s in "lr" for p in _POINTS),
     *(f"{s}_{p}" for s in "lr" for p in ("index", "pinky"))),
    (), (),
)  # fmt: skip
"""The joints of any input that the solve can use."""

# Lengths as fractions of stature: Winter, Biomechanics and Motor Control (2009), figure 4.1 after
# Drillis & Contini (1966); used only for bones that are never seen.
FRACTIONS: dict[str, float] = {
    "torso": 0.288,
    "hip_width": 0.191 * 0.6,
    "shoulder_width": 0.259 * 0.85,
    "upper_arm": 0.186,
    "forearm": 0.146,
    "thigh": 0.245,
    "shank": 0.246,
    "foot": 0.10,
    "neck": 0.09,
}

MEAN_STATURE = 1.70
"""Metres; taken where no bone at all tells a person's size."""
