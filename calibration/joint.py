"""Calibrate cameras jointly: observations of a target in, cameras with covariance out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.bundle_adjustment import (
    Adjusted,
    Problem,
    adjust,
    degrees_of_freedom_share,
    linearise,
)
from calibration.camera import Camera, CameraRig, Lens
from calibration.errors import CalibrationError
from calibration.lens_selection import coefficients, supported
from calibration.normal_equations import residuals
from calibration.observations import TargetObservations
from calibration.rig_state import CAMERA_BLOCK, INTRINSICS, TIME_OFFSET
from calibration.settings import CalibrationSettings, Distortion, TimeOffsets
from calibration.solution import CalibrationSolution
from calibration.start_values import start_values
from calibration.time_offsets import Timing, find_time_offsets
from calibration.view_table import ViewTable

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

__all__ = ["CalibrationSettings", "calibrate_cameras"]

_DEFAULT = CalibrationSettings()


_NOMINAL_SIGMA_PX = 0.1
_LARGEST_FOCAL_STD = 0.1


def calibrate_cameras(
    observations: TargetObservations,
    settings: CalibrationSettings = _DEFAULT,
    known: Mapping[str, Camera] | None = None,
) -> CalibrationSolution:
    """Estimate intrinsics, poses and target poses together.

    Parameters
    ----------
    observations : TargetObservations
        Of a board (points in z = 0) or a wand (points on a line).
    settings : CalibrationSettings
    known : mapping of camera name to Camera, optional
        Intrinsics known beforehand (their poses are ignored): start values and a weak prior.

    Returns
    -------
    CalibrationSolution
        In the frame of the best-connected camera.

    Raises
    ------
    CalibrationError
        A camera that never saw the target or too rarely, cameras that are not connected by shared
        views, or views that do not determine the focal length (a board always parallel to itself).

    Notes
    -----
    Start from single views (homographies) and the graph of shared views; then bundle adjustment over
    all cameras and target poses with a noise mixture that finds outliers (Triggs et al. 2000).
    """
    observations = _limited(observations, settings.max_poses)
    views = ViewTable.of(observations)
    problem, state = start_values(observations, views, settings, known or {})
    result = adjust(problem, state, iterations=30, tolerance=1e-5)
    problem, result = _without_wrong_views(problem, result)
    timing, plain = None, result
    if settings.estimate_time_offsets is not TimeOffsets.OFF and len(observations.cameras) > 1:
        timing = find_time_offsets(problem, result, observations.times)
    if settings.estimate_time_offsets is TimeOffsets.ON:
        problem, result = _on_common_time(timing)
    problem, result = _choose_lens(problem, result, settings)
    result = adjust(problem, result.state)
    _require_focal_lengths(observations, problem, result)
    solution = _solution(observations, views, _all_uncertain(problem, result, settings), result)
    return solution if timing is None else _with_offsets(solution, timing, plain)


def _require_focal_lengths(o: TargetObservations, problem: Problem, result: Adjusted) -> None:
    """Raise CalibrationError where the views leave a camera's focal length open."""
    covariance, chosen = _camera_covariance(problem, result)
    # With nearly exact data even a hopeless geometry would claim certainty.
    scale = max(1.0, _NOMINAL_SIGMA_PX / result.noise.spread)
    std = dict(zip(chosen.tolist(), (scale * np.sqrt(np.diag(covariance))).tolist(), strict=True))
    for c, name in enumerate(o.cameras):
        share = std[c * CAMERA_BLOCK] / result.state.intrinsics[c, 0]
        if not share < _LARGEST_FOCAL_STD:
            raise CalibrationError(
                "the views do not determine the focal length",
                expected=f"a standard deviation below {_LARGEST_FOCAL_STD:.0%} of it",
                found=f"{share:.0%}: the target was always parallel to itself, too far away or too small in the image",
                where=f"camera {name}",
                hint="show the target tilted by 30 to 60 degrees in several directions, or give known intrinsics",
            )


