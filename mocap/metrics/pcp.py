"""Percentage of correct parts, and its protocol on Shelf and Campus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.metrics.shelf_joints import SHELF_JOINTS

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Parts = tuple[tuple[str, str, str], ...]

SHELF_PARTS: Parts = (
    ("upper arm L", "l_shoulder", "l_elbow"), ("upper arm R", "r_shoulder", "r_elbow"),
    ("lower arm L", "l_elbow", "l_wrist"), ("lower arm R", "r_elbow", "r_wrist"),
    ("upper leg L", "l_hip", "l_knee"), ("upper leg R", "r_hip", "r_knee"),
    ("lower leg L", "l_knee", "l_ankle"), ("lower leg R", "r_knee", "r_ankle"),
    ("head", "head_bottom", "head_top"), ("torso", "head_bottom", "pelvis"),
)  # fmt: skip
"""Ten parts (name, start, end); the torso counts once, as in mvpose and 4D Association."""

SCORED_ACTORS = 3
"""Shelf's fourth actor hardly appears; papers average over the first three."""

_LEAST_JOINTS = 5
_SAME_PERSON_M = 0.5


def pcp_mean(prediction: Array, truth: Array, parts: Parts = SHELF_PARTS, alpha: float = 0.5) -> Bools:
    """Whether each part is right: the mean error of its two ends is at most `alpha` times its length.

    Belagiannis et al., 3D pictorial structures (CVPR 2014), as mvpose and VoxelPose score it.

    Parameters
    ----------
    prediction, truth : [..., 15, 3], metres
        Joints in the order of SHELF_JOINTS; a missing joint makes its parts wrong.
    parts : tuple of (name, start joint, end joint)
    alpha : float

    Returns
    -------
    bool [..., n_parts]
    """
    start, end, length = _ends(prediction, truth, parts)
    return np.asarray((start + end) / 2 <= alpha * length)


def pcp_strict(prediction: Array, truth: Array, parts: Parts = SHELF_PARTS, alpha: float = 0.5) -> Bools:
    """Like `pcp_mean`, but each of the two ends must be within `alpha` times the length.

    "Strict PCP", Pishchulin et al., Articulated people detection and pose estimation (CVPR 2012).
    """
    start, end, length = _ends(prediction, truth, parts)
    return np.asarray((start <= alpha * length) & (end <= alpha * length))


def _ends(prediction: Array, truth: Array, parts: Parts) -> tuple[Array, Array, Array]:
    a = [SHELF_JOINTS.index(p[1]) for p in parts]
    b = [SHELF_JOINTS.index(p[2]) for p in parts]
    error = np.linalg.norm(prediction - truth, axis=-1)
    return error[..., a], error[..., b], np.linalg.norm(truth[..., a, :] - truth[..., b, :], axis=-1)


@dataclass(frozen=True, eq=False)
class ShelfScore:
    """PCP on Shelf or Campus; shares are 0..1.

    Attributes
    ----------
    pcp, pcp_strict : float
        Mean over the scored actors that occur.
    by_actor, strict_by_actor : float64 [A]
        NaN for an actor who does not occur.
    by_part : float64 [10]
        Of the scored actors together.
    limb_error : float, metres
        Mean distance of the twelve limb joints of people who were found.
    id_switches : int
        Times an actor's predicted identity changes.
    people_per_frame : float
        Predicted people, mean over the truth's frames.
    frames : int
    """

    pcp: float
    pcp_strict: float
    by_actor: Array
    strict_by_actor: Array
    by_part: Array
    limb_error: float
    id_switches: int
    people_per_frame: float
    frames: int


def shelf_score(
    prediction: Array, truth: Array, person_ids: NDArray[np.int64], present: Bools | None = None
) -> ShelfScore:
    """PCP with each actor in each frame given the nearest predicted person (mvpose, VoxelPose).

    Actors whose truth lacks a joint in a frame do not count there; several actors may be given the
    same person.

    Parameters
    ----------
    prediction : [T, P, 15, 3], metres
        NaN where missing, on the truth's frames.
    truth : [T, A, 15, 3], metres
    person_ids : int [P]
    present : bool [T, P], optional
        Who is there, for people per frame; whoever has a joint unless given.
    """
    there = np.asarray(np.isfinite(prediction).any((-1, -2)) if present is None else present)
    known = np.asarray(np.isfinite(truth).all((-1, -2)))
    person, distance = _nearest(prediction, truth)
    matched = np.take_along_axis(prediction, person[:, :, None, None], 1) if prediction.shape[1] else np.nan * truth
    matched = np.where(np.isfinite(distance)[..., None, None], matched, np.nan)
    right, strict = pcp_mean(matched, truth), pcp_strict(matched, truth)
    found = known & (distance < _SAME_PERSON_M)
    limbs = np.linalg.norm(matched - truth, axis=-1)[..., :12][found]
    actor, strict_actor = _per_actor(right, known), _per_actor(strict, known)
    scored = known.copy()
    scored[:, SCORED_ACTORS:] = False
    return ShelfScore(
        pcp=_mean(actor[:SCORED_ACTORS]),
        pcp_strict=_mean(strict_actor[:SCORED_ACTORS]),
        by_actor=actor,
        strict_by_actor=strict_actor,
        by_part=right[scored].mean(0) if scored.any() else np.full(len(SHELF_PARTS), np.nan),
        limb_error=_mean(limbs),
        id_switches=_switches(person_ids[person] if len(person_ids) else person, found),
        people_per_frame=float(there.sum(-1).mean()) if len(truth) else 0.0,
        frames=len(truth),
    )


def _nearest(prediction: Array, truth: Array) -> tuple[NDArray[np.int64], Array]:
    """Row of the nearest person [T, A] and its mean distance over joints, inf where there is none."""
    T, A = truth.shape[:2]
    if not prediction.shape[1]:
        return np.zeros((T, A), np.int64), np.full((T, A), np.inf)
    d = np.linalg.norm(prediction[:, None, :, :14] - truth[:, :, None, :14], axis=-1)
    count = np.isfinite(d).sum(-1)
    mean = np.where(np.isfinite(d), d, 0).sum(-1) / np.maximum(count, 1)
    mean[count < _LEAST_JOINTS] = np.inf
    person = mean.argmin(-1)
    return person, np.take_along_axis(mean, person[..., None], -1)[..., 0]


def _per_actor(right: Bools, known: Bools) -> Array:
    count = known.sum(0)
    share = (right & known[..., None]).sum((0, 2)) / np.maximum(count, 1) / right.shape[-1]
    return np.where(count > 0, share, np.nan)


def _switches(identity: NDArray[np.int64], found: Bools) -> int:
    return sum(int((np.diff(identity[found[:, a], a]) != 0).sum()) for a in range(found.shape[1]))


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
