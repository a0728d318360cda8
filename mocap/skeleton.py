"""Joint sets of the field and the maps between them.

A `Skeleton` names the joints a detector or data set uses, with a tree for drawing and measuring,
left/right partners and the twelve limbs whose length tells how good a reconstruction is. A map
between two skeletons is a weight matrix: each target joint is a weighted mean of source joints.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError


@dataclass(frozen=True)
class Skeleton:
    """A joint set.

    Attributes
    ----------
    name : str
    joints : tuple of str
        In the order of the arrays.
    bones : tuple of (parent, child) joint names
        For drawing; not necessarily a tree.
    pairs : tuple of (left, right) joint names
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[str, str], ...]
    pairs: tuple[tuple[str, str], ...]

    def index(self, joint: str) -> int:
        """Position of a joint in the arrays."""
        return self.joints.index(joint)

    @cached_property
    def mirror(self) -> NDArray[np.int64]:
        """Int [J]: for each joint its left/right partner (itself when it has none)."""
        partner = {a: b for left, right in self.pairs for a, b in ((left, right), (right, left))}
        return np.array([self.index(partner.get(j, j)) for j in self.joints])

    @cached_property
    def bone_index(self) -> NDArray[np.int64]:
        """Int [n_bones, 2]: parent and child of each drawn bone."""
        return np.array([(self.index(a), self.index(b)) for a, b in self.bones])


def _sides(*joints: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"l_{j}", f"r_{j}") for j in joints)