def _on_common_time(timing: Timing | None) -> tuple[Problem, Adjusted]:
    if timing is None:
        raise CalibrationError(
            "time offsets cannot be estimated",
            expected="consecutive frames of a target in motion, seen by two or more cameras",
            found="too few views with neighbours in time",
            where="calibration",
            hint="use consecutive frames, or set estimate_time_offsets to off",
        )
    return timing.problem, timing.result


def _limited(observations: TargetObservations, most: int) -> TargetObservations:
    used = np.unique(observations.pose)
    if not most or len(used) <= most:
        return observations
    kept = used[np.linspace(0, len(used) - 1, most).round().astype(int)]
    return observations.select(np.isin(observations.pose, kept))


def _without_wrong_views(problem: Problem, result: Adjusted) -> tuple[Problem, Adjusted]:
    """Leave out views most of whose points are wrong: wrong ids, or a board that is not ours."""
    views = problem.views
    share = result.inlier.sum(1) / np.maximum(views.seen.sum(1), 1)
    keep = share >= 0.5
    count = np.bincount(views.pose[keep], views.seen[keep].sum(1), minlength=len(result.state.target_translation))
    keep &= count[views.pose] >= 4
    return replace(problem, views=views.select(keep)), result


def _camera_covariance(problem: Problem, result: Adjusted) -> tuple[Array, NDArray[np.int64]]:
    """Covariance [D, D] of the free camera parameters, and which of the C x 16 they are."""
    sigma2 = result.noise.spread**2 / degrees_of_freedom_share(problem, result.inlier)
    equations = linearise(problem, result.state, result.inlier / sigma2)
    reduced = equations.reduced(0.0, problem.free)
    return reduced.covariance(), reduced.chosen


def _choose_lens(problem: Problem, result: Adjusted, settings: CalibrationSettings) -> tuple[Problem, Adjusted]:
    """Fit with all distortion coefficients, then fix those that the data does not measure at what was believed."""
    if settings.distortion is not Distortion.AUTO:
        return problem, result
    free = problem.free.copy()
    for c, fisheye in enumerate(result.state.fisheye):
        free[c, 4:INTRINSICS] = coefficients(Distortion.AUTO, bool(fisheye))
    full = replace(problem, free=free)
    fitted = adjust(full, result.state, iterations=30, tolerance=1e-5)
    covariance, chosen = _camera_covariance(full, fitted)
    place = {int(k): n for n, k in enumerate(chosen)}
    free = free.copy()
    intrinsics = fitted.state.intrinsics.copy()
    for c, fisheye in enumerate(fitted.state.fisheye):
        n = 4 if fisheye else 5
        rows = [place[c * CAMERA_BLOCK + 4 + k] for k in range(n)]
        block = np.eye(5)
        block[:n, :n] = covariance[np.ix_(rows, rows)]
        prior_std = 1 / np.sqrt(np.maximum(problem.prior_information[c, 4:], 1e-300))
        keep = supported(block, prior_std, bool(fisheye))
        free[c, 4:INTRINSICS] = keep
        intrinsics[c, 4:] = np.where(keep, intrinsics[c, 4:], problem.prior_mean[c, 4:])
    return replace(problem, free=free), replace(fitted, state=replace(fitted.state, intrinsics=intrinsics))


def _all_uncertain(problem: Problem, result: Adjusted, settings: CalibrationSettings) -> Problem:
    """The problem whose covariance is stated: coefficients that were left at what was believed are not known exactly.

    Taking them as known would make the others' ellipsoids too small for lenses that do have them.
    """
    if settings.distortion is not Distortion.AUTO:
        return problem
    free = problem.free.copy()
    for c, fisheye in enumerate(result.state.fisheye):
        free[c, 4:INTRINSICS] = coefficients(Distortion.AUTO, bool(fisheye))
    return replace(problem, free=free)


