"""What a calibration is worth: residuals, coverage, synchronisation, scale and expected error, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.stats import rankdata, spearmanr

from calibration.camera import Camera, CameraRig
from calibration.expected_error import expected_error
from calibration.frame_selection import coverage_cells
from calibration.observations import TargetObservations
from calibration.projection import Lenses, project, undistort
from calibration.single_views import single_view_rms
from calibration.solution import CalibrationSolution
from calibration.world_frame import triangulate

Array = NDArray[np.float64]

# Neighbouring poses further apart than this many frame intervals say nothing about speed.
_SPEED_GAP = 3.5
# Tangent of the angle off the axis up to which lenses are compared: 80 degrees.
_STEEPEST = 5.7


@dataclass(frozen=True)
class CameraQuality:
    """What one camera's calibration is worth.

    Attributes
    ----------
    name : str
    rms_px : float
        Over all its observations of solved poses, outliers included.
    inlier_rms_px : float
        Over the observations that decided the result.
    single_view_rms_px : float
        The same with a free target pose for each view: what the corners alone allow.
    observations, rejected : int
        Corners seen in solved poses; those among them that did not decide the result.
    views : int
        Target poses it saw.
    shared_views : int
        Those that another camera saw, too.
    coverage : float
        Share of the image's cells in which a corner was seen, 0..1.
    coverage_map : tuple of tuple of int
        Corners per cell, row by row from the top.
    rms_slow_px, rms_fast_px : float
        In the quarter of its views in which the target moved least and most; NaN where speed is unknown.
    speed_correlation : float
        Spearman's rank correlation of the RMS of a view with the target's speed in the image.
    time_offset_s, time_offset_std_s : float
        As estimated with the calibration; NaN when not estimated.
    focal_px, focal_std_px : float
    known_focal_change : float
        Estimated over given focal length, minus 1; NaN where none was given.
    known_change_px : float
        RMS shift of the image by the change of the intrinsics, px, best turn taken out; NaN likewise.
    """

    name: str
    rms_px: float
    inlier_rms_px: float
    single_view_rms_px: float
    observations: int
    rejected: int
    views: int
    shared_views: int
    coverage: float
    coverage_map: tuple[tuple[int, ...], ...]
    rms_slow_px: float
    rms_fast_px: float
    speed_correlation: float
    time_offset_s: float
    time_offset_std_s: float
    focal_px: float
    focal_std_px: float
    known_focal_change: float
    known_change_px: float


@dataclass(frozen=True)
class ScaleCheck:
    """Distances of adjacent target points, each point triangulated from all its views.

    Attributes
    ----------
    pairs : int
    mean_error_mm, rmse_mm : float
        Against the target as defined; NaN without pairs.
    """

    pairs: int
    mean_error_mm: float
    rmse_mm: float


@dataclass(frozen=True)
class RigQuality:
    """What a calibration is worth.

    Attributes
    ----------
    cameras : tuple of CameraQuality
    rms_px : float
        Over all corners that two or more cameras saw, outliers included, each triangulated by itself.
    scale : ScaleCheck
    poses : int
        Target poses that were solved.
    shared_poses : int
        Those that two or more cameras saw.
    expected_error_mm : float
        3D error that the calibration alone puts on a point in the filmed volume (standard deviation, all
        axes together, all cameras seeing it); NaN where unknown.
    frame_s : float
        Time between frames; NaN where unknown.
    speed_correlation : float
        Rank correlation of residual with speed over all views, each ranked within its camera; NaN if unknown.
    jitter_s : float
        Spread of exposure times that would explain how residuals grow with speed; 0 where they do not.
    rms_offsets_px : (float, float)
        RMS residual of all cameras together without and with the cameras' time offsets; NaN when not estimated.
    """

    cameras: tuple[CameraQuality, ...]
    rms_px: float
    scale: ScaleCheck
    poses: int
    shared_poses: int
    expected_error_mm: float
    frame_s: float
    speed_correlation: float
    jitter_s: float
    rms_offsets_px: tuple[float, float]


@dataclass(frozen=True, eq=False)
class _Views:
    """Per view (a pose in a camera): where its rows are and how fast the target moved in the image."""

    of: NDArray[np.int64]  # [N], the view of each observation
    camera: NDArray[np.int64]
    pose: NDArray[np.int64]
    rms: Array  # px, inliers
    velocity: Array  # [n, 2] px/s, NaN where unknown


def assess(
    observations: TargetObservations,
    solution: CalibrationSolution,
    neighbours: NDArray[np.int64],
    known: Mapping[str, Camera] | None = None,
) -> RigQuality:
    """Measure a calibration.

    Parameters
    ----------
    observations : TargetObservations
        What it was estimated from.
    solution : CalibrationSolution
    neighbours : int64 [E, 2]
        Pairs of target points whose distance is checked.
    known : mapping of camera name to Camera
        Intrinsics that were given beforehand.
    """
    o, views = observations, _views(observations, solution)
    B, C = len(o.times), len(o.cameras)
    sees = np.zeros((B, C), bool)
    sees[o.pose[np.isfinite(solution.residual).all(-1)], o.camera[np.isfinite(solution.residual).all(-1)]] = True
    X, observed = _points(o, solution.rig, sees)
    residual = observed - project(Lenses.of(solution.rig), X)
    cell, shape = coverage_cells(o)
    floor = single_view_rms(o.select(solution.inlier), solution.rig)
    cameras = tuple(
        _camera(c, o, solution, views, sees, (cell, shape), (known or {}).get(o.cameras[c]), float(floor[c]))
        for c in range(C)
    )  # fmt: skip
    return RigQuality(
        cameras=cameras,
        rms_px=_rms(residual[np.isfinite(residual).all(-1)]),
        scale=_scale(o, X, neighbours, _keys(o, sees)),
        poses=int(sees.any(1).sum()),
        shared_poses=int((sees.sum(1) >= 2).sum()),
        expected_error_mm=1000 * expected_error(solution, o.sizes) if C > 1 else float("nan"),
        frame_s=_frame_time(o.times),
        speed_correlation=_pooled_correlation(views),
        jitter_s=_jitter(views),
        rms_offsets_px=solution.rms_offsets_px,
    )


def _rms(residual: Array) -> float:
    return float(np.sqrt((residual**2).sum(-1).mean())) if len(residual) else float("nan")


def _frame_time(times: Array) -> float:
    gaps = np.diff(np.unique(times))
    gaps = gaps[(gaps > 1e-6) & (gaps < 100)]
    return float(np.quantile(gaps, 0.1)) if len(gaps) else float("nan")


def _views(o: TargetObservations, solution: CalibrationSolution) -> _Views:
    C = len(o.cameras)
    key, of = np.unique(o.pose * C + o.camera, return_inverse=True)
    pose, camera = key // C, key % C
    good = solution.inlier & np.isfinite(solution.residual).all(-1)
    square = np.where(good, (np.nan_to_num(solution.residual) ** 2).sum(-1), 0.0)
    n = np.bincount(of, good, len(key))
    with np.errstate(divide="ignore", invalid="ignore"):
        rms = np.sqrt(np.bincount(of, square, len(key)) / n)
    return _Views(of, camera, pose, rms, _velocity(o, solution)[pose, camera])


def _velocity(o: TargetObservations, solution: CalibrationSolution) -> Array:
    """Image velocity of the target's middle [B, C, 2] px/s, from the poses before and after."""
    vectors, shifts = solution.rig_from_target
    middle = o.points.mean(0)
    place = np.where(np.isfinite(shifts), Rotation.from_rotvec(np.nan_to_num(vectors)).apply(middle) + shifts, np.nan)
    pixel = np.moveaxis(project(Lenses.of(solution.rig), place), 0, 1)  # B C 2
    velocity = np.full_like(pixel, np.nan)
    order = np.argsort(o.times, kind="stable")
    order = order[np.isfinite(place[order]).all(-1)]
    longest = _SPEED_GAP * _frame_time(o.times)
    for before, here, after in zip(order[:-2], order[1:-1], order[2:], strict=True):
        gap = o.times[after] - o.times[before]
        if 0 < gap < longest:
            velocity[here] = (pixel[after] - pixel[before]) / gap
    return velocity


