"""A whole torso for a person of whom only a part of it is ever seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.kinematics.landmarks import Landmarks
from mocap.kinematics.lengths import BodyLengths
from mocap.kinematics.rotations import smooth_within, unit
from mocap.types import Source

Array = NDArray[np.float64]

# Sine of the least mean bend of knees and feet that tells which way a person faces.
_LEAST_BEND = 0.1


def seen_enough(points: Landmarks, min_frames: int) -> bool:
    """Whether a pair of hips or shoulders is seen in `min_frames` frames."""
    hips, shoulders = points.seen("l_hip", "r_hip").sum(), points.seen("l_shoulder", "r_shoulder").sum()
    return bool(max(hips, shoulders) >= min_frames)


def mirrored_side(points: Landmarks, lengths: BodyLengths, parts: list[slice], sigma: float) -> Landmarks:
    """Hip and shoulder of a side that is never seen, across from those of the side that is.

    Knees and ankles bend about the line from right to left, which tells where across is. Landmarks
    that the other side does not tell, or that are there already, stay as they are.

    Parameters
    ----------
    points : Landmarks
    lengths : BodyLengths
    parts : list of slice
        Continuous parts of the recording.
    sigma : float
        Samples (one standard deviation) over which the direction is averaged.
    """
    new, flags = dict(points.points), dict(points.source)
    for lost, seen, sign in (("l", "r", 1.0), ("r", "l", -1.0)):
        if any(points.seen(f"{lost}_{joint}").any() for joint in ("hip", "shoulder")):
            continue
        across = sign * _leftwards(points, seen, parts, sigma)
        for joint, width in (("hip", "hip_width"), ("shoulder", "shoulder_width")):
            new[f"{lost}_{joint}"] = points[f"{seen}_{joint}"] + lengths.central[width] * across
        for middle, joint in (("pelvis", "hip"), ("thorax", "shoulder")):
            new[middle] = 0.5 * (new[f"l_{joint}"] + new[f"r_{joint}"])
        new["spine"] = 0.5 * (new["pelvis"] + new["thorax"])
        for name in (f"{lost}_hip", f"{lost}_shoulder", "pelvis", "thorax", "spine"):
            known = np.isfinite(new[name]).all(-1)
            flags[name] = np.where(known, Source.INTERPOLATED, Source.MISSING).astype(np.uint8)
    return Landmarks(new, flags, points.variance)


def _leftwards(points: Landmarks, side: str, parts: list[slice], sigma: float) -> Array:
    """Horizontal unit direction [T, 3] from right to left; NaN where nothing tells it."""
    thigh, shank, foot = (
        unit(points[f"{side}_{b}"] - points[f"{side}_{a}"])
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("ankle", "toe"))
    )
    hinges = np.nan_to_num(np.cross(thigh, shank)) + np.nan_to_num(np.cross(foot, shank))
    flat = smooth_within(hinges * np.array([1.0, 1.0, 0.0]), parts, sigma)
    return np.where(np.linalg.norm(flat, axis=-1, keepdims=True) > _LEAST_BEND, unit(flat), np.nan)


def completed_torso(points: Landmarks, lengths: BodyLengths, min_frames: int) -> Landmarks:
    """Hips below shoulders, or shoulders above hips, for a person of whom only the others are seen."""
    new, flags = dict(points.points), dict(points.source)
    ends = {"hip": ("pelvis", "hip_width"), "shoulder": ("thorax", "shoulder_width")}
    for lost, seen, sign in (("hip", "shoulder", -1.0), ("shoulder", "hip", 1.0)):
        if points.seen(f"l_{lost}", f"r_{lost}").sum() >= min_frames:
            continue
        middle = points[ends[seen][0]] + np.array([0, 0, sign * lengths.central["torso"]])
        line = points[f"l_{seen}"] - points[f"r_{seen}"]
        half = 0.5 * lengths.central[ends[lost][1]] * unit(line * np.array([1, 1, 0]))
        new[ends[lost][0]], new[f"l_{lost}"], new[f"r_{lost}"] = middle, middle + half, middle - half
        new["spine"] = 0.5 * (new["pelvis"] + new["thorax"])
        known = np.isfinite(middle).all(-1)
        for name in (ends[lost][0], f"l_{lost}", f"r_{lost}", "spine"):
            flags[name] = np.where(known, Source.INTERPOLATED, Source.MISSING).astype(np.uint8)
    return Landmarks(new, flags, points.variance)
