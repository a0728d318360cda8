"""Camera times to a fraction of a millisecond, from the joints of matched people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses, undistort
from calibration.synchronisation import Gap, TimeModel
from calibration.time_refinement import Clocks, PointTracks, refine_clocks
from mocap.matching import MatchingSettings, match_people
from mocap.resampling import to_common_time
from mocap.rows import take
from mocap.stretches import window_rows
from mocap.synchronisation.coarse import CoarseOffsets
from mocap.timeline import segments
from mocap.types import Keypoints2D, Matches

Array = NDArray[np.float64]

_MIN_CONFIDENCE = 0.3
_SAMPLES = 60_000  # of a view, frame and joint; more would cost time and add little
_WINDOWS = 10
_LONG_S = 60.0  # below it a drift of a usual clock (some 10 ppm) cannot be seen
_NEAR_S = 25.0
_MIN_RUN = 8  # samples of a point without a gap


def fine_clocks(
    keypoints: Keypoints2D, rig: CameraRig, rate: Array, coarse: CoarseOffsets, gaps: tuple[Gap, ...],
    row_delay: Array, behind: Gap | None = None,
) -> Clocks:  # fmt: skip
    """Offsets (and drifts in long takes) to a fraction of a millisecond.

    Parameters
    ----------
    keypoints : Keypoints2D
        Frame numbers as each camera counts them.
    rig : CameraRig
        Of the same cameras.
    rate : float64 [V]
        Frame rates as shares of the keypoints' own.
    coarse : CoarseOffsets
        Cameras without an offset stay out of it.
    gaps : tuple of Gap
        Frames that cameras lost.
    row_delay : float64 [V]
        Of rolling shutters, s (see `TimeModel`).
    behind : Gap, optional
        One of the gaps: its camera counts as another one, the last, from there on.

    Returns
    -------
    Clocks
        Of V cameras, or V + 1; infinite variance where a camera shows nothing that moves.
    """
    V, fps = len(rig), keypoints.fps
    decided = np.isfinite(coarse.offset_s)
    # Whole frames where rates are equal: what is matched are then the detector's own points.
    start = np.where(decided, coarse.offset_s, 0.0)
    whole = np.where(rate == 1, np.round(start * fps) / fps, start)
    nothing = np.zeros(V)
    model = TimeModel(rig.names, whole, nothing, nothing, "coarse", rate, gaps=gaps)
    matches = match_people(_sample(keypoints, model, behind), rig, MatchingSettings())
    tracks = _tracks(matches, rig, replace(model, row_delay_s=row_delay), decided, behind)
    R, t = rig.R, rig.t
    if behind is not None:
        camera = behind.camera
        R, t = np.concatenate([R, R[[camera]]]), np.concatenate([t, t[[camera]]])
        start, V = np.append(start, start[camera]), V + 1
    first = Clocks(start, np.zeros(V), np.zeros((2 * V, 2 * V)), np.ones(V))
    if not len(tracks.time):
        return replace(first, covariance=np.full((2 * V, 2 * V), np.inf))
    long = len(keypoints.frames) > 0 and float(np.ptp(keypoints.frames)) / fps >= _LONG_S
    clocks = refine_clocks(tracks, R, t, first, with_drift=long, reference=coarse.reference)
    # A camera that none of the tracks show has no uncertainty of its own.
    unseen = ~np.isin(np.arange(V), tracks.view) & (np.arange(V) != coarse.reference)
    covariance = clocks.covariance.copy()
    covariance[np.flatnonzero(unseen), np.flatnonzero(unseen)] = np.inf
    return replace(clocks, covariance=covariance)


def _sample(keypoints: Keypoints2D, model: TimeModel, behind: Gap | None) -> Keypoints2D:
    """As much of the take as is worth its time, at common times.

    The windows are of common time: those of the cameras' own numbers would hardly overlap where cameras began
    far apart, and not at all where their rates differ.
    """
    V, _, P, J = keypoints.confidence.shape
    fps, frames = keypoints.fps, keypoints.frames
    wanted = np.arange(len(frames))
    if behind is not None:  # near enough that drifts do not count
        at = model.exposure_times(behind.camera, np.array(behind.frame), fps)
        wanted = np.flatnonzero(np.abs(frames / fps - at) <= _NEAR_S)
    most = max(200, _SAMPLES // (V * J * min(P, 2)))
    wanted = wanted[window_rows(len(wanted), _WINDOWS, most // _WINDOWS)]
    rows = [wanted]
    for v in range(V):
        left = np.searchsorted(frames, model.frames_at(v, frames[wanted] / fps, fps), side="right") - 1
        rows += [np.clip(left + k, 0, len(frames) - 1) for k in (-1, 0, 1)]
    needed = np.unique(np.concatenate(rows))
    return take(to_common_time(take(keypoints, needed), model), np.searchsorted(needed, wanted))


def _tracks(
    matches: Matches, rig: CameraRig, model: TimeModel, decided: NDArray[np.bool_], behind: Gap | None
) -> PointTracks:
    """Joints of all people as tracks at the cameras' own times; a jump in the frames parts a track.

    Each point is of the time its row was read at, which stays so between two frames that were interpolated. The camera
    that lost frames is another one, the last, from the first frame behind the gap on, whenever its rows were read.
    """
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
        model.counts_at(c, common, matches.fps) / (matches.fps * model.rate[c]) for c in range(len(rig))
    ])  # fmt: skip
    focal = rig.K[:, 0, 0]
    stated = matches.uncertainty[v, t, p, j].astype(np.float64)
    pixels = np.where(np.isfinite(stated) & (stated > 0), stated, 1.0)
    time = own[v, t] + model.row_delay_s[v] * points[v, t, p, j, 1]
    view = v
    if behind is not None:
        first = model.counts(behind.camera, np.array(behind.frame)) - 0.5
        later = own[v, t] * matches.fps * model.rate[v] >= first
        view = np.where((v == behind.camera) & later, len(rig), v)
    return PointTracks(view, track, time, xy[v, t, p, j], pixels / focal[v])
