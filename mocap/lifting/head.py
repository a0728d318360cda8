"""Head joints that too few views saw, from the rest of the head.

A head is rigid: a few of its joints, the rays of single views and the shoulders below it say where
the others are. Its shape is learnt from the take, starting from an average head; where it looks,
relative to the torso, likewise.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.camera import CameraRig
from calibration.projection import Lenses, project, rays
from mocap.lifting.settings import LiftingSettings
from mocap.lifting.torso_frame import TorsoFrames, torso_frames
from mocap.skeleton import Skeleton
from mocap.types import Matches, Source, Trajectories3D

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# An adult's head: origin between the ears, x to its left, y backwards, z up, metres (Farkas 1994, rounded).
_AVERAGE_HEAD = {
    "l_ear": (0.075, 0.0, 0.0),
    "l_eye": (0.032, -0.085, 0.03),
    "l_eye_inner": (0.018, -0.09, 0.03),
    "l_eye_outer": (0.045, -0.08, 0.03),
    "l_mouth": (0.025, -0.09, -0.055),
    "nose": (0.0, -0.115, -0.01),
}
# From the middle of the shoulders to that origin, in the torso's axes, metres.
_ABOVE_SHOULDERS = np.array([0.0, -0.04, 0.20])
# How far heads turn (rad) and shift (m) against the torso, before the take is known, and at least.
_TURN, _SHIFT, _LEAST_TURN, _LEAST_SHIFT = 0.5, 0.05, 0.15, 0.02
# How exactly a joint keeps its place on the head, metres.
_SHAPE_STD = 0.012
# Frames that the average head counts for; fewest frames that teach the head's pose; most that are used.
_AVERAGE_COUNT, _LEAST_FRAMES, _MOST_FRAMES = 10.0, 20, 300
_PIXEL_STD = 6.0
_ROBUST = 3.0  # standard deviations
_ROUNDS, _STEPS = 4, 6


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What is known of N heads with K joints in V views.

    Attributes
    ----------
    points : [N, K, 3] m, information : [N, K, 3, 3] m^-2
        Triangulated joints; 0 where there is none.
    centres : [V, 3], directions : [V, N, K, 3], ray_information : [V, N, K] m^-2
        Rays of the joints that were not triangulated.
    """

    points: Array
    information: Array
    centres: Array
    directions: Array
    ray_information: Array

    def rows(self, index: NDArray[np.int64]) -> _Evidence:
        return _Evidence(self.points[index], self.information[index], self.centres, self.directions[:, index],
                         self.ray_information[:, index])  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Pose:
    """Where heads are expected: rotation [N, 3, 3], origin [N, 3] m, and how surely (1 / variance)."""

    R: Array
    t: Array
    turn: float
    shift: float


def complete_heads(
    trajectories: Trajectories3D, matches: Matches, rig: CameraRig, skeleton: Skeleton, settings: LiftingSettings
) -> Trajectories3D:
    """Fill missing joints of heads whose torso is known.

    Parameters
    ----------
    trajectories : Trajectories3D
        As triangulated and lifted.
    matches : Matches
        What it was made from.
    rig : CameraRig
        The cameras of `matches`.
    skeleton : Skeleton
    settings : LiftingSettings
        `max_std` and `min_confidence` count here too.

    Returns
    -------
    Trajectories3D
        The same object where nothing is to be filled. Filled joints have source LIFTED.
    """
    average, joints, mirror = _average_head(skeleton)
    if len(joints) < 3:
        return trajectories
    names = ("positions", "covariance", "source", "reprojection_error", "consistency", "views_used")
    out = {name: getattr(trajectories, name).copy() for name in names}
    filled = 0
    for person in range(len(matches.person_ids)):
        torso = torso_frames(trajectories.positions[:, person].astype(float), skeleton)
        missing = trajectories.source[:, person][:, joints] == Source.MISSING
        rows = np.flatnonzero(torso.known & missing.any(-1) & (matches.slot[:, :, person] >= 0).any(0))
        if not len(rows):
            continue
        evidence = _evidence(trajectories, matches, rig, person, joints, settings)
        head, expected = _learn(evidence, torso, average, mirror)
        points, covariance = _fit(head, evidence.rows(rows), _expect(torso, rows, expected))
        std = np.sqrt(np.trace(covariance, axis1=-2, axis2=-1) / 3)
        take = missing[rows] & (std <= settings.max_std)
        n, k = np.nonzero(take)
        at = (rows[n], person, joints[k])
        out["positions"][at], out["covariance"][at] = points[n, k], covariance[n, k]
        out["source"][at], out["consistency"][at] = Source.LIFTED, np.nan
        _account(out, at, matches, rig, points[n, k], covariance[n, k])
        filled += len(n)
    log.debug("%d joints of heads completed", filled)
    return replace(trajectories, **out) if filled else trajectories