def _jitter(views: _Views) -> float:
    """Time spread that turns speed into the residuals seen: slope of squared residual over squared speed."""
    v2, r2 = (views.velocity**2).sum(-1), views.rms**2
    known = np.isfinite(v2) & np.isfinite(r2)
    if known.sum() < 12:
        return 0.0
    # Means of slow and fast halves: a robust slope that an offset (detection noise) does not tilt.
    fast = v2 > np.median(v2[known])
    gain = np.median(r2[known & fast]) - np.median(r2[known & ~fast])
    spread = np.median(v2[known & fast]) - np.median(v2[known & ~fast])
    return float(np.sqrt(max(gain, 0.0) / spread)) if spread > 0 else 0.0


def _pooled_correlation(views: _Views) -> float:
    speed = np.linalg.norm(views.velocity, axis=-1)
    known = np.isfinite(speed) & np.isfinite(views.rms)
    ranks = []
    for c in np.unique(views.camera[known]):
        rows = np.flatnonzero(known & (views.camera == c))
        if len(rows) >= 8:
            ranks.append(np.stack([rankdata(speed[rows]), rankdata(views.rms[rows])], -1) / len(rows))
    if not ranks:
        return float("nan")
    a, b = (np.concatenate(ranks) - (np.concatenate(ranks)).mean(0)).T
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def _camera(
    c: int, o: TargetObservations, solution: CalibrationSolution, views: _Views, sees: NDArray[np.bool_],
    cells: tuple[NDArray[np.int64], NDArray[np.int64]], known: Camera | None,
    floor: float,
) -> CameraQuality:  # fmt: skip
    mine = o.camera == c
    solved = mine & np.isfinite(solution.residual).all(-1)
    inlier = solved & solution.inlier
    cell, shape = cells
    columns, rows = int(shape[c, 0]), int(shape[c, 1])
    count = np.bincount(cell[mine], minlength=columns * rows)[: columns * rows].reshape(rows, columns)
    slow, fast, correlation = _speed(views, c)
    camera = solution.rig.cameras[c]
    timed = np.isfinite(solution.time_offset_std_s).any()
    change, shift = _against_known(camera, known)
    return CameraQuality(
        name=o.cameras[c], rms_px=_rms(solution.residual[solved]), inlier_rms_px=_rms(solution.residual[inlier]),
        single_view_rms_px=floor,
        observations=int(solved.sum()), rejected=int(solved.sum() - inlier.sum()),
        views=int((views.camera == c).sum()), shared_views=int((sees[:, c] & (sees.sum(1) >= 2)).sum()),
        coverage=float((count > 0).mean()), coverage_map=tuple(tuple(int(n) for n in row) for row in count),
        rms_slow_px=slow, rms_fast_px=fast, speed_correlation=correlation,
        time_offset_s=float(solution.time_offset_s[c]) if timed else float("nan"),
        time_offset_std_s=float(solution.time_offset_std_s[c]), focal_px=float(camera.K[[0, 1], [0, 1]].mean()),
        focal_std_px=_focal_std(solution.rig, c), known_focal_change=change, known_change_px=shift,
    )  # fmt: skip


