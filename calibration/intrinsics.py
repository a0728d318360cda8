"""Start values of the intrinsics from single views of a flat target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.board_pose import PlaneFits, view_poses
from calibration.bundle_adjustment import Problem, adjust
from calibration.rig_state import RigState
from calibration.view_table import ViewTable

Array = NDArray[np.float64]

# Focal lengths considered, in units of the image's longer side: 150 degrees to 10 degrees of view.
_SHORTEST, _LONGEST = 0.2, 6.0
_VIEWS = 40
_FISHEYE_VIEWS = 12
_FISHEYE_GRID = np.geomspace(0.2, 1.2, 16)


def blank_state(sizes: tuple[tuple[int, int], ...], fisheye: bool, n_poses: int) -> RigState:
    """Cameras that know nothing but their image size: centred, undistorted, field of view 60 degrees."""
    C = len(sizes)
    intrinsics = np.zeros((C, 9))
    size = np.asarray(sizes, dtype=np.float64)
    intrinsics[:, :2] = 0.87 * size.max(1)[:, None]
    intrinsics[:, 2:4] = (size - 1) / 2
    eye = np.eye(3)
    return RigState(
        intrinsics, np.tile(eye, (C, 1, 1)), np.zeros((C, 3)), np.zeros(C),
        np.tile(eye, (n_poses, 1, 1)), np.zeros((n_poses, 3)), np.zeros((n_poses, 6)), np.full(C, fisheye),
    )  # fmt: skip


def start_intrinsics(
    views: ViewTable,
    points: Array,
    fits: PlaneFits,
    state: RigState,
    free: NDArray[np.bool_],
    prior: tuple[Array, Array],
) -> RigState:
    """Intrinsics of each camera from its own views.

    Parameters
    ----------
    views, points, fits
        Views of a flat target and their homographies.
    state : RigState
        Where cameras whose intrinsics are `free` start blank, the others known.
    free : bool [C, 16]
        What may move; only columns of intrinsics matter here.
    prior : (float64 [C, 9], float64 [C, 9])
        Mean and information.

    Notes
    -----
    Focal length in closed form from the homographies (Zhang 2000, eqs. 3 and 4, principal point at
    the image's centre), then each camera's own bundle adjustment, all cameras in one call: every view
    gets a pose of its own.
    """
    usable = np.flatnonzero(fits.usable)
    chosen = np.concatenate([_spread(usable[views.camera[usable] == c], _VIEWS) for c in range(len(state.t))])
    chosen = np.sort(chosen)
    part, part_fits = views.select(chosen), PlaneFits(fits.H[chosen], fits.near[chosen])
    intrinsics = state.intrinsics.copy()
    for c in np.flatnonzero(free[:, 0]):
        mine = np.flatnonzero(part.camera == c)
        longest = 2 * intrinsics[c, 2:4].max() + 1
        if state.fisheye[c]:
            intrinsics[c, :2] = _fisheye_focal(part, points, part_fits, state, mine, longest)
        else:
            intrinsics[c, :2] = _closed_form_focal(part_fits.H[mine], intrinsics[c, 2:4], longest)
    state = replace(state, intrinsics=intrinsics)
    poses = view_poses(part, state, points, part_fits)
    good = np.flatnonzero(poses.usable & np.isfinite(poses.error[:, 0]))
    part = part.only(part_fits.near).select(good)
    alone = replace(part, pose=np.arange(len(part)))
    single = replace(
        state,
        target_rotation=poses.R[good, 0], target_translation=poses.t[good, 0], twist=np.zeros((len(good), 6)),
    )  # fmt: skip
    fixed = free & (np.arange(16) < 9)
    area = float(np.prod(2 * state.intrinsics[:, 2:4] + 1, axis=1).mean())
    found = adjust(Problem(alone, points, fixed, prior[0], prior[1], area), single, iterations=25, tolerance=1e-5)
    return replace(state, intrinsics=found.state.intrinsics)


def _spread(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if len(indices) <= count:
        return indices
    return indices[np.linspace(0, len(indices) - 1, count).round().astype(int)]


def _closed_form_focal(H: Array, centre: Array, longest: float) -> float:
    """Focal length at which the homographies' first two columns are orthogonal and equally long."""
    fallback = 0.87 * longest
    if not len(H):
        return fallback
    shift = np.eye(3)
    shift[:2, 2] = -centre
    scale = np.diag([1 / longest, 1 / longest, 1.0])
    G = scale @ shift @ H
    G = G / np.linalg.norm(G[:, :, :2], axis=(1, 2), keepdims=True)
    a, b = G[:, :, 0], G[:, :, 1]
    # g (a1 b1 + a2 b2) + a3 b3 = 0 and g (|a12|^2 - |b12|^2) + a3^2 - b3^2 = 0 with g = 1 / f^2.
    left = np.concatenate([(a[:, :2] * b[:, :2]).sum(1), ((a[:, :2] ** 2 - b[:, :2] ** 2).sum(1)) / 2])
    right = -np.concatenate([a[:, 2] * b[:, 2], (a[:, 2] ** 2 - b[:, 2] ** 2) / 2])
    g = float(left @ right) / max(float(left @ left), 1e-30)
    for _ in range(20):
        miss = np.abs(left * g - right)
        w = 1 / np.maximum(miss, 1e-6 + 0.1 * np.median(miss))
        g = float((w * left) @ right) / max(float((w * left) @ left), 1e-30)
    if g <= 0:
        return fallback
    return float(np.clip(1 / np.sqrt(g), _SHORTEST, _LONGEST) * longest)


def _fisheye_focal(
    views: ViewTable, points: Array, fits: PlaneFits, state: RigState, mine: NDArray[np.int64], longest: float
) -> float:
    """Of a grid of focal lengths of an ideal equidistant lens, the one that fits single poses best."""
    mine = _spread(mine, _FISHEYE_VIEWS)
    if not len(mine):
        return 0.3 * longest
    part, part_fits = views.select(mine), PlaneFits(fits.H[mine], fits.near[mine])
    best, best_error = 0.3, np.inf
    for f in _FISHEYE_GRID:
        intrinsics = state.intrinsics.copy()
        intrinsics[:, :2] = f * longest
        error = view_poses(part, replace(state, intrinsics=intrinsics), points, part_fits).error[:, 0]
        # Points beyond 90 degrees make no pose: such a focal length is too short.
        pixels = np.median(np.nan_to_num(error, nan=1.0)) * f
        if pixels < best_error:
            best, best_error = float(f), float(pixels)
    return best * longest
