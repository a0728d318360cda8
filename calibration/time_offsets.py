"""Cameras whose clocks are off: a time offset per camera from a target in motion, jointly with everything else."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.bundle_adjustment import Adjusted, Problem, adjust
from calibration.rig_state import TIME_OFFSET, RigState
from calibration.view_table import ViewTable

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Neighbouring poses further apart than this many usual intervals say nothing about the speed between.
_WIDEST_GAP = 2.5
# Estimate, move the views by whole intervals, estimate again: at most so often.
_ROUNDS = 6
_ITERATIONS = 8
# Views whose motion is known that a camera needs for its offset to be estimated.
_LEAST_VIEWS = 8
# So many consecutive poses tell the offsets well enough.
_MOST_POSES = 400


@dataclass(frozen=True, eq=False)
class Timing:
    """Time offsets found.

    Attributes
    ----------
    problem : Problem
        With each view at the pose nearest to the common time it was seen at; views for which there is
        no pose at that time are left out.
    result : Adjusted
        Of that problem, with the offsets that remain.
    offset : float64 [C]
        What to add to each camera's stamps (s), the moved intervals included.
    free : bool [C]
        Cameras whose offset was estimated.
    """

    problem: Problem
    result: Adjusted
    offset: Array
    free: Bools


def usual_interval(times: Array) -> float:
    """Median time between different poses (s); 0 where there is none."""
    gaps = np.diff(np.unique(times))
    return float(np.median(gaps)) if len(gaps) else 0.0


def moved_views(views: ViewTable, times: Array, used: Bools, shift: Ints) -> ViewTable:
    """Views at the poses they belong to once whole intervals are taken out of their cameras' stamps.

    Parameters
    ----------
    views : ViewTable
    times : float64 [B]
    used : bool [B]
        Poses there are.
    shift : int64 [C]
        Intervals to add to each camera's stamps.

    Returns
    -------
    ViewTable
        Sorted by pose and camera, without the views for which there is no pose.
    """
    rows = np.flatnonzero(used)
    rows = rows[np.argsort(times[rows], kind="stable")]
    interval = usual_interval(times[rows])
    wanted = times[views.pose] + shift[views.camera] * interval
    right = np.clip(np.searchsorted(times[rows], wanted), 1, len(rows) - 1)
    left_nearer = wanted - times[rows][right - 1] < times[rows][right] - wanted
    target = rows[np.where(left_nearer, right - 1, right)]
    target = np.where(shift[views.camera] == 0, views.pose, target)
    kept = np.abs(times[target] - wanted) < 0.5 * interval
    moved = replace(views, pose=target).select(kept)
    return moved.select(np.lexsort((moved.camera, moved.pose)))


def with_motion(state: RigState, solved: Bools, times: Array) -> tuple[RigState, Bools]:
    """How the target moves at each pose, from the poses before and after.

    Returns
    -------
    state : RigState
        With `twist`; 0 where no neighbour is near enough.
    known : bool [B]
        Where the motion is known.
    """
    twist, known = np.zeros_like(state.twist), np.zeros(len(times), bool)
    rows = np.flatnonzero(solved)
    rows = rows[np.argsort(times[rows], kind="stable")]
    interval = usual_interval(times[rows])
    if len(rows) < 2 or interval <= 0:
        return replace(state, twist=twist), known
    near = np.diff(times[rows]) < _WIDEST_GAP * interval
    place = np.arange(len(rows))
    before = rows[place - np.r_[False, near]]
    after = rows[place + np.r_[near, False]]
    span = times[after] - times[before]
    moves = span > 0
    rows, before, after, span = rows[moves], before[moves], after[moves], span[moves, None]
    turn = state.target_rotation[after] @ state.target_rotation[before].transpose(0, 2, 1)
    twist[rows, :3] = Rotation.from_matrix(turn).as_rotvec() / span
    twist[rows, 3:] = (state.target_translation[after] - state.target_translation[before]) / span
    known[rows] = True
    return replace(state, twist=twist), known


def _clock(offset: Array, free: Bools, interval: float) -> int:
    """The camera that most others agree with."""
    apart = np.minimum(np.abs(offset[:, None] - offset[None]), 0.5 * interval)
    total = np.where(free, apart[:, free].sum(1), np.inf)
    return int(total.argmin())


def find_time_offsets(problem: Problem, result: Adjusted, times: Array) -> Timing | None:
    """Estimate a time offset per camera with the bundle adjustment.

    Parameters
    ----------
    problem : Problem
    result : Adjusted
        Without offsets.
    times : float64 [B]

    Returns
    -------
    Timing or None
        None where the target's motion is not known at enough poses of any two cameras.

    Notes
    -----
    The target moves with constant speed about each pose, as its neighbours say; its place when a camera
    really looked is linear in that camera's offset, which so becomes one more parameter. Offsets
    beyond half an interval move the camera's views to the neighbouring pose, where the approximation is
    good again. Common time is that of the camera that most others agree with.
    """
    C = len(result.state.t)
    used = _window(problem.views, times)
    original, shift = problem.views.select(used[problem.views.pose]), np.zeros(C, np.int64)
    interval = usual_interval(times[used])
    state, known = with_motion(result.state, used, times)
    free = np.bincount(original.camera[known[original.pose]], minlength=C) >= _LEAST_VIEWS
    if interval <= 0 or free.sum() < 2:
        return None
    for _ in range(_ROUNDS):
        clock = _clock(state.offset + shift * interval, free, interval)
        step = np.round((state.offset - state.offset[clock]) / interval).astype(np.int64)
        step[~free] = 0
        offset = np.where(free, state.offset - state.offset[clock] - step * interval, 0.0)
        shift = shift + step - (shift + step)[clock]
        before = offset + shift * interval
        state, known = with_motion(replace(state, offset=offset), used, times)
        views = moved_views(original, times, used, shift)
        timed = problem.free.copy()
        timed[:, TIME_OFFSET] = free
        timed[clock, TIME_OFFSET] = False
        problem = replace(
            problem, views=views.select(known[views.pose]), free=timed, time_std=interval
        )  # fmt: skip
        result = adjust(problem, state, iterations=_ITERATIONS, tolerance=1e-5)
        state = result.state
        if np.abs(state.offset + shift * interval - before).max() < 0.01 * interval:
            break
    return Timing(problem, result, state.offset + shift * interval, free)


def _window(views: ViewTable, times: Array) -> Bools:
    """Which poses are looked at: bool [B], consecutive ones, not more than enough."""
    poses = np.unique(views.pose)
    poses = poses[np.argsort(times[poses], kind="stable")]
    start = max(0, (len(poses) - _MOST_POSES) // 2)
    used = np.zeros(len(times), bool)
    used[poses[start : start + _MOST_POSES]] = True
    return used