def _solution(o: TargetObservations, views: ViewTable, problem: Problem, result: Adjusted) -> CalibrationSolution:
    state, C = result.state, len(o.cameras)
    covariance, chosen = _camera_covariance(problem, result)
    camera, index = np.divmod(chosen, CAMERA_BLOCK)
    timed = index == TIME_OFFSET
    blocks = np.zeros((C, CAMERA_BLOCK, CAMERA_BLOCK))
    for c in range(C):
        mine = np.flatnonzero(camera == c)
        blocks[c][np.ix_(index[mine], index[mine])] = covariance[np.ix_(mine, mine)]
    cameras = tuple(
        Camera(
            o.cameras[c], o.sizes[c], state.K[c], state.intrinsics[c, 4:], state.R[c], state.t[c],
            Lens.FISHEYE if state.fisheye[c] else Lens.BROWN_CONRADY,
        )
        for c in range(C)
    )  # fmt: skip
    solved = np.zeros(len(o.times), bool)
    solved[problem.views.pose] = True
    residual = np.full((len(o), 2), np.nan)
    # Views left out, then those used: these may have been moved to the pose of their true time.
    for shown in (views.select(solved[views.pose]), problem.views):
        residual[shown.row[shown.seen]] = residuals(shown, state, o.points)[shown.seen]
    inlier = np.zeros(len(o), bool)
    used = problem.views.seen
    inlier[problem.views.row[used]] = result.inlier[used] > 0.5
    sigma = np.array([_robust_sigma(residual[(o.camera == c) & inlier]) for c in range(C)])
    target_translation = np.where(solved[:, None], state.target_translation, np.nan)
    vectors = np.full((len(o.times), 3), np.nan)
    from scipy.spatial.transform import Rotation

    vectors[solved] = Rotation.from_matrix(state.target_rotation[solved]).as_rotvec()
    keep = ~timed
    return CalibrationSolution(
        rig=CameraRig(cameras, blocks[:, :TIME_OFFSET, :TIME_OFFSET], "camera frame of the reference camera"),
        covariance=covariance[np.ix_(keep, keep)],
        parameter_camera=camera[keep],
        parameter_index=index[keep],
        time_offset_s=np.zeros(C),
        time_offset_std_s=np.full(C, np.nan),
        rms_offsets_px=(float("nan"), float("nan")),
        rig_from_target=(vectors, target_translation),
        residual=residual,
        inlier=inlier,
        sigma_px=sigma,
    )


def _with_offsets(solution: CalibrationSolution, timing: Timing, plain: Adjusted) -> CalibrationSolution:
    """The solution with the time offsets that were found: 0 and NaN for cameras without an estimate."""
    covariance, chosen = _camera_covariance(timing.problem, timing.result)
    camera, index = np.divmod(chosen, CAMERA_BLOCK)
    std = np.where(timing.free, 0.0, np.nan)
    timed = index == TIME_OFFSET
    std[camera[timed]] = np.sqrt(np.diag(covariance)[timed] * _alike_within_views(timing.result))
    return replace(
        solution,
        time_offset_s=np.where(timing.free, timing.offset, 0.0),
        time_offset_std_s=std,
        rms_offsets_px=(_rms(plain), _rms(timing.result)),
    )


def _rms(result: Adjusted) -> float:
    """Root mean square length of the good residuals, px."""
    return float(np.sqrt(2) * result.noise.spread)


def _alike_within_views(result: Adjusted) -> float:
    """How many points of a view count as one observation, 1 or more: cameras that scatter in time move them together.

    The design effect of cluster sampling (Kish 1965): variance of the views' means over what independent
    residuals would give.
    """
    w = result.inlier[..., None]
    r = np.nan_to_num(result.residual)
    count = np.maximum(w.sum(1), 1e-9)
    common = ((w * r).sum(1) ** 2 / count).sum()
    each = (w * r**2).sum() / max(float(w.sum()), 1e-9)
    return float(max(common / max(len(r) * each, 1e-30), 1.0))


def _robust_sigma(residual: Array) -> float:
    if not len(residual):
        return float("nan")
    return float(np.median(np.linalg.norm(residual, axis=1)) / np.sqrt(2 * np.log(2)))
