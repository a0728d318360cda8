"""Choosing persons and joint sets for an export."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mocap.errors import ExportError
from mocap.skeleton import SKELETONS, apply_joint_map, identify, joint_map
from mocap.types import SkeletalMotion, Source, Trajectories3D

_log = logging.getLogger(__name__)


def only_person(trajectories: Trajectories3D, person: int) -> Trajectories3D:
    """The trajectories of one person id.

    Raises
    ------
    ExportError
        No such person.
    """
    row = [_row(trajectories.person_ids, person)]
    return replace(
        trajectories,
        positions=trajectories.positions[:, row],
        covariance=trajectories.covariance[:, row],
        source=trajectories.source[:, row],
        reprojection_error=trajectories.reprojection_error[:, row],
        consistency=trajectories.consistency[:, row],
        views_used=trajectories.views_used[:, row],
        person_ids=trajectories.person_ids[row],
    )


def motion_row(motion: SkeletalMotion, person: int) -> int:
    """Index of a person id in a motion; -1 asks for the person known in most frames.

    Raises
    ------
    ExportError
        No such person, or nobody at all.
    """
    if person >= 0:
        return _row(motion.person_ids, person)
    return people_by_evidence(motion)[0]


def people_by_evidence(motion: SkeletalMotion) -> list[int]:
    """Indices of all persons, the one measured in most frames first.

    Raises
    ------
    ExportError
        The motion holds nobody.
    """
    if not len(motion.person_ids):
        raise ExportError("the motion holds nobody", where="export")
    return [int(i) for i in np.argsort(-_direct(motion).sum((0, 2)), kind="stable")]


def motion_of(motion: SkeletalMotion, row: int) -> SkeletalMotion:
    """The motion of one person."""
    one = [row]
    return replace(
        motion,
        offsets=motion.offsets[one],
        rotations=motion.rotations[:, one],
        root_positions=motion.root_positions[:, one],
        source=motion.source[:, one],
        person_ids=motion.person_ids[one],
        rotation_std=motion.rotation_std[:, one],
        contacts=motion.contacts[:, one],
        slide_before=motion.slide_before[one],
        slide_after=motion.slide_after[one],
    )


def tell_gaps(motion: SkeletalMotion, row: int) -> None:
    """Warn of frames in which nothing of a person was seen: a pose is there all the same."""
    lost = np.flatnonzero(~_direct(motion)[:, row].any(-1))
    if len(lost):
        _log.warning(
            "person %d was not seen in %d of %d frames (the first is %d); there the pose is interpolated or held",
            motion.person_ids[row], len(lost), len(motion.frames), motion.frames[lost[0]],
        )  # fmt: skip


def _direct(motion: SkeletalMotion) -> NDArray[np.bool_]:
    return (motion.source == Source.TRIANGULATED) | (motion.source == Source.LIFTED)


def _row(ids: NDArray[np.int64], person: int) -> int:
    rows = np.flatnonzero(ids == person)
    if not len(rows):
        known = ", ".join(str(i) for i in ids) or "nobody"
        raise ExportError(f"no person {person}", expected=known, found=str(person), where="export.person")
    return int(rows[0])


def to_skeleton(trajectories: Trajectories3D, name: str) -> Trajectories3D:
    """The trajectories on another joint set.

    Each joint is a weighted mean of the input's (`mocap.skeleton.joint_map`). Its covariance is
    that of the mean of independent joints, its source the least direct one of those it is made of,
    its reprojection error their weighted root mean square; views are those that all of them have.

    Raises
    ------
    ExportError
        The input lacks joints for it.
    DataError
        The input's joint names belong to no known skeleton.
    """
    source, target = identify(trajectories.joint_names), SKELETONS[name]
    weights = joint_map(source, target)
    lost = [j for j, row in zip(target.joints, weights, strict=True) if np.isnan(row).any()]
    if lost:
        raise ExportError(
            f"{source.name} has no joints to make {', '.join(lost)} of {name} from",
            hint="export the input's own joints",
            where="export.skeleton",
        )
    positions = apply_joint_map(weights, trajectories.positions)
    present = np.asarray(np.isfinite(positions).all(-1))
    used = weights != 0
    covariance = np.einsum("ts,...sij->...tij", weights**2, np.nan_to_num(trajectories.covariance))
    flags = np.zeros(present.shape, np.uint8)
    for kind in (Source.TRIANGULATED, Source.LIFTED, Source.INTERPOLATED):
        flags[_any(used, trajectories.source == kind) & present] = kind
    unknown = ~present | _any(used, np.asarray(np.isnan(trajectories.covariance).any((-1, -2))))
    return replace(
        trajectories,
        positions=positions.astype(np.float32),
        covariance=np.where(unknown[..., None, None], np.nan, covariance).astype(np.float32),
        source=flags,
        reprojection_error=_mean_square(weights, trajectories.reprojection_error),
        consistency=_mean_square(weights, trajectories.consistency),
        views_used=_common_views(used, trajectories.views_used),
        joint_names=target.joints,
    )


def _any(used: NDArray[np.bool_], condition: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.einsum("ts,...s->...t", used.astype(np.float32), condition.astype(np.float32)) > 0


def _mean_square(weights: NDArray[np.float64], values: NDArray[np.float32]) -> NDArray[np.float32]:
    known = np.isfinite(values)
    total = np.einsum("ts,...s->...t", weights, np.where(known, values, 0).astype(np.float64) ** 2)
    share = np.einsum("ts,...s->...t", weights, known.astype(np.float64))
    mean = np.divide(total, share, out=np.full_like(total, np.nan), where=share > 0)
    return np.sqrt(mean).astype(np.float32)


def _common_views(used: NDArray[np.bool_], views: NDArray[np.uint64]) -> NDArray[np.uint64]:
    rows = [np.bitwise_and.reduce(views[..., row], axis=-1) for row in used]
    return np.stack(rows, -1)