def _focal_std(rig: CameraRig, c: int) -> float:
    if rig.covariance is None:
        return float("nan")
    return float(np.sqrt(max(rig.covariance[c][:2, :2].mean(), 0.0)))


def _speed(views: _Views, c: int) -> tuple[float, float, float]:
    """RMS of the slowest and of the fastest quarter of a camera's views, and the rank correlation."""
    speed = np.linalg.norm(views.velocity, axis=-1)
    rows = np.flatnonzero((views.camera == c) & np.isfinite(speed) & np.isfinite(views.rms))
    if len(rows) < 8:
        return float("nan"), float("nan"), float("nan")
    rows = rows[np.argsort(speed[rows], kind="stable")]
    quarter = max(2, len(rows) // 4)
    rms = views.rms[rows]
    slow, fast = (float(np.sqrt((part**2).mean())) for part in (rms[:quarter], rms[-quarter:]))
    constant = np.ptp(rms) == 0 or np.ptp(speed[rows]) == 0
    return slow, fast, 0.0 if constant else float(spearmanr(speed[rows], rms).statistic)


def _against_known(camera: Camera, known: Camera | None) -> tuple[float, float]:
    """Relative change of the focal length, and RMS shift of the image (px) after the best turn of the camera."""
    if known is None:
        return float("nan"), float("nan")
    change = float(camera.K[[0, 1], [0, 1]].mean() / known.K[[0, 1], [0, 1]].mean() - 1)
    w, h = camera.size
    x, y = np.meshgrid(np.linspace(0, w - 1, 9), np.linspace(0, h - 1, 7))
    at = np.stack([x.ravel(), y.ravel()], -1)
    still = replace(known, R=np.eye(3), t=np.zeros(3))
    xy = undistort(Lenses.of(CameraRig((still,))), at[None])[0]
    rays = np.c_[xy, np.ones(len(xy))]
    moved = replace(camera, R=np.eye(3), t=np.zeros(3))
    shift = project(Lenses.of(CameraRig((moved,))), rays)[0] - at
    # Rays near 90 degrees off a fisheye's axis have no place in a plane.
    seen = np.isfinite(shift).all(-1) & (np.linalg.norm(xy, axis=-1) < _STEEPEST)
    if seen.sum() < 6:
        return change, float("nan")
    # A small turn shifts the image evenly; about the axis it turns it.
    middle = at[seen] - at[seen].mean(0)
    spin = np.stack([-middle[:, 1], middle[:, 0]], -1)
    even = shift[seen] - shift[seen].mean(0)
    even = even - spin * ((even * spin).sum() / (spin**2).sum())
    return change, _rms(even)


def _keys(o: TargetObservations, sees: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Key pose * P + point of every point seen by two or more cameras, sorted."""
    key = o.pose * len(o.points) + o.point
    solved = sees[o.pose, o.camera]
    unique, count = np.unique(key[solved], return_counts=True)
    return unique[count >= 2]


def _points(o: TargetObservations, rig: CameraRig, sees: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Every target point seen by two or more cameras, triangulated alone [n, 3], and its pixels [C, n, 2]."""
    keys = _keys(o, sees)
    key = o.pose * len(o.points) + o.point
    rows = np.flatnonzero(np.isin(key, keys) & sees[o.pose, o.camera])
    observed = np.full((len(o.cameras), len(keys), 2), np.nan)
    observed[o.camera[rows], np.searchsorted(keys, key[rows])] = o.pixel[rows]
    if not len(keys):
        return np.zeros((0, 3)), observed
    return triangulate(rig, observed), observed


def _scale(o: TargetObservations, X: Array, neighbours: NDArray[np.int64], keys: NDArray[np.int64]) -> ScaleCheck:
    P = len(o.points)
    place = np.full((len(o.times), P, 3), np.nan)
    place[keys // P, keys % P] = X
    a, b = neighbours.T
    distance = np.linalg.norm(place[:, a] - place[:, b], axis=-1)
    error = distance - np.linalg.norm(o.points[a] - o.points[b], axis=-1)
    error = 1000 * error[np.isfinite(error)]
    if not len(error):
        return ScaleCheck(0, float("nan"), float("nan"))
    return ScaleCheck(len(error), float(error.mean()), float(np.sqrt((error**2).mean())))