def _average_head(skeleton: Skeleton) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Shape [K, 3] m, joint numbers [K], and each one's left/right partner among them."""
    names = [j for j in skeleton.joints if j in _AVERAGE_HEAD or f"l_{j.removeprefix('r_')}" in _AVERAGE_HEAD]
    shape = [
        _AVERAGE_HEAD[j] if j in _AVERAGE_HEAD else np.multiply((-1, 1, 1), _AVERAGE_HEAD[f"l_{j[2:]}"]) for j in names
    ]
    partner = [n if n[1] != "_" else ("r_" if n[0] == "l" else "l_") + n[2:] for n in names]
    index = np.array([skeleton.index(n) for n in names], int)
    return np.array(shape, float).reshape(-1, 3), index, np.array([names.index(p) for p in partner], int)


def _evidence(
    trajectories: Trajectories3D, matches: Matches, rig: CameraRig, person: int, joints: NDArray[np.int64],
    settings: LiftingSettings,
) -> _Evidence:  # fmt: skip
    points = trajectories.positions[:, person][:, joints].astype(float)
    known = trajectories.source[:, person][:, joints] == Source.TRIANGULATED
    covariance = trajectories.covariance[:, person][:, joints].astype(float)
    usable = known & np.isfinite(covariance).all((-1, -2))
    shape = _SHAPE_STD**2 * np.eye(3)
    information = np.where(usable[..., None, None], np.linalg.inv(np.where(
        usable[..., None, None], covariance, 0.0) + shape), 0.0)  # fmt: skip
    lenses = Lenses.of(rig)
    confidence = matches.confidence[:, :, person][:, :, joints].astype(float)
    origin, directions = rays(lenses, matches.keypoints[:, :, person][:, :, joints].astype(float))
    std = matches.uncertainty[:, :, person][:, :, joints].astype(float)
    std = np.where(np.isfinite(std), np.maximum(std, 1.0), _PIXEL_STD) / np.sqrt(np.maximum(confidence, 0.05))
    somewhere = trajectories.positions[:, person].reshape(-1, 3).astype(float)
    middle = np.median(somewhere[np.isfinite(somewhere).all(-1)], axis=0)
    distance = np.linalg.norm(middle - origin, axis=-1)[:, None, None]
    metres = std * distance / lenses.K[:, 0, 0][:, None, None]
    seen = (confidence >= max(settings.min_confidence, 1e-6)) & np.isfinite(directions).all(-1) & ~usable
    ray_information = np.where(seen, 1.0 / (metres**2 + _SHAPE_STD**2), 0.0)
    return _Evidence(np.where(usable[..., None], points, 0.0), information, origin,
                     np.where(seen[..., None], directions, 0.0), ray_information)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Habit:
    """How a person holds the head against the torso: rotation [3, 3], shift [3] m, and their spreads."""

    R: Array
    t: Array
    turn: float = _TURN
    shift: float = _SHIFT


def _expect(torso: TorsoFrames, rows: NDArray[np.int64], habit: _Habit) -> _Pose:
    R = torso.R[rows]
    return _Pose(R @ habit.R, torso.origin[rows] + R @ habit.t, habit.turn**-2, habit.shift**-2)


