"""The lift stage: what triangulation left open, from single views.

Rules. A joint is lifted when it has no triangulated position, or one whose standard deviation is
more than `worse_than` times LiftNet's, and some view sees enough of the person. A triangulated
joint that passes that test is never touched. Only joints that H36M-17 has, under the same meaning,
are filled that way; missing joints of the head follow from the rest of it (`mocap.lifting.head`).
Nothing reaches across a jump of the frame numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from mocap.devices import resolve_device
from mocap.errors import DataError
from mocap.lifting.body import known_bones
from mocap.lifting.head import complete_heads
from mocap.lifting.settings import LiftingSettings
from mocap.lifting.skeleton_maps import SkeletonMaps
from mocap.skeleton import apply_joint_map, identify
from mocap.timeline import segments
from mocap.types import Matches, Source, Trajectories3D

if TYPE_CHECKING:
    from mocap.lifting.lift import Lifter

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_BLOCK, _MARGIN = 2048, 128  # rows worked on at a time, and rows of context on either side
_LEAST_STD = 0.03  # metres; lifting is not better than this, so that better joints need no comparison


def lift_missing(
    trajectories: Trajectories3D, matches: Matches, rig: CameraRig, settings: LiftingSettings | None = None
) -> Trajectories3D:
    """Fill joints that too few views saw.

    Parameters
    ----------
    trajectories : Trajectories3D
        As triangulated.
    matches : Matches
        What it was triangulated from: same persons, frames and joints.
    rig : CameraRig
        Must have every camera of `matches`.
    settings : LiftingSettings, optional

    Returns
    -------
    Trajectories3D
        The same object when nothing is to be filled; else a copy in which only filled joints differ:
        source LIFTED, covariance, the views whose 2D point agrees, and their reprojection error.

    Raises
    ------
    DataError
        Records that do not belong together, or an unknown skeleton.
    CalibrationError
        The rig lacks a camera.
    WeightsError
        The network's weights are missing or damaged.
    """
    settings = settings or LiftingSettings()
    _check(trajectories, matches)
    if not settings.enabled or not len(matches.cameras):
        return trajectories
    skeleton, rig = identify(matches.joint_names), rig.select(matches.cameras)
    bodies = _lift_bodies(trajectories, matches, rig, SkeletonMaps.of(skeleton), settings)
    return complete_heads(bodies, matches, rig, skeleton, settings)


def _lift_bodies(
    trajectories: Trajectories3D, matches: Matches, rig: CameraRig, maps: SkeletonMaps, settings: LiftingSettings
) -> Trajectories3D:
    """Fill the joints that H36M-17 has, by LiftNet; the same object when there is nothing to fill."""
    is_open = open_joints(trajectories, settings) & maps.fillable
    if not (is_open & _visible(matches, maps, settings)[..., None]).any():
        return trajectories
    from mocap.lifting.lift import Lifter
    from mocap.lifting.views import fill_person

    lifter: Lifter = Lifter(device=resolve_device(settings.device))
    filled = {
        name: np.array(getattr(trajectories, name))
        for name in ("positions", "covariance", "source", "reprojection_error", "consistency", "views_used")
    }
    for person in range(len(matches.person_ids)):
        bones = known_bones(anchor_joints(trajectories, person, slice(None), is_open, maps)[0], settings.stature)
        for block, context in _blocks(trajectories.frames, np.asarray(is_open[:, person].any(-1)), settings):
            anchors = anchor_joints(trajectories, person, context, is_open, maps)
            found = fill_person(
                matches, person, context, rig, anchors, is_open[context, person], bones, maps, lifter, settings,
                trajectories.lasting_share + trajectories.constant_share,
            )  # fmt: skip
            inner = slice(block.start - context.start, block.stop - context.start)
            take = is_open[block, person] & found.accepted[inner]
            # A doubtful triangulation gives way only to something much better.
            old = joint_std(filled["covariance"][block, person])
            doubtful = filled["source"][block, person] != Source.MISSING
            take &= ~doubtful | (old > settings.worse_than * joint_std(found.covariance[inner]))
            for name, value in found.columns(inner).items():
                filled[name][block, person][take] = value[take]
            log.debug("person %d rows %s: %d joints lifted", person, block, int(take.sum()))
    return replace(trajectories, **filled)  # type: ignore[arg-type]


def joint_std(covariance: NDArray[np.floating]) -> Array:
    """Root mean square over the axes of the standard deviation [...], from [..., 3, 3] m2."""
    return np.sqrt(np.maximum(np.trace(covariance.astype(float), axis1=-2, axis2=-1), 0) / 3)


def open_joints(trajectories: Trajectories3D, settings: LiftingSettings) -> Mask:
    """Bool [T, P, J]: missing, or so uncertain that lifting may do better."""
    with np.errstate(invalid="ignore"):
        doubtful = joint_std(trajectories.covariance) > settings.worse_than * _LEAST_STD
    triangulated = trajectories.source == Source.TRIANGULATED
    return np.asarray((trajectories.source == Source.MISSING) | (triangulated & doubtful))


def anchor_joints(
    trajectories: Trajectories3D, person: int, rows: slice, is_open: Mask, maps: SkeletonMaps
) -> tuple[Array, Array]:
    """Well triangulated joints on H36M-17: float64 [T, 17, 3] m and [T, 17, 3, 3] m2, NaN elsewhere."""
    good = (trajectories.source[rows, person] == Source.TRIANGULATED) & ~is_open[rows, person]
    points = np.where(good[..., None], trajectories.positions[rows, person].astype(float), np.nan)
    mapped = apply_joint_map(maps.to_h36m, points)
    spread = np.where(good[..., None, None], trajectories.covariance[rows, person].astype(float), 0.0)
    covariance = np.einsum("ij,tjab->tiab", np.nan_to_num(maps.to_h36m) ** 2, np.nan_to_num(spread))
    covariance[np.isnan(mapped).any(-1)] = np.nan
    return mapped, covariance


def _visible(matches: Matches, maps: SkeletonMaps, settings: LiftingSettings) -> Mask:
    """Bool [T, P]: some view sees enough joints."""
    needed = np.nan_to_num(maps.to_h36m) != 0
    enough = np.zeros(matches.slot.shape[1:], bool)
    for view in range(len(matches.cameras)):
        absent = ~(matches.confidence[view] >= max(settings.min_confidence, 1e-6))
        seen = (absent.astype(np.float32) @ needed.T.astype(np.float32)) == 0
        enough |= seen.sum(-1) >= settings.min_joints
    return enough


def _blocks(frames: NDArray[np.int64], wanted: Mask, settings: LiftingSettings) -> Iterator[tuple[slice, slice]]:
    """(rows to fill, rows to look at) that have something to fill, inside continuous stretches."""
    for part in segments(frames, settings.max_gap):
        for start in range(part.start, part.stop, _BLOCK):
            block = slice(start, min(start + _BLOCK, part.stop))
            if wanted[block].any():
                yield block, slice(max(part.start, block.start - _MARGIN), min(part.stop, block.stop + _MARGIN))


def _check(trajectories: Trajectories3D, matches: Matches) -> None:
    same = (
        np.array_equal(trajectories.frames, matches.frames)
        and np.array_equal(trajectories.person_ids, matches.person_ids)
        and trajectories.joint_names == matches.joint_names
    )
    if not same:
        raise DataError(
            "trajectories and matches do not belong together",
            expected=f"{len(matches.frames)} frames, persons {matches.person_ids.tolist()}, "
            f"{len(matches.joint_names)} joints",
            found=f"{len(trajectories.frames)} frames, persons {trajectories.person_ids.tolist()}, "
            f"{len(trajectories.joint_names)} joints",
            where="lift", hint="triangulate these matches again",
        )  # fmt: skip
