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


# What makes samples of a length differ beyond their covariance, metres: a rigid bone is a model.
_LEAST_STD = 0.006
_HUBER, _HUBER_STEPS = 1.5, 10


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
    """Robust mean lengths over the frames in which a bone's ends were triangulated.

    Where a bone was never triangulated all finite samples count; a bone that was never seen takes
    the proportions of the mean adult, scaled by those that were.
    """
    central = {n: _length(points, *ends)[0] for n, ends in _CENTRAL.items()}
    left, right = {}, {}
    for name, (a, b) in _SIDED.items():
        (one, many), (other, much) = (_length(points, f"{s}_{a}", f"{s}_{b}") for s in "lr")
        both = (many * np.nan_to_num(one) + much * np.nan_to_num(other)) / max(many + much, 1e-9)
        both = both if many + much > 0 else np.nan
        left[name] = both if symmetric or not many else one
        right[name] = both if symmetric or not much else other
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


def _length(points: Landmarks, a: str, b: str) -> tuple[float, float]:
    """Length of a bone (m) and its weight: a mean of its samples by their precision, outliers held off.

    A distance of uncertain points is too long by the variance across it over twice its length
    (second-order expansion of the norm). Huber's M-estimate (Robust Statistics, 1981, ch. 3).
    """
    seen = points.seen(a, b)
    direct = seen & (points.flags(a, b) == Source.TRIANGULATED)
    rows = direct if direct.any() else seen
    if not rows.any():
        return np.nan, 0.0
    distance = np.linalg.norm(points[a][rows] - points[b][rows], axis=-1)
    variance = points.variance[a][rows] + points.variance[b][rows]
    distance = distance - np.minimum(variance / np.maximum(distance, 1e-3), 0.1 * distance)
    precision = 1 / (variance + _LEAST_STD**2)
    length = float(np.median(distance))
    for _ in range(_HUBER_STEPS):
        off = np.abs(distance - length)
        scale = 1.4826 * float(np.median(off)) + 1e-6
        weight = precision * np.minimum(1.0, _HUBER * scale / np.maximum(off, 1e-9))
        length = float((weight * distance).sum() / weight.sum())
    return length, float(precision.sum())


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