def _learn(evidence: _Evidence, torso: TorsoFrames, average: Array, mirror: NDArray[np.int64]) -> tuple[Array, _Habit]:
    """The person's head [K, 3] m and how it is held, from the frames that show most of it."""
    habit = _Habit(np.eye(3), _ABOVE_SHOULDERS)
    enough = (evidence.information[..., 0, 0] > 0).sum(-1) >= 3
    rows = np.flatnonzero(torso.known & enough)
    rows = rows[:: max(1, len(rows) // _MOST_FRAMES)]
    if len(rows) < 3:
        return average, habit
    part, head = evidence.rows(rows), average
    weight = np.where(part.information[..., 0, 0] > 0, 1.0, 0.0)
    for _ in range(_ROUNDS):
        R, t, _ = _poses(head, part, _expect(torso, rows, habit))
        local = np.einsum("nji,nkj->nki", R, part.points - t[:, None])
        far = np.linalg.norm(local - head, axis=-1) > _ROBUST * 2 * _SHAPE_STD
        w = np.where(far, 0.0, weight)
        total = np.einsum("nk,nki->ki", w, local) + _AVERAGE_COUNT * average
        count = w.sum(0) + _AVERAGE_COUNT
        flip = np.array([-1.0, 1.0, 1.0])
        head = (total + flip * total[mirror]) / (count + count[mirror])[:, None]
    if len(rows) < _LEAST_FRAMES:
        return head, habit
    relative = Rotation.from_matrix(np.einsum("nji,njk->nik", torso.R[rows], R))
    mean = relative.mean()
    shift = np.einsum("nji,nj->ni", torso.R[rows], t - torso.origin[rows])
    turn = np.sqrt(np.mean((mean.inv() * relative).magnitude() ** 2 / 3))
    centre = np.median(shift, 0)
    spread = 1.4826 * np.median(np.abs(shift - centre))
    return head, _Habit(mean.as_matrix(), centre, max(_LEAST_TURN, float(turn)), max(_LEAST_SHIFT, float(spread)))


def _cross(v: Array) -> Array:
    """Matrices [..., 3, 3] of the cross product with v [..., 3]."""
    zero = np.zeros(v.shape[:-1])
    rows = [[zero, -v[..., 2], v[..., 1]], [v[..., 2], zero, -v[..., 0]], [-v[..., 1], v[..., 0], zero]]
    return np.stack([np.stack(r, -1) for r in rows], -2)


def _poses(head: Array, evidence: _Evidence, expected: _Pose) -> tuple[Array, Array, Array]:
    """Most probable rotation [N, 3, 3], origin [N, 3] and covariance [N, 6, 6] (rotation vector, origin).

    Gauss-Newton with Geman-McClure weights on points and rays, and the torso's expectation as prior.
    """
    R, t = expected.R, expected.t
    prior = np.diag([expected.turn] * 3 + [expected.shift] * 3)
    d = evidence.directions
    across = evidence.ray_information[..., None, None] * (np.eye(3) - d[..., :, None] * d[..., None, :])
    for _ in range(_STEPS):
        arm = np.einsum("nij,kj->nki", R, head)
        p = arm + t[:, None]
        miss, off = evidence.points - p, evidence.centres[:, None, None] - p
        square = np.einsum("nki,nkij,nkj->nk", miss, evidence.information, miss)
        square_ray = np.einsum("vnki,vnkij,vnkj->vnk", off, across, off)
        L = evidence.information / (1 + square / _ROBUST**2)[..., None, None] ** 2
        M = across / (1 + square_ray / _ROBUST**2)[..., None, None] ** 2
        pull = np.einsum("nkij,nkj->nki", L, miss) + np.einsum("vnkij,vnkj->nki", M, off)
        L = L + M.sum(0)
        J = np.concatenate([-_cross(arm), np.broadcast_to(np.eye(3), (*arm.shape, 3))], -1)
        turn = Rotation.from_matrix(expected.R @ np.swapaxes(R, 1, 2)).as_rotvec()
        H = np.einsum("nkia,nkij,nkjb->nab", J, L, J) + prior
        g = np.einsum("nkia,nki->na", J, pull) + np.concatenate([turn, expected.t - t], -1) @ prior
        step = np.linalg.solve(H, g[..., None])[..., 0]
        R, t = Rotation.from_rotvec(step[:, :3]).as_matrix() @ R, t + step[:, 3:]
    return R, t, np.linalg.inv(H)


def _fit(head: Array, evidence: _Evidence, expected: _Pose) -> tuple[Array, Array]:
    """All joints [N, K, 3] m of the heads and their covariance [N, K, 3, 3]."""
    R, t, covariance = _poses(head, evidence, expected)
    arm = np.einsum("nij,kj->nki", R, head)
    J = np.concatenate([-_cross(arm), np.broadcast_to(np.eye(3), (*arm.shape, 3))], -1)
    spread = np.einsum("nkia,nab,nkjb->nkij", J, covariance, J) + _SHAPE_STD**2 * np.eye(3)
    return arm + t[:, None], spread


def _account(
    out: dict[str, NDArray], at: tuple[NDArray[np.int64], int, NDArray[np.int64]], matches: Matches, rig: CameraRig,
    points: Array, covariance: Array,
) -> None:  # fmt: skip
    """Views that agree with the filled joints, and the error there, in place."""
    lenses = Lenses.of(rig)
    rows, person, joints = at
    with np.errstate(invalid="ignore"):
        error = np.linalg.norm(project(lenses, points) - matches.keypoints[:, rows, person, joints], axis=-1)
        distance = np.linalg.norm(points[None] - rig.centres[:, None], axis=-1)
        std = np.sqrt(np.trace(covariance, axis1=-2, axis2=-1) / 3)
        limit = _ROBUST * np.hypot(std * lenses.K[:, 0, 0][:, None] / distance, _PIXEL_STD)
        agree = error <= limit
    bits = np.uint64(1) << np.arange(len(rig), dtype=np.uint64)
    out["views_used"][at] = (agree * bits[:, None]).sum(0, dtype=np.uint64)
    count = agree.sum(0)
    total = np.where(agree, error, 0.0).sum(0)
    out["reprojection_error"][at] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
