"""Lifting one person in every view that sees enough of it, and merging the views in the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses, project, undistort
from mocap.filtering.map_smoother import smooth
from mocap.lifting.anchors import bridge, tie
from mocap.lifting.measurements import View, snap_to_rays
from mocap.lifting.settings import LiftingSettings
from mocap.lifting.skeleton_maps import SkeletonMaps
from mocap.skeleton import apply_joint_map
from mocap.types import Matches, Source

if TYPE_CHECKING:
    from mocap.lifting.lift import Lifter

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_TRAINED_FPS = 50.0
_BORDER = 6  # frames around an opening that are lifted too, to learn how lifting errs there
_ROOT_MEMORY, _JOINT_MEMORY = 1.0, 0.5  # seconds
_SIZE_ERROR = 0.03  # of the distance: the pose's size is not exactly known
_ERROR_MEMORY = 0.5  # seconds over which the errors of lifting stay alike
_PIXEL_STD = 6.0  # px, where the detector does not say
_BORDER_MEAN = 4  # triangulated frames whose mean is taken over: three at the border of a gap, five elsewhere
_VIEW_CORRELATION = 0.5  # between the errors of lifting the same pose from two views


@dataclass(frozen=True, eq=False)
class Filling:
    """Lifted joints of one person on the detector's skeleton.

    Attributes
    ----------
    positions : float64 [T, J, 3], covariance : float64 [T, J, 3, 3]
        World, metres.
    views_used : uint64 [T, J]
    reprojection_error : float64 [T, J], px
    accepted : bool [T, J]
    """

    positions: Array
    covariance: Array
    views_used: NDArray[np.uint64]
    reprojection_error: Array
    accepted: Mask

    def columns(self, rows: slice) -> dict[str, NDArray[np.generic]]:
        """The fields of `Trajectories3D`, by name."""
        return {
            "positions": self.positions[rows].astype(np.float32),
            "covariance": self.covariance[rows].astype(np.float32),
            "source": np.full(self.accepted[rows].shape, Source.LIFTED, np.uint8),
            "reprojection_error": self.reprojection_error[rows].astype(np.float32),
            "consistency": np.full(self.accepted[rows].shape, np.nan, np.float32),
            "views_used": self.views_used[rows],
        }


def fill_person(
    matches: Matches,
    person: int,
    rows: slice,
    rig: CameraRig,
    anchors: tuple[Array, Array],
    is_open: Mask,
    bones: Array,
    maps: SkeletonMaps,
    lifter: Lifter,
    settings: LiftingSettings,
    lasting: float,
) -> Filling:
    """Lift one person over continuous rows.

    Parameters
    ----------
    matches, person, rows, rig
        Whose 2D, where, and the cameras of `matches`.
    anchors : [T, 17, 3] m and [T, 17, 3, 3] m2
        Well triangulated joints in the world and their covariance; NaN elsewhere.
    is_open : bool [T, J]
        Joints to fill.
    bones : [16], metres
    lasting : float
        Share of the anchors' variance that neighbouring frames have in common.
    """
    views = [_view(matches, v, person, rows, rig, maps, settings) for v in range(len(rig))]
    wanted = _widened(np.asarray(is_open.any(-1)), _BORDER)
    mean, covariance = _lift_views(views, wanted, matches.fps, anchors[0], bones, lifter, settings)
    mean, covariance, used = snap_to_rays(mean, covariance, views)
    mean, covariance = _through_time(mean, covariance, anchors, matches.fps)
    covariance += (lasting + (1 - lasting) / _BORDER_MEAN) * _borrowed(anchors, _JOINT_MEMORY * matches.fps)
    back = np.nan_to_num(maps.from_h36m)
    positions = apply_joint_map(maps.from_h36m, mean)
    joint_covariance = np.einsum("jk,tkab->tjab", np.abs(back), np.nan_to_num(covariance))
    accepted = np.isfinite(positions).all(-1)
    with np.errstate(invalid="ignore"):
        std = np.sqrt(np.trace(joint_covariance, axis1=-2, axis2=-1) / 3)
        accepted &= std <= settings.max_std
    joint_covariance[~accepted] = np.nan
    seen = (used.astype(float).transpose(0, 1, 2) @ (back.T > 0)) > 0  # [V, T, J]
    bits = np.uint64(1) << np.arange(len(rig), dtype=np.uint64)
    views_used = (seen.astype(np.uint64) * bits[:, None, None]).sum(0, dtype=np.uint64)
    error = _reprojection_error(positions, matches.keypoints[:, rows, person].astype(float), seen, Lenses.of(rig))
    return Filling(positions, joint_covariance, views_used, error, accepted)


def _view(
    matches: Matches, view: int, person: int, rows: slice, rig: CameraRig, maps: SkeletonMaps, settings: LiftingSettings
) -> View:
    lenses = Lenses.of(rig.select([rig.names[view]]))
    confidence = matches.confidence[view, rows, person].astype(float)
    seen = confidence >= max(settings.min_confidence, 1e-6)
    pixels = np.where(seen[..., None], matches.keypoints[view, rows, person].astype(float), np.nan)
    with np.errstate(invalid="ignore"):
        rays = apply_joint_map(maps.to_h36m, undistort(lenses, pixels[None])[0])
    weights = np.nan_to_num(maps.to_h36m)
    mapped = np.isfinite(rays).all(-1)
    std = matches.uncertainty[view, rows, person].astype(float)
    std = np.where(np.isfinite(std), np.maximum(std, 1.0), _PIXEL_STD) / np.sqrt(np.maximum(confidence, 0.05))
    noise = (std @ weights.T) / lenses.K[0, 0, 0]
    return View(rays, np.where(mapped, confidence @ weights.T, 0.0).clip(0, 1), noise, lenses)


def _widened(mask: Mask, by: int) -> Mask:
    return np.convolve(mask, np.ones(2 * by + 1), "same") > 0 if len(mask) else mask


def _lift_views(
    views: list[View],
    wanted: Mask,
    fps: float,
    anchors: Array,
    bones: Array,
    lifter: Lifter,
    settings: LiftingSettings,
) -> tuple[Array, Array]:
    """Merged joints [T, 17, 3] and covariance [T, 17, 3, 3] in the world; NaN where not lifted."""
    stride = max(1, round(fps / _TRAINED_FPS))
    tasks = [np.flatnonzero(wanted & ((v.confidence > 0).sum(-1) >= settings.min_joints)) for v in views]
    pairs = list(zip(views, tasks, strict=True))
    rays = np.concatenate([_windows(v.rays, rows, stride, lifter.window, np.nan) for v, rows in pairs])
    confidence = np.concatenate([_windows(v.confidence, rows, stride, lifter.window, 0.0) for v, rows in pairs])
    poses = lifter.lift(rays, confidence, np.tile(bones, (len(rays), 1)))
    T = len(wanted)
    information, weighted = np.zeros((T, 17, 3, 3)), np.zeros((T, 17, 3))
    count = np.zeros(T)
    edges = np.cumsum([0] + [len(t) for t in tasks])
    for view, rows, start, stop in zip(views, tasks, edges[:-1], edges[1:], strict=True):
        part = slice(start, stop)
        R, t = view.lenses.R[0], view.lenses.t[0]
        world = np.full((T, 17, 3), np.nan)
        world[rows] = (poses.positions[part] + poses.root[part, None] - t) @ R
        tied = tie(world, anchors, _ROOT_MEMORY * fps, _JOINT_MEMORY * fps)
        size = _SIZE_ERROR**2 * np.einsum("ni,nj->nij", poses.root[part], poses.root[part])
        root = (poses.root_covariance[part] + size) * tied.root_share[rows, None, None]
        # Lifting errs alike in neighbouring frames; the smoother counts each frame as news.
        repeats = max(1.0, _ERROR_MEMORY * fps)
        own = poses.covariance[part] * np.maximum(tied.joint_share[rows], 0.05)[..., None, None]
        total = np.einsum("ai,njab,bk->njik", R, repeats * (own + root[:, None]) + 1e-5 * np.eye(3), R)
        good = np.isfinite(total).all((1, 2, 3)) & np.isfinite(tied.positions[rows]).all((1, 2))
        inverse = np.linalg.inv(total[good])
        information[rows[good]] += inverse
        weighted[rows[good]] += np.einsum("njik,njk->nji", inverse, tied.positions[rows[good]])
        count[rows[good]] += 1
    found = count > 0
    mean, covariance = np.full((T, 17, 3), np.nan), np.full((T, 17, 3, 3), np.nan)
    merged = np.linalg.inv(information[found])
    mean[found] = np.einsum("njik,njk->nji", merged, weighted[found])
    # Views that lift the same pose err alike, so that n of them tell less than n.
    covariance[found] = merged * (1 + _VIEW_CORRELATION * (count[found] - 1))[:, None, None, None]
    return mean, covariance


def _windows(values: Array, rows: NDArray[np.int64], stride: int, window: int, fill: float) -> Array:
    """[N, W, ...] about each row; `fill` beyond the ends."""
    index = rows[:, None] + stride * (np.arange(window) - window // 2)
    out = values[np.clip(index, 0, len(values) - 1)]
    out[(index < 0) | (index >= len(values))] = fill
    return out


def _through_time(mean: Array, covariance: Array, anchors: tuple[Array, Array], fps: float) -> tuple[Array, Array]:
    """Smooth lifted joints between triangulated ones: most probable motion given both."""
    tied: Mask = np.asarray(np.isfinite(anchors[0]).all(-1))
    lifted: Mask = np.asarray(np.isfinite(mean).all(-1))
    observed = np.where(tied[..., None], anchors[0], mean)
    spread = np.where(tied[..., None, None], anchors[1], covariance)
    rows = np.arange(len(mean))[:, None]
    valid = tied | lifted
    first, last = valid.argmax(0), len(mean) - 1 - valid[::-1].argmax(0)
    present = valid.any(0) & (rows >= first) & (rows <= last)
    row_dt, part = np.full(len(mean), 1 / fps), np.zeros(len(mean), np.int64)
    smooth_mean, smooth_covariance = smooth(
        np.nan_to_num(observed), np.nan_to_num(spread), valid, present, row_dt, part
    )
    smooth_mean[~lifted], smooth_covariance[~lifted] = np.nan, np.nan
    return smooth_mean, smooth_covariance


def _borrowed(anchors: tuple[Array, Array], memory: float) -> Array:
    """Covariance [T, 17, 3, 3] of single triangulated joints, carried to the frames that are tied to them.

    A lifted pose takes over what few triangulated frames show, and with it their error, which is then
    the same in all its frames and not averaged by the smoother.
    """
    known: Mask = np.asarray(np.isfinite(anchors[0]).all(-1))
    covariance = np.nan_to_num(anchors[1]).reshape(*known.shape, 9)
    return bridge(covariance, known, memory)[0].reshape(*known.shape, 3, 3)


def _reprojection_error(positions: Array, keypoints: Array, seen: Mask, lenses: Lenses) -> Array:
    """RMS over the views used [T, J], px; NaN where none was."""
    with np.errstate(invalid="ignore", divide="ignore"):
        square = np.square(project(lenses, positions) - keypoints).sum(-1)
        square = np.where(seen & np.isfinite(square), square, np.nan)
        count = np.isfinite(square).sum(0)
        return np.sqrt(np.nansum(square, 0) / np.where(count, count, np.nan))
