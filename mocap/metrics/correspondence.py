"""Which frames and joints of two pose sequences belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.errors import DataError
from mocap.metrics.joint_sets import comparable, known_joints
from mocap.metrics.poses import Poses3D
from mocap.skeleton import Skeleton, apply_joint_map, canonical_name, joint_map

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

# With fewer joints of equal names two files are about different things.
_LEAST_NAMES = 6

_HIP_NAMES = ("l_hip", "r_hip")


def common_rows(prediction: Poses3D, truth: Poses3D, offset: int = 0) -> tuple[Rows, Rows]:
    """Rows of both whose frame numbers are equal once `offset` is added to the prediction's.

    Raises
    ------
    DataError
        Different frame rates (where both say theirs) or no common frame.
    """
    a, b = prediction.fps, truth.fps
    if np.isfinite(a) and np.isfinite(b) and abs(a - b) > 1e-3 * b:
        raise DataError(
            "the frame rates differ",
            expected=f"{b:g} fps as in {truth.origin or 'the ground truth'}",
            found=f"{a:g} fps",
            where=prediction.origin or "prediction",
            hint="resample one of them first",
        )
    _, rows_p, rows_t = np.intersect1d(
        prediction.frames + offset, truth.frames, assume_unique=True, return_indices=True
    )
    if not len(rows_t):
        raise DataError(
            "no frame number in common",
            expected=_span(truth),
            found=_span(prediction),
            where=prediction.origin or "prediction",
            hint="frame numbers of result and ground truth must count the same frames",
        )
    return rows_p, rows_t


def _span(poses: Poses3D) -> str:
    return f"frames {poses.frames.min()}..{poses.frames.max()}" if len(poses.frames) else "no frames"


def common_joints(
    prediction: Poses3D, truth: Poses3D, wanted: tuple[str, ...] = ()
) -> tuple[Array, Array, tuple[str, ...]]:
    """Positions of both on the truth's joints, as far as the prediction can make them; of these the `wanted`, if any.

    Returns
    -------
    prediction [T, P, J, 3], truth [T', P', J, 3], joint names [J]

    Raises
    ------
    DataError
        Joint names that are neither equal nor of two known skeletons with joints in common.
    """
    X, Y, names = _common(prediction, truth)
    if not wanted:
        return X, Y, names
    lost = [j for j in wanted if j not in names]
    if lost:
        raise DataError("joints asked for cannot be compared", expected=", ".join(names), found=", ".join(lost),
                        where="--joints")  # fmt: skip
    rows = [names.index(j) for j in wanted]
    return X[:, :, rows], Y[:, :, rows], wanted


def _common(prediction: Poses3D, truth: Poses3D) -> tuple[Array, Array, tuple[str, ...]]:
    if set(truth.joint_names) == set(prediction.joint_names):
        index = [prediction.joint_names.index(n) for n in truth.joint_names]
        return prediction.positions[:, :, index], truth.positions, truth.joint_names
    source, target = known_joints(prediction.joint_names), known_joints(truth.joint_names)
    if source is None or target is None:
        return _by_name(prediction, truth)
    return _by_map(prediction, truth, source, target)


def joints_left_out(truth: Poses3D, compared: tuple[str, ...]) -> tuple[str, ...]:
    """Joints of the truth that were not compared, by their own names."""
    return tuple(n for n in truth.joint_names if n not in compared and canonical_name(n) not in compared)


def _by_map(
    prediction: Poses3D, truth: Poses3D, source: Skeleton, target: Skeleton
) -> tuple[Array, Array, tuple[str, ...]]:
    weights = joint_map(source, target)
    own = np.array([comparable(source, target, j) for j in target.joints])
    possible = np.asarray(~np.isnan(weights).any(1)) & own
    if not possible.any():
        raise DataError("the skeletons share no joints", expected=target.name, found=source.name)
    names = tuple(n for n, ok in zip(target.joints, possible, strict=True) if ok)
    return apply_joint_map(weights[possible], prediction.positions), truth.positions[:, :, possible], names


def _by_name(prediction: Poses3D, truth: Poses3D) -> tuple[Array, Array, tuple[str, ...]]:
    """Joints of equal names, whatever the spelling: for marker and animation files."""
    have = [canonical_name(n) for n in prediction.joint_names]
    want = [canonical_name(n) for n in truth.joint_names]
    rows = [j for j, name in enumerate(want) if name in have and want.count(name) == have.count(name) == 1]
    if len(rows) < min(_LEAST_NAMES, len(want)):
        lost = [truth.joint_names[j] for j in range(len(want)) if j not in rows]
        raise DataError(
            "the joints do not fit each other",
            expected=f"{len(truth.joint_names)} joints of {truth.origin or 'the ground truth'}",
            found=f"{len(prediction.joint_names)} joints, without {', '.join(lost[:4])}",
            where=prediction.origin or "prediction",
            hint="name the joints as a known skeleton does (mocap.skeleton.SKELETONS)",
        )
    index = [have.index(want[j]) for j in rows]
    return prediction.positions[:, :, index], truth.positions[:, :, rows], tuple(want[j] for j in rows)


def root_weights(names: tuple[str, ...]) -> Array:
    """Weights [J] that make the root: the pelvis, else the middle of the hips, else the first joint."""
    weights = np.zeros(len(names))
    if "pelvis" in names:
        weights[names.index("pelvis")] = 1
    elif set(_HIP_NAMES) <= set(names):
        weights[[names.index(n) for n in _HIP_NAMES]] = 0.5
    else:
        weights[0] = 1
    return weights
