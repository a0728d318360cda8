"""Joint rotations of one person from landmarks, from the root outwards.

Each bone turns so that its child lands as near as its constant length allows on the seen point,
measured from where the bone really starts after its parents have turned: errors of bone lengths
do not add up along a limb. The rotation about the bone's own axis comes from the plane in which
the limb bends, from the line of hips, shoulders or ears, or stays with the parent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.kinematics.hands import FOREARM_SHARE, hand_turn, turn_about
from mocap.kinematics.hinges import ARM_TURN_STD, LEG_TURN_STD, bending_axis, with_foot
from mocap.kinematics.humanoid import BONES, NAMES, PARENTS
from mocap.kinematics.landmarks import Landmarks
from mocap.kinematics.ranges import neutral_arm
from mocap.kinematics.rotations import align, fill_points, fill_rotations, swing, unit
from mocap.types import Source

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_X, _Y, _Z = np.eye(3)

# From between the ears to the tip of the nose, head upright: a little below the horizontal.
_REST_NOSE = np.array([0.0, -1.0, -0.2])


class PoseSolver:
    """Rotations and root of one person over a take.

    Parameters
    ----------
    points : Landmarks
    offsets : float64 [B, 3] m
        Rest offsets of `humanoid.BONES`.
    part : int [T]
        Continuous part of the recording each row belongs to.
    sigma : float
        Samples (one standard deviation) over which bending planes are averaged.
    """

    def __init__(self, points: Landmarks, offsets: Array, part: NDArray[np.int64], sigma: float) -> None:
        self.points, self.offsets, self.part, self.sigma = points, offsets, part, sigma
        starts = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(part)]
        self.parts = [slice(a, b) for a, b in zip(starts[:-1], starts[1:], strict=True)]
        frames, bones = len(part), len(BONES)
        self.local = np.broadcast_to(np.eye(3), (bones, frames, 3, 3)).copy()
        self.world = self.local.copy()
        self.at = np.zeros((bones, frames, 3))
        self.source = np.zeros((frames, bones), np.uint8)

    def solve(self) -> None:
        """Fill `local`, `world` [B, T, 3, 3], `at` [B, T, 3] and `source` [T, B]."""
        self._torso()
        self._head()
        for side, s, sign in (("Left", "l", 1.0), ("Right", "r", -1.0)):
            self._arm(side, s, sign)
            self._leg(side, s)

    def _torso(self) -> None:
        p = self.points
        hips = p["l_hip"] - p["r_hip"]
        shoulders = p["l_shoulder"] - p["r_shoulder"]
        seen = p.seen("l_hip", "r_hip", "spine")
        self.at[0] = fill_points(p["pelvis"], p.seen("pelvis"), self.part)
        self._put("Hips", align(_X, _Z, hips, p["spine"] - p["pelvis"]), seen, p.flags("l_hip", "r_hip", "spine"))
        seen = p.seen("l_hip", "r_hip", "l_shoulder", "r_shoulder", "spine")
        flags = p.flags("l_hip", "r_hip", "l_shoulder", "r_shoulder")
        between = unit(hips) + 0.5 * unit(shoulders)
        self._put("Spine", align(_Z, _X, p["spine"] - self._start("Spine"), between), seen, flags)
        up = p["thorax"] - self._start("Spine1")
        seen, flags = p.seen("l_shoulder", "r_shoulder"), p.flags("l_shoulder", "r_shoulder")
        self._put("Spine1", align(_Z, _X, up, shoulders), seen, flags)

    def _head(self) -> None:
        p = self.points
        ears = p["l_ear"] - p["r_ear"]
        has_ears = p.seen("l_ear", "r_ear")
        chest = self.world[NAMES.index("Spine1")] @ _X
        side = chest + np.where(has_ears[:, None], unit(np.nan_to_num(ears)), chest)
        up = p["head_base"] - self._start("Neck")
        rest = self.offsets[NAMES.index("Head")]
        self._put("Neck", align(rest, _X, up, side), p.seen("head_base"), p.flags("head_base"))
        self._start("Head")
        if p.seen("l_ear", "r_ear", "nose").any():
            face = p["nose"] - 0.5 * (p["l_ear"] + p["r_ear"])
            seen, flags = p.seen("l_ear", "r_ear", "nose"), p.flags("l_ear", "r_ear", "nose")
            self._put("Head", align(_X, _REST_NOSE, ears, face), seen, flags)
        elif p.seen("head", "head_base").any():
            neck = self.world[NAMES.index("Neck")] @ _X
            seen, flags = p.seen("head", "head_base"), p.flags("head", "head_base")
            self._put("Head", align(_Z, _X, p["head"] - p["head_base"], neck), seen, flags)
        else:
            self._follow("Head")

    def _arm(self, side: str, s: str, sign: float) -> None:
        p = self.points
        chest = self.world[NAMES.index("Spine1")]
        out = sign * _X
        turned = swing(chest, out, np.nan_to_num(p[f"{s}_shoulder"] - self._start(f"{side}Shoulder"), nan=1.0))
        self._put(f"{side}Shoulder", turned, p.seen(f"{s}_shoulder"), p.flags(f"{s}_shoulder"))
        # Palms down, the forearm bends forward: about -z on the left, +z on the right.
        hinge = -sign * _Z
        names = (f"{s}_shoulder", f"{s}_elbow", f"{s}_wrist")
        self._limb((f"{side}Arm", f"{side}ForeArm"), names, out, hinge)
        self._hand(side, s, out)

    def _hand(self, side: str, s: str, out: Array) -> None:
        p = self.points
        palm = (f"{s}_index", f"{s}_pinky", f"{s}_wrist")
        seen = p.seen(*palm)
        self._start(f"{side}Hand")
        if not seen.any():
            self._follow(f"{side}Hand")
            return
        fore = NAMES.index(f"{side}ForeArm")
        along = np.where(seen[:, None], 0.5 * (p[palm[0]] + p[palm[1]]) - p[palm[2]], self.world[fore] @ out)
        bent = swing(self.world[fore], out, along)
        across = np.einsum("tji,tj->ti", bent, p[palm[0]] - p[palm[1]])
        turn = hand_turn(across, -_Y, out, self.parts, self.sigma)
        shared = turn_about(out, FOREARM_SHARE * turn)
        self.local[fore], self.world[fore] = self.local[fore] @ shared, self.world[fore] @ shared
        self._put(f"{side}Hand", bent @ turn_about(out, turn), seen, p.flags(*palm))

    def _leg(self, side: str, s: str) -> None:
        p = self.points
        self._start(f"{side}UpLeg")
        names = (f"{s}_hip", f"{s}_knee", f"{s}_ankle")
        foot = (f"{s}_ankle", f"{s}_toe")
        self._limb((f"{side}UpLeg", f"{side}Leg"), names, -_Z, _X, p[foot[1]] - p[foot[0]])
        self._start(f"{side}Foot")
        if p.seen(*foot).any():
            rest = self.offsets[NAMES.index(f"{side}ToeBase")]
            knee = self.world[NAMES.index(f"{side}Leg")] @ _X
            self._put(f"{side}Foot", align(rest, _X, p[foot[1]] - p[foot[0]], knee), p.seen(*foot), p.flags(*foot))
        else:
            self._follow(f"{side}Foot")
        self._start(f"{side}ToeBase")
        self._follow(f"{side}ToeBase")

    def _limb(
        self,
        bones: tuple[str, str],
        names: tuple[str, str, str],
        rest: Array,
        hinge: Array,
        foot: Array | None = None,
    ) -> None:
        """Two bones that bend about a common hinge.

        `rest` and `hinge` [3] are directions of the rest pose, `foot` [T, 3] a leg's foot, ankle to toe.
        """
        p = self.points
        along = p[names[1]] - self._start(bones[0])
        parent = self.world[PARENTS[NAMES.index(bones[0])]]
        clean = np.nan_to_num(along, nan=1.0)
        if foot is None:
            own = np.einsum("tji,tj->ti", parent, clean)
            expected = np.einsum("tij,tjk,k->ti", parent, neutral_arm(own, 1 if rest[0] > 0 else -1), hinge)
        else:
            expected = swing(parent, rest, clean) @ hinge
        lower = p[names[2]] - p[names[1]]
        turn_std = ARM_TURN_STD
        if foot is not None:
            expected, turn_std = with_foot(expected, foot, lower, self.parts, self.sigma), LEG_TURN_STD
        normal = bending_axis(p[names[1]] - p[names[0]], lower, expected, turn_std, self.parts, self.sigma)
        self._put(bones[0], align(rest, hinge, along, normal), p.seen(names[1]), p.flags(names[1]))
        along = p[names[2]] - self._start(bones[1])
        # The same hinge on both sides of the joint: elbows and knees do not twist.
        axis = self.world[NAMES.index(bones[0])] @ hinge
        self._put(bones[1], align(rest, hinge, along, axis), p.seen(names[2]), p.flags(names[2]))

    def _start(self, bone: str) -> Array:
        """Where a bone begins [T, 3], now that its parents are solved."""
        b = NAMES.index(bone)
        parent = PARENTS[b]
        self.at[b] = self.at[parent] + self.world[parent] @ self.offsets[b]
        return self.at[b]

    def _put(self, bone: str, seen_world: Array, known: Mask, flags: NDArray[np.uint8]) -> None:
        b = NAMES.index(bone)
        parent = np.eye(3) if PARENTS[b] < 0 else self.world[PARENTS[b]]
        # Points that coincide tell no direction.
        known = known & (np.abs(np.linalg.det(np.nan_to_num(seen_world)) - 1) < 1e-3)
        clean = np.where(known[:, None, None], seen_world, np.eye(3))
        # Gaps are filled relative to the parent, so that an unseen hand goes with its arm.
        local = np.swapaxes(np.broadcast_to(parent, clean.shape), -1, -2) @ clean
        self.local[b], within = fill_rotations(local, known, self.part)
        self.world[b] = parent @ self.local[b]
        made_up = np.where(within, Source.INTERPOLATED, Source.MISSING)
        self.source[:, b] = np.where(known, flags, made_up)

    def _follow(self, bone: str) -> None:
        """A bone that nothing was seen of keeps its rest rotation; its source stays MISSING."""
        b = NAMES.index(bone)
        self.world[b] = self.world[PARENTS[b]]
