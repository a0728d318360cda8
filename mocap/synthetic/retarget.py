"""Recorded motion as a synthetic person's: any joints on H36M-17, from BVH or HDF5, with exact truth again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.skeleton import H36M_17
from mocap.synthetic.body import JOINTS, PARENTS, Body
from mocap.synthetic.motion import Motion

Array = NDArray[np.float64]

# A foot that stands: this near its own lowest place (m) and this slow (m/s).
_LOW_M, _SLOW_M_S = 0.05, 0.2


@dataclass(frozen=True)
class MeasuredBody(Body):
    """A body whose joints in rest, relative to their parents, are given: 17 times (x, y, z) in metres."""

    rest: tuple[tuple[float, ...], ...] = ()

    @cached_property
    def offsets(self) -> Array:
        """float64 [17, 3]: each joint relative to its parent in rest, metres."""
        return np.array(self.rest)

    @staticmethod
    def of(positions: Array) -> MeasuredBody:
        """From joints [T, 17, 3] (m): the median length of each bone, left and right alike.

        Pelvis and chest are rigid: where hips and spine, neck and shoulders sit on them is the median too.

        Raises
        ------
        DataError
            No body has these measures.
        """
        usual = Body().offsets
        size = np.linalg.norm(usual, axis=-1, keepdims=True)
        lengths = np.median(np.linalg.norm(positions - positions[:, np.maximum(PARENTS, 0)], axis=-1), 0)
        rest = usual / np.where(size > 0, size, 1) * lengths[:, None]
        for joint, across in (("pelvis", "hip"), ("thorax", "shoulder")):
            j = JOINTS.index(joint)
            children = np.flatnonzero(j == PARENTS)
            middle = next(c for c in children if H36M_17.mirror[c] == c)
            away = positions[:, children] - positions[:, j : j + 1]
            left, right = (positions[:, JOINTS.index(f"{s}_{across}")] for s in "lr")
            axes = _frame(left - right, positions[:, middle] - positions[:, j])
            rest[children] = np.median(np.einsum("tki,tci->tck", axes, away), 0)
        rest = (rest + rest[H36M_17.mirror] * [-1, 1, 1]) / 2
        stature = float(np.linalg.norm(rest, axis=-1).sum() / size.sum() * Body().stature)
        return MeasuredBody(stature, rest=tuple(tuple(r) for r in rest.tolist()))


def _frame(x: Array, up: Array) -> Array:
    """Rows [T, 3, 3] of a frame with the first axis along x [T, 3] and the third nearest to up [T, 3]."""
    x = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
    y = np.cross(up, x)
    y /= np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-12)
    return np.stack([x, y, np.cross(x, y)], -2)


def motion_from_joints(positions: Array, fps: float) -> Motion:
    """The motion of a synthetic person who follows recorded joints.

    The person's joints are the truth of everything made from it, exact by construction; they follow the
    recording as closely as constant bones and a rigid pelvis and chest allow. Bones aim at the
    recorded joints; about their own length they turn no more than they must.

    Parameters
    ----------
    positions : [T, 17, 3], metres
        H36M-17, z up.
    fps : float

    Raises
    ------
    DataError
        Other shapes, missing joints, or lengths that no body has.
    """
    X = np.asarray(positions, np.float64)
    if X.ndim != 3 or X.shape[1:] != (17, 3) or not len(X) or not np.isfinite(X).all() or not fps > 0:
        raise DataError("no motion to follow", expected="[T, 17, 3] without gaps, a positive rate",
                        found=f"{X.shape}, {fps} fps", where="motion_from_joints")  # fmt: skip
    body = MeasuredBody.of(X)
    offsets = body.offsets
    place, world, local = np.empty_like(X), np.empty((len(X), 17, 3, 3)), np.empty((len(X), 17, 3, 3))
    for j, parent in enumerate(PARENTS):
        place[:, j] = X[:, 0] if parent < 0 else place[:, parent] + world[:, parent] @ offsets[j]
        children = np.flatnonzero(j == PARENTS)
        above = np.eye(3) if parent < 0 else world[:, parent]
        local[:, j] = np.eye(3)
        if len(children):
            target = np.swapaxes(np.broadcast_to(above, (len(X), 3, 3)), -1, -2) @ np.swapaxes(
                X[:, children] - place[:, j : j + 1], -1, -2
            )
            local[:, j] = _towards(offsets[children], np.swapaxes(target, -1, -2))
        world[:, j] = above @ local[:, j]
    feet = place[:, [H36M_17.index("l_ankle"), H36M_17.index("r_ankle")]]
    return Motion((body,), local[:, None], X[:, :1].copy(), _planted(feet, fps)[:, None], float(fps))


def _towards(rest: Array, target: Array) -> Array:
    """Rotations [T, 3, 3] that take rest directions [C, 3] nearest to targets [T, C, 3]: least squares, C > 1
    (Kabsch, Acta Cryst. A 32, 1976), or the least turn that there is, C = 1.
    """  # noqa: D205
    if len(rest) > 1:
        U, _, Vt = np.linalg.svd(np.einsum("tci,cj->tij", target, rest))
        U[..., 2] *= np.sign(np.linalg.det(U @ Vt))[:, None]
        return np.asarray(U @ Vt)
    a = rest[0] / np.linalg.norm(rest[0])
    b = target[:, 0] / np.maximum(np.linalg.norm(target[:, 0], axis=-1, keepdims=True), 1e-12)
    axis, cosine = np.cross(a, b), b @ a
    # Opposite: any turn by half a circle across the bone.
    across = np.cross(a, np.eye(3)[np.abs(a).argmin()])
    across /= np.linalg.norm(across)
    K = np.zeros((len(b), 3, 3))
    K[:, [2, 0, 1], [1, 2, 0]], K[:, [1, 2, 0], [2, 0, 1]] = axis, -axis
    R = np.eye(3) + K + K @ K / np.maximum(1 + cosine, 1e-9)[:, None, None]
    half = 2 * np.outer(across, across) - np.eye(3)
    return np.where((cosine < -1 + 1e-9)[:, None, None], half, R)


def _planted(feet: Array, fps: float) -> NDArray[np.bool_]:
    low = np.percentile(feet[..., 2], 5, axis=0)
    speed = np.linalg.norm(np.gradient(feet, axis=0) * fps, axis=-1) if len(feet) > 1 else np.zeros(feet.shape[:2])
    return np.asarray((feet[..., 2] < low + _LOW_M) & (speed < _SLOW_M_S))


def read_recording(path: Path, sequence: int = 0, seconds: float = 0.0) -> Motion:
    """A recording as the motion of a synthetic person.

    Parameters
    ----------
    path : Path
        BVH (50 frames/s are made of it), or HDF5 with `root` [F, 3] and `pose_rel` [F, 16, 3] mm, `start`, `length`,
        `subject`: `mocap.lifting.dataset.read_motion`.
    sequence : int
        Of an HDF5 file with several.
    seconds : float
        Only so much from its beginning; all of it unless given.

    Raises
    ------
    DataError
        Not readable, or no such sequence.
    """
    path = Path(path)
    if path.suffix.lower() == ".bvh":
        from mocap.lifting.bvh_motion import FPS, read_bvh_h36m

        joints, fps = read_bvh_h36m(path), FPS
    else:
        from mocap.lifting.dataset import read_motion

        found = read_motion([path])
        if not 0 <= sequence < len(found.starts):
            raise DataError("no such sequence", expected=f"0..{len(found.starts) - 1}", found=f"{sequence}",
                            where=str(path))  # fmt: skip
        rows = slice(int(found.starts[sequence]), int(found.starts[sequence] + found.counts[sequence]))
        joints, fps = _joints(found.roots[rows], found.directions[rows], found.lengths[rows]), found.fps
    if seconds > 0:
        joints = joints[: max(1, round(seconds * fps))]
    return motion_from_joints(joints, fps)


def _joints(roots: NDArray[np.float32], directions: NDArray[np.float32], lengths: NDArray[np.float32]) -> Array:
    joints = np.empty((len(roots), 17, 3))
    joints[:, 0] = roots
    for b, (parent, child) in enumerate(H36M_17.bones):
        step = directions[:, b].astype(np.float64) * lengths[:, b, None]
        joints[:, JOINTS.index(child)] = joints[:, JOINTS.index(parent)] + step
    return joints