def _both(*bones: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((f"{s}_{a}" if a != "-" else a, f"{s}_{b}") for s in "lr" for a, b in bones)


_ARMS = (("shoulder", "elbow"), ("elbow", "wrist"))
_LEGS = (("hip", "knee"), ("knee", "ankle"))
_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")

H36M_17 = Skeleton(
    "h36m17",
    ("pelvis", "r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle", "spine", "thorax", "neck",
     "head", "l_shoulder", "l_elbow", "l_wrist", "r_shoulder", "r_elbow", "r_wrist"),
    (("pelvis", "r_hip"), ("r_hip", "r_knee"), ("r_knee", "r_ankle"), ("pelvis", "l_hip"),
     ("l_hip", "l_knee"), ("l_knee", "l_ankle"), ("pelvis", "spine"), ("spine", "thorax"),
     ("thorax", "neck"), ("neck", "head"), ("thorax", "l_shoulder"), ("l_shoulder", "l_elbow"),
     ("l_elbow", "l_wrist"), ("thorax", "r_shoulder"), ("r_shoulder", "r_elbow"), ("r_elbow", "r_wrist")),
    _sides(*_LIMBS),
)  # fmt: skip

COCO_17 = Skeleton(
    "coco17",
    ("nose", "l_eye", "r_eye", "l_ear", "r_ear", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow",
     "l_wrist", "r_wrist", "l_hip", "r_hip", "l_knee", "r_knee", "l_ankle", "r_ankle"),
    (*_both(*_ARMS, *_LEGS, ("eye", "ear"), ("shoulder", "hip")), ("l_shoulder", "r_shoulder"),
     ("l_hip", "r_hip"), ("nose", "l_eye"), ("nose", "r_eye")),
    _sides("eye", "ear", *_LIMBS),
)  # fmt: skip

BODY_25 = Skeleton(
    "body25",
    ("nose", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist", "pelvis",
     "r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle", "r_eye", "l_eye", "r_ear", "l_ear",
     "l_big_toe", "l_small_toe", "l_heel", "r_big_toe", "r_small_toe", "r_heel"),
    (*_both(*_ARMS, *_LEGS, ("eye", "ear"), ("ankle", "heel"), ("ankle", "big_toe"),
            ("big_toe", "small_toe")),
     ("neck", "l_shoulder"), ("neck", "r_shoulder"), ("pelvis", "neck"), ("pelvis", "l_hip"),
     ("pelvis", "r_hip"), ("neck", "nose"), ("nose", "l_eye"), ("nose", "r_eye")),
    _sides("eye", "ear", *_LIMBS, "big_toe", "small_toe", "heel"),
)  # fmt: skip

HALPE_26 = Skeleton(
    "halpe26",
    (*COCO_17.joints, "head", "neck", "pelvis", "l_big_toe", "r_big_toe", "l_small_toe",
     "r_small_toe", "l_heel", "r_heel"),
    (*_both(*_ARMS, *_LEGS, ("eye", "ear"), ("ankle", "heel"), ("ankle", "big_toe"),
            ("big_toe", "small_toe")),
     ("neck", "l_shoulder"), ("neck", "r_shoulder"), ("pelvis", "neck"), ("pelvis", "l_hip"),
     ("pelvis", "r_hip"), ("neck", "head"), ("nose", "l_eye"), ("nose", "r_eye")),
    BODY_25.pairs,
)  # fmt: skip

OPENPOSE_18 = Skeleton(
    "openpose18",
    ("nose", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist", "r_hip", "r_knee",
     "r_ankle", "l_hip", "l_knee", "l_ankle", "r_eye", "l_eye", "r_ear", "l_ear"),
    (*_both(*_ARMS, *_LEGS, ("eye", "ear")), ("neck", "l_shoulder"), ("neck", "r_shoulder"), ("neck", "l_hip"),
     ("neck", "r_hip"), ("neck", "nose"), ("nose", "l_eye"), ("nose", "r_eye")),
    _sides("eye", "ear", *_LIMBS),
)  # fmt: skip

BLAZEPOSE_33 = Skeleton(
    "blazepose33",
    ("nose", "l_eye_inner", "l_eye", "l_eye_outer", "r_eye_inner", "r_eye", "r_eye_outer", "l_ear",
     "r_ear", "l_mouth", "r_mouth", "l_shoulder", "r_shoulder", "l_elbow", "r_elbow", "l_wrist",
     "r_wrist", "l_pinky", "r_pinky", "l_index", "r_index", "l_thumb", "r_thumb", "l_hip", "r_hip",
     "l_knee", "r_knee", "l_ankle", "r_ankle", "l_heel", "r_heel", "l_big_toe", "r_big_toe"),
    (*_both(*_ARMS, *_LEGS, ("shoulder", "hip"), ("ankle", "heel"), ("heel", "big_toe"),
            ("wrist", "pinky"), ("wrist", "index"), ("wrist", "thumb"), ("eye", "ear")),
     ("l_shoulder", "r_shoulder"), ("l_hip", "r_hip"), ("l_mouth", "r_mouth"), ("nose", "l_eye"),
     ("nose", "r_eye")),
    _sides("eye_inner", "eye", "eye_outer", "ear", "mouth", *_LIMBS, "pinky", "index", "thumb",
           "heel", "big_toe"),
)  # fmt: skip

SKELETONS: dict[str, Skeleton] = {s.name: s for s in (H36M_17, COCO_17, OPENPOSE_18, BODY_25, HALPE_26, BLAZEPOSE_33)}

LIMBS_12: tuple[tuple[str, str], ...] = (
    *_both(*_ARMS, *_LEGS, ("shoulder", "hip")),
    ("l_shoulder", "r_shoulder"),
    ("l_hip", "r_hip"),
)
"""The twelve limbs whose length spread (std/mean) is reported; every skeleton here has them."""

# How the point in the middle of a body part is made from the joints that skeletons have. The first
# recipe whose joints exist is taken; fractions are anatomical ratios of the H36M mean skeleton.
_RECIPES: dict[str, tuple[dict[str, float], ...]] = {
    "pelvis": ({"l_hip": 0.5, "r_hip": 0.5},),
    "thorax": ({"l_shoulder": 0.5, "r_shoulder": 0.5}, {"neck": 1.0}),
    "neck": (
        {"l_shoulder": 0.35, "r_shoulder": 0.35, "l_ear": 0.15, "r_ear": 0.15},
        {"l_shoulder": 0.5, "r_shoulder": 0.5},
    ),
    "head": ({"l_ear": 0.5, "r_ear": 0.5}, {"nose": 1.0}),
    "spine": ({"l_shoulder": 0.25, "r_shoulder": 0.25, "l_hip": 0.25, "r_hip": 0.25},),
    "nose": ({"head": 1.0},),
}

# The neck of BODY-25, HALPE-26 and CMU Panoptic lies between the shoulders, H36M's at the base of the head.
_LOW_NECK = {"openpose18", "body25", "halpe26", "panoptic19"}


def joint_map(source: Skeleton, target: Skeleton) -> NDArray[np.float64]:
    """Weights that make the joints of `target` from those of `source`.

    Parameters
    ----------
    source, target : Skeleton

    Returns
    -------
    float64 [J_target, J_source]
        Rows sum to 1; a row is NaN where the source has nothing to make the joint from.
    """
    weights = np.full((len(target.joints), len(source.joints)), np.nan)
    for row, joint in enumerate(target.joints):
        other_neck = joint == "neck" and (source.name in _LOW_NECK) != (target.name in _LOW_NECK)
        recipes = [] if joint not in source.joints or other_neck else [{joint: 1.0}]
        if joint == "neck" and target.name in _LOW_NECK:
            recipes.append({"l_shoulder": 0.5, "r_shoulder": 0.5})
        for recipe in (*recipes, *_RECIPES.get(joint, ())):
            if all(j in source.joints for j in recipe):
                weights[row] = 0.0
                for j, w in recipe.items():
                    weights[row, source.index(j)] = w
                break
    return weights


def apply_joint_map(weights: NDArray[np.float64], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points [..., J_source, C] -> [..., J_target, C]; NaN where any joint that counts is NaN."""
    clean = np.nan_to_num(points)
    mapped = np.einsum("ts,...sc->...tc", np.nan_to_num(weights), clean)
    absent = ~np.isfinite(points).all(-1)
    needed = np.nan_to_num(weights) != 0
    lost = np.einsum("ts,...s->...t", needed.astype(float), absent.astype(float)) > 0
    lost = lost | np.isnan(weights).any(-1)
    mapped[lost] = np.nan
    return mapped


def canonical_name(name: str) -> str:
    """One spelling for the names that detectors and data sets use (LShoulder, left_shoulder, ...)."""
    text = name.strip()
    if len(text) > 1 and text[0] in "LR" and text[1].isupper():
        text = f"{text[0]}_{text[1:]}"
    snake = "".join(("_" + c if c.isupper() and i and text[i - 1].islower() else c) for i, c in enumerate(text))
    snake = snake.lower().replace(" ", "_").replace("-", "_")
    for long, short in (("left_", "l_"), ("right_", "r_")):
        snake = snake.replace(long, short)
    return {"mid_hip": "pelvis", "root": "pelvis", "hip": "pelvis"}.get(snake, snake)


def identify(joint_names: Sequence[str]) -> Skeleton:
    """The skeleton that a list of joint names belongs to, whatever the spelling.

    Raises
    ------
    DataError
        No known skeleton has these joints in this order.
    """
    names = tuple(canonical_name(n) for n in joint_names)
    for skeleton in SKELETONS.values():
        if skeleton.joints == names:
            return skeleton
    near = max(SKELETONS.values(), key=lambda s: difflib.SequenceMatcher(None, s.joints, names).ratio())
    differing = [f"{a!r} for {b!r}" for a, b in zip(names, near.joints, strict=False) if a != b]
    raise DataError(
        "the joint names are those of no known skeleton",
        expected=", ".join(f"{s.name} ({len(s.joints)} joints)" for s in SKELETONS.values()),
        found=f"{len(names)} joints, nearest to {near.name}; " + "; ".join(differing[:3]),
        hint="name the joints in the order of one of these skeletons",
    )
