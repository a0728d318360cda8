"""Camera times from the people in the take: coarse by trying, then to a fraction of a millisecond."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses, undistort
from calibration.synchronisation import SynchronisationMethod, SynchronisationSettings, TimeModel
from calibration.time_refinement import Clocks, PointTracks, refine_clocks
from mocap.matching import MatchingSettings, match_people
from mocap.resampling import to_common_time
from mocap.stretches import spread_windows
from mocap.synchronisation.coarse import CoarseOffsets, coarse_offsets
from mocap.timeline import segments
from mocap.types import Keypoints2D, Matches

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]

_MIN_CONFIDENCE = 0.3
_SAMPLES = 60_000  # of a view, frame and joint; more would cost time and add little
_WINDOWS = 10
_LONG_S = 60.0  # below it a drift of a usual clock (some 10 ppm) cannot be seen
_MIN_RUN = 8  # samples of a point without a gap
# Not decided: an offset known worse than this part of a frame says less than the cameras' name plate.
_VAGUE_FRAMES = 0.3
# Beyond doubt not genlocked: more than this part of a frame, and far more than its uncertainty.
_CLEAR_FRAMES, _CLEAR_STD = 0.25, 4.0


@dataclass(frozen=True, eq=False)
class MotionTimes:
    """What the motion says of the cameras' times.

    Attributes
    ----------
    times : TimeModel
        What is used from here on.
    statements : tuple of str
        Per camera, in words: offset, certainty and what it was taken for.
    offset_s, std_s : float64 [V]
        What was measured, used or not; NaN where it cannot be decided.
    coarse : CoarseOffsets
        With the curves of cost against offset.
    """

    times: TimeModel
    statements: tuple[str, ...]
    offset_s: Array
    std_s: Array
    coarse: CoarseOffsets


def times_from_motion(
    keypoints: Keypoints2D, rig: CameraRig, settings: SynchronisationSettings, rate: Array | None = None
) -> MotionTimes:
    """Find each camera's time offset (and drift in long takes).

    Parameters
    ----------
    keypoints : Keypoints2D
        Frame numbers as each camera counts them.
    rig : CameraRig
        Must have every camera of `keypoints`.
    settings : SynchronisationSettings
        AUTO uses what was found only where cameras are beyond doubt apart, or their rates differ.
    rate : float64 [V], optional
        Frame rates as shares of the keypoints' own.

    Returns
    -------
    MotionTimes
        Cameras whose time cannot be decided keep offset 0 and are named in a warning.
    """
    rig = rig.select(keypoints.cameras)
    V = len(rig)
    rate = np.ones(V) if rate is None else np.asarray(rate, np.float64)
    coarse = coarse_offsets(keypoints, rig, rate, settings.search_s)
    clocks = Clocks(np.zeros(V), np.zeros(V), np.full((2 * V, 2 * V), np.nan), np.full(V, np.nan))
    decided = np.isfinite(coarse.offset_s)
    if decided.sum() >= 2:
        clocks = _fine(keypoints, rig, rate, coarse, decided)
    std = np.where(decided, clocks.offset_std_s, np.nan)
    step = 1 / (keypoints.fps * rate)
    decided &= std <= _VAGUE_FRAMES * step
    std = np.where(decided, std, np.nan)
    offset = np.where(decided, clocks.offset_s, np.nan)
    apart = decided & (np.abs(offset) > _CLEAR_FRAMES * step + _CLEAR_STD * std)
    used = settings.method is SynchronisationMethod.MOTION or bool(apart.any()) or bool((rate != 1).any())
    statements = tuple(_statement(n, v, clocks, offset, std, coarse, step[v], used) for v, n in enumerate(rig.names))
    (logger.warning if used and apart.any() else logger.info)("camera times: %s", "; ".join(statements))
    times = TimeModel(
        rig.names,
        np.where(decided & used, offset, 0.0),
        np.where(decided & used, clocks.drift, 0.0),
        std,
        "motion in the take" if used else "genlocked: no offset shows in the motion",
        rate,
        np.where(decided, clocks.drift_std, np.nan),
    )
    return MotionTimes(times, statements, offset, std, coarse)


def _statement(
    name: str, v: int, clocks: Clocks, offset: Array, std: Array, coarse: CoarseOffsets, step: float, used: bool
) -> str:
    if not np.isfinite(offset[v]):
        if not np.isfinite(coarse.offset_s[v]):
            return f"{name}: cannot be decided from this motion (no offset fits clearly better than the others)"
        return f"{name}: cannot be decided from this motion (too little movement)"
    if v == coarse.reference:
        return f"{name}: reference"
    text = f"{name}: {1e3 * offset[v]:+.2f} +- {1e3 * std[v]:.2f} ms ({offset[v] / step:+.2f} frames)"
    if clocks.drift_std[v] > 0:
        text += f", drift {1e6 * clocks.drift[v]:+.1f} +- {1e6 * clocks.drift_std[v]:.1f} ppm"
    return text if used else text + ", taken for 0"


def _fine(
    keypoints: Keypoints2D, rig: CameraRig, rate: Array, coarse: CoarseOffsets, decided: NDArray[np.bool_]
) -> Clocks:
    """Continuous-time estimate; cameras without a coarse offset stay out of it."""
    V, fps = len(rig), keypoints.fps
    # Whole frames where rates are equal: what is matched are then the detector's own points.
    start = np.where(decided, coarse.offset_s, 0.0)
    whole = np.where(rate == 1, np.round(start * fps) / fps, start)
    nothing = np.zeros(V)
    model = TimeModel(rig.names, whole, nothing, nothing, "coarse", rate)
    sample = _windows(keypoints)
    matches = match_people(to_common_time(sample, model), rig, MatchingSettings())
    tracks = _tracks(matches, rig, model, decided)
    first = Clocks(start, nothing, np.zeros((2 * V, 2 * V)), np.ones(V))
    if not len(tracks.time):
        return replace(first, covariance=np.full((2 * V, 2 * V), np.inf))
    long = float(np.ptp(keypoints.frames)) / fps >= _LONG_S
    clocks = refine_clocks(tracks, rig.R, rig.t, first, with_drift=long, reference=coarse.reference)
    # A camera that none of the tracks show has no uncertainty of its own.
    unseen = ~np.isin(np.arange(V), tracks.view) & (np.arange(V) != coarse.reference)
    covariance = clocks.covariance.copy()
    covariance[np.flatnonzero(unseen), np.flatnonzero(unseen)] = np.inf
    return replace(clocks, covariance=covariance)


def _windows(keypoints: Keypoints2D) -> Keypoints2D:
    """As much of the take as is worth its time."""
    V, _, P, J = keypoints.confidence.shape
    most = max(200, _SAMPLES // (V * J * min(P, 2)))
    return spread_windows(keypoints, _WINDOWS, most // _WINDOWS)


def _tracks(matches: Matches, rig: CameraRig, model: TimeModel, decided: NDArray[np.bool_]) -> PointTracks:
    """Joints of all people as tracks at the cameras' own times; a jump in the frames parts a track."""
    points = np.where((matches.confidence >= _MIN_CONFIDENCE)[..., None], matches.keypoints, np.nan)
    points = np.where(decided[:, None, None, None, None], points, np.nan).astype(np.float64)
    xy = undistort(Lenses.of(rig), points)
    piece = np.zeros(len(matches.frames), np.int64)
    for k, rows in enumerate(segments(matches.frames, 2)):
        piece[rows] = k
    v, t, p, j = np.nonzero(np.isfinite(xy).all(-1))
    key = np.stack([piece[t], p, j], 1)
    unique, track, count = np.unique(key, axis=0, return_inverse=True, return_counts=True)
    track = track.reshape(-1)
    views = np.zeros((len(unique), len(rig)), bool)
    views[track, v] = True
    keep = ((count >= 2 * _MIN_RUN) & (views.sum(1) >= 2))[track]
    _, track = np.unique(track[keep], return_inverse=True)
    v, t, p, j = v[keep], t[keep], p[keep], j[keep]
    common = matches.frames / matches.fps
    own = np.stack([
        model.frames_at(c, common, matches.fps) / (matches.fps * model.rate[c]) for c in range(len(rig))
    ])  # fmt: skip
    focal = rig.K[:, 0, 0]
    stated = matches.uncertainty[v, t, p, j].astype(np.float64)
    pixels = np.where(np.isfinite(stated) & (stated > 0), stated, 1.0)
    return PointTracks(v, track, own[v, t], xy[v, t, p, j], pixels / focal[v])
