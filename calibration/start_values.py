"""Where the bundle adjustment starts: intrinsics, camera and target poses from single views and pairs of cameras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.board_pose import PlaneFits, fit_planes, view_poses
from calibration.bundle_adjustment import Problem, free_parameters
from calibration.camera import Camera, Lens
from calibration.errors import CalibrationError
from calibration.intrinsics import blank_state, start_intrinsics
from calibration.lens_selection import coefficients
from calibration.observations import TargetObservations
from calibration.rig_state import INTRINSICS, RigState
from calibration.settings import CalibrationSettings, Distortion
from calibration.view_graph import build_view_graph, chain_cameras, place_targets, require_connected
from calibration.view_table import ViewTable
from calibration.wand import is_wand, place_wands, wand_graph

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Standard deviations of known intrinsics at known_weight 1: share of the focal length, share of the
# image's longer side, coefficients.
_KNOWN_STD = (0.02, 0.02, 0.05)
# What is believed of any lens, in the same units: only against runaway values where the data says nothing.
_LENS_STD = (np.inf, 0.03, 0.3)
_LENS_STD_TANGENTIAL = 0.005


def start_values(
    o: TargetObservations, views: ViewTable, settings: CalibrationSettings, known: Mapping[str, Camera]
) -> tuple[Problem, RigState]:
    """The problem to adjust and where to start.

    Parameters
    ----------
    o : TargetObservations
    views : ViewTable
        The same, grouped.
    settings : CalibrationSettings
    known : mapping of camera name to Camera

    Returns
    -------
    problem : Problem
        With the views that make sense so far.
    state : RigState
        In the frame of the best-connected camera.

    Raises
    ------
    CalibrationError
        Cameras that saw too little or share no views; known intrinsics of another image size.
    """
    C = len(o.cameras)
    state = _with_known(blank_state(o.sizes, settings.lens is Lens.FISHEYE, len(o.times)), o, known)
    mean, information = _prior(state, o, settings, known)
    if is_wand(o.points):
        state, usable, reference = _start_wand(o, views, state, settings, known)
    else:
        state, usable, reference = _start_board(o, views, state, settings, known, (mean, information))
    free = free_parameters(C, reference)
    simple = Distortion.K1K2 if settings.distortion is Distortion.AUTO else settings.distortion
    for c, name in enumerate(o.cameras):
        free[c, 4:INTRINSICS] = coefficients(simple, bool(state.fisheye[c]))
        if name in known:
            free[c, 4:INTRINSICS] |= known[name].distortion != 0
    area = float(np.mean([w * h for w, h in o.sizes]))
    return Problem(views.select(usable), o.points, free, mean, information, area), state


def _start_board(
    o: TargetObservations,
    views: ViewTable,
    state: RigState,
    settings: CalibrationSettings,
    known: Mapping[str, Camera],
    prior: tuple[Array, Array],
) -> tuple[RigState, Bools, int]:
    fits = fit_planes(views, o.points)
    _require_views(o, views, fits.usable, settings, known)
    free = free_parameters(len(o.cameras), None)
    simple = Distortion.NONE if settings.distortion is Distortion.NONE else Distortion.K1K2
    for c, name in enumerate(o.cameras):
        free[c, 4:INTRINSICS] = coefficients(simple, bool(state.fisheye[c]))
        if name in known:
            free[c, :INTRINSICS] = False
    state = start_intrinsics(views, o.points, fits, state, free, prior)
    poses = view_poses(views, state, o.points, fits)
    corners = _corners(o.points)
    graph = build_view_graph(views, poses, corners, len(o.cameras))
    require_connected(graph, views.select(np.flatnonzero(poses.usable)), o.cameras, o.times)
    state, reference = chain_cameras(graph, state)
    state, solved = place_targets(views, poses, corners, state)
    return state, solved[views.pose] & _sensible(views, fits), reference


def _sensible(views: ViewTable, fits: PlaneFits) -> Bools:
    """Views whose points fit together, or are too few to tell."""
    return fits.usable | (views.seen.sum(1) < 4)


def _start_wand(
    o: TargetObservations,
    views: ViewTable,
    state: RigState,
    settings: CalibrationSettings,
    known: Mapping[str, Camera],
) -> tuple[RigState, Bools, int]:
    _require_views(o, views, views.seen.sum(1) >= 2, settings, known)
    state, graph = wand_graph(views, o.points, state, np.array([name not in known for name in o.cameras]))
    require_connected(graph, views, o.cameras, o.times)
    state, reference = chain_cameras(graph, state)
    state, solved = place_wands(views, o.points, state)
    return state, solved[views.pose], reference


def _with_known(state: RigState, o: TargetObservations, known: Mapping[str, Camera]) -> RigState:
    intrinsics, fisheye = state.intrinsics.copy(), state.fisheye.copy()
    for c, (name, size) in enumerate(zip(o.cameras, o.sizes, strict=True)):
        if name in known:
            camera = known[name]
            if camera.size != size:
                raise CalibrationError(
                    "the known intrinsics are for another image size",
                    expected=f"{size[0]} x {size[1]} px, as the footage",
                    found=f"{camera.size[0]} x {camera.size[1]} px",
                    where=f"camera {name}",
                    hint="give intrinsics for the resolution of the footage",
                )
            K = camera.K
            intrinsics[c] = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], *camera.distortion]
            fisheye[c] = camera.lens is Lens.FISHEYE
    return replace(state, intrinsics=intrinsics, fisheye=fisheye)


def _prior(
    state: RigState, o: TargetObservations, settings: CalibrationSettings, known: Mapping[str, Camera]
) -> tuple[Array, Array]:
    mean = state.intrinsics.copy()
    std = np.empty_like(mean)
    for c, name in enumerate(o.cameras):
        focal, centre, lens = _LENS_STD
        weight = settings.known_weight
        long = max(o.sizes[c])
        std[c] = [focal * mean[c, 0]] * 2 + [centre * long] * 2 + [lens] * 5
        if name in known and weight > 0:
            focal, centre, lens = (s / np.sqrt(weight) for s in _KNOWN_STD)
            std[c] = [focal * mean[c, 0], focal * mean[c, 1], *[centre * long] * 2, *[lens] * 5]
        if not state.fisheye[c]:
            std[c, 6:8] = _LENS_STD_TANGENTIAL
    return mean, 1 / std**2


def _require_views(
    o: TargetObservations, views: ViewTable, usable: Bools, settings: CalibrationSettings, known: Mapping[str, Camera]
) -> None:
    seen = np.bincount(views.camera, minlength=len(o.cameras))
    good = np.bincount(views.camera[usable], minlength=len(o.cameras))
    for c, name in enumerate(o.cameras):
        needed = 1 if name in known else settings.min_views
        if good[c] >= needed:
            continue
        raise CalibrationError(
            "the target was never seen" if seen[c] == 0 else "too few usable views of the target",
            expected=f"at least {needed} views of enough points that fit together",
            found=f"{good[c]} usable of {seen[c]} views",
            where=f"camera {name}",
            hint="check the board's definition, or show the target to this camera longer, nearer and tilted",
        )


def _corners(points: Array) -> Array:
    """Four points in the target's plane that span it: its bounding box."""
    low, high = points.min(0), points.max(0)
    return np.array([[low[0], low[1], 0.0], [high[0], low[1], 0.0], [high[0], high[1], 0.0], [low[0], high[1], 0.0]])
