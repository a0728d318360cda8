"""One set of bone lengths per person over a take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.kinematics.humanoid import FRACTIONS, MEAN_STATURE, NAMES
from mocap.kinematics.landmarks import Landmarks
from mocap.types import Source

Array = NDArray[np.float64]

_SIDED: dict[str, tuple[str, str]] = {
    "upper_arm": ("shoulder", "elbow"),
    "forearm": ("elbow", "wrist"),
    "thigh": ("hip", "knee"),
    "shank": ("knee", "ankle"),
    "foot": ("ankle", "toe"),
}
_CENTRAL: dict[str, tuple[str, str]] = {
    "hip_width": ("l_hip", "r_hip"),
    "shoulder_width": ("l_shoulder", "r_shoulder"),
    "lower_torso": ("pelvis", "spine"),
    "upper_torso": ("spine", "thorax"),
    "torso": ("pelvis", "thorax"),
    "neck": ("thorax", "head_base"),
}


# How far the line from between the shoulders to between the ears leans forward in a person who stands
# upright, radians: the line from C7 to the ear leans by about 40 degrees (craniovertebral angle near 50
# degrees, Raine & Twomey, Arch. Phys. Med. Rehabil. 78, 1997), and the shoulder joints lie some 5 cm
# in front of C7 and below it.
_EAR_LEAN = np.radians(15.0)


@dataclass(frozen=True, eq=False)
class BodyLengths:
    """Lengths in metres; `left` and `right` by the names of `humanoid.FRACTIONS`.

    `sole_drop` is how far (m) the toe lies below the ankle with the sole on the floor, `neck_lean`
    how far (rad) the neck leans forward in the rest pose.
    """

    central: dict[str, float]
    left: dict[str, float]
    right: dict[str, float]
    sole_drop: tuple[float, float]
    neck_lean: float

    def offsets(self) -> Array:
        """Rest offsets [B, 3] of `humanoid.BONES`, metres."""
        out = np.zeros((len(NAMES), 3))

        def put(name: str, x: float, y: float, z: float) -> None:
            out[NAMES.index(name)] = (x, y, z)

        c = self.central
        put("Spine", 0, 0, 0.3 * c["lower_torso"])
        put("Spine1", 0, 0, 0.7 * c["lower_torso"])
        put("Neck", 0, 0, c["upper_torso"])
        put("Head", 0, -np.sin(self.neck_lean) * c["neck"], np.cos(self.neck_lean) * c["neck"])
        for side, sign, d, drop in (
            ("Left", 1, self.left, self.sole_drop[0]), ("Right", -1, self.right, self.sole_drop[1]),
        ):  # fmt: skip
            half = 0.5 * c["shoulder_width"]
            put(f"{side}Shoulder", sign * 0.2 * half, 0, c["upper_torso"])
            put(f"{side}Arm", sign * 0.8 * half, 0, 0)
            put(f"{side}ForeArm", sign * d["upper_arm"], 0, 0)
            put(f"{side}Hand", sign * d["forearm"], 0, 0)
            put(f"{side}UpLeg", sign * 0.5 * c["hip_width"], 0, 0)
            put(f"{side}Leg", 0, 0, -d["thigh"])
            put(f"{side}Foot", 0, 0, -d["shank"])
            put(f"{side}ToeBase", 0, -np.sqrt(max(d["foot"] ** 2 - drop**2, 0.0)), -drop)
        return out


def body_lengths(points: Landmarks, *, symmetric: bool) -> BodyLengths:
    """Median lengths over the frames in which a bone's ends were triangulated.

    Where a bone was never triangulated all finite samples count; a bone that was never seen takes
    the proportions of the mean adult, scaled by those that were.
    """
    central = {n: _median(points, *ends) for n, ends in _CENTRAL.items()}
    left = {n: _median(points, f"l_{a}", f"l_{b}") for n, (a, b) in _SIDED.items()}
    right = {n: _median(points, f"r_{a}", f"r_{b}") for n, (a, b) in _SIDED.items()}
    for name in _SIDED:
        both = [v for v in (left[name], right[name]) if np.isfinite(v)]
        if both and (symmetric or len(both) == 1):
            left[name] = right[name] = float(np.mean(both))
    stature = _stature({**central, **left})
    for lengths in (central, left, right):
        for name, value in lengths.items():
            if not np.isfinite(value):
                lengths[name] = stature * FRACTIONS.get(name, 0.5 * FRACTIONS["torso"])
    drops = [_sole_drop(points, s, d["foot"]) for s, d in (("l", left), ("r", right))]
    if symmetric:
        drops = [float(np.mean(drops))] * 2
    lean = _EAR_LEAN if points.seen("l_ear", "r_ear").any() else 0.0
    return BodyLengths(central, left, right, (drops[0], drops[1]), float(lean))


def _median(points: Landmarks, a: str, b: str) -> float:
    distance = np.linalg.norm(points[a] - points[b], axis=-1)
    direct = points.flags(a, b) == Source.TRIANGULATED
    chosen = distance[direct & points.seen(a, b)]
    if not len(chosen):
        chosen = distance[points.seen(a, b)]
    return float(np.median(chosen)) if len(chosen) else np.nan


def _stature(seen: dict[str, float]) -> float:
    ratios = [v / FRACTIONS[n] for n, v in seen.items() if n in FRACTIONS and np.isfinite(v)]
    return float(np.median(ratios)) if ratios else MEAN_STATURE


def _sole_drop(points: Landmarks, side: str, foot: float) -> float:
    """Height of the ankle over the line from heel to toe (m), or a third of the foot without a heel."""
    toe, heel, ankle = points[f"{side}_toe"], points[f"{side}_heel"], points[f"{side}_ankle"]
    seen = points.seen(f"{side}_toe", f"{side}_heel", f"{side}_ankle")
    if not seen.any():
        return foot / 3
    sole = toe[seen] - heel[seen]
    length = np.linalg.norm(sole, axis=-1)
    height = np.linalg.norm(np.cross(sole, ankle[seen] - heel[seen]), axis=-1) / np.maximum(length, 1e-6)
    return float(min(np.median(height), 0.9 * foot))
