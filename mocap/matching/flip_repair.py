"""Left/right flips undone for every person: evidence of the views first, then of the track as well."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from calibration.camera import CameraRig
from calibration.projection import Lenses, rays
from mocap.matching.flips import FlipEvidence, PairGroups, swap_pairs
from mocap.matching.poses import poses_from_views, ray_point_distance
from mocap.matching.settings import MatchingSettings
from mocap.skeleton import Skeleton
from mocap.types import Matches

log = logging.getLogger(__name__)

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# Half the time over which a joint's track is the median of its positions, seconds.
_HALF_WINDOW_S = 0.1
_SIGMA_FLOOR_M = 0.02
# Robust cost of one joint against the track, as squared distance over 2 sigma^2, at most this.
_CAP = 4.5


def repair_flips(
    matches: Matches, rig: CameraRig, skeleton: Skeleton, pieces: list[slice], settings: MatchingSettings
) -> Matches:
    """Left and right joints exchanged where the other views and the track say so.

    Parameters
    ----------
    matches : Matches
    rig : CameraRig
        In the order of `matches.cameras`.
    skeleton : Skeleton
    pieces : list of slice
        Continuous pieces of the recording.
    settings : MatchingSettings

    Notes
    -----
    Whole body first, then arms, legs and face. Each group is decided twice: by the agreement of
    the views alone, and again with the cost of every detection against the track (the running
    median of the joints that the first decision gives), which settles frames that too few views
    see, or in which most views are flipped at once.
    """
    V, T, P, J = matches.confidence.shape
    starts = np.zeros(T, bool)
    starts[[piece.start for piece in pieces]] = True
    half = max(1, round(_HALF_WINDOW_S * matches.fps))
    lenses = Lenses.of(rig)
    repaired = {n: getattr(matches, n).copy() for n in ("keypoints", "confidence", "uncertainty", "observation")}
    for p in range(P):
        chunks = [slice(a, min(a + settings.chunk_frames, T)) for a in range(0, T, settings.chunk_frames)]
        d = np.concatenate([rays(lenses, matches.keypoints[:, c, p].astype(float))[1] for c in chunks], axis=1)
        weight = np.where(np.isfinite(d[..., 0]), matches.confidence[:, :, p], 0.0).astype(float)
        order = np.broadcast_to(np.arange(J), (V, T, J))
        for name, pairs in PairGroups.of(skeleton).groups:
            flipped = _flips_of_group(rig.centres, d, weight, pairs, starts, half, settings)
            if flipped.any():
                log.info("person %d: %s flipped in %s", p, name, _shares(flipped, rig))
                d, weight, order = (swap_pairs(x, flipped, pairs) for x in (d, weight, order))
        for values in repaired.values():
            one = values[:, :, p]
            values[:, :, p] = np.take_along_axis(one, order if one.ndim == 3 else order[..., None], axis=2)
    return replace(matches, **repaired)


def _flips_of_group(
    centres: Array, d: Array, weight: Array, pairs: Ints, starts: Bools, half: int, settings: MatchingSettings
) -> Bools:
    """Bool [V, T] for rays d [V, T, J, 3] of one person."""
    V, T = weight.shape[:2]
    if V < 2 or T == 0:
        return np.zeros((V, T), bool)
    evidence = FlipEvidence.of(centres, d, weight, pairs, starts)
    first = evidence.decide(settings.flip_rate, settings.flip_change_rate)
    joints = pairs.ravel()
    # Only the joints of the group, so that the running median costs no more than it must.
    own = np.arange(len(joints)).reshape(pairs.shape)
    d, weight = np.ascontiguousarray(d[:, :, joints]), np.ascontiguousarray(weight[:, :, joints])
    poses = np.full((T, len(joints), 3), np.nan)
    poses_from_views(centres, swap_pairs(d, first, own), swap_pairs(weight, first, own), poses)
    track = np.full(poses.shape, np.nan)
    running_median(poses, np.cumsum(starts), half, track)
    return evidence.decide(settings.flip_rate, settings.flip_change_rate, track_costs(centres, d, weight, track, own))


@njit(cache=True, error_model="numpy", nogil=True)
def running_median(poses: Array, piece: Ints, half: int, track: Array) -> None:
    """Median over time of each coordinate, within continuous pieces.

    Parameters
    ----------
    poses : float64 [T, J, 3]
        NaN where unknown.
    piece : int64 [T]
        Number of the continuous piece each frame lies in.
    half : int
        Frames to either side.
    track : float64 [T, J, 3]
        Result; NaN where fewer than a third of the window is known.
    """
    T, J = poses.shape[0], poses.shape[1]
    window = np.empty(2 * half + 1)
    for t in range(T):
        for j in range(J):
            for x in range(3):
                n = 0
                for s in range(max(0, t - half), min(T, t + half + 1)):
                    if piece[s] == piece[t] and not np.isnan(poses[s, j, x]):
                        window[n] = poses[s, j, x]
                        n += 1
                track[t, j, x] = np.median(window[:n]) if 3 * n >= len(window) else np.nan


@njit(cache=True, error_model="numpy", nogil=True)
def _track_distances(centres: Array, d: Array, track: Array, pairs: Ints, distance: Array) -> None:
    """Distance [V, T, 2 n, 2] m of each joint's ray from its own track and from its partner's."""
    for v in range(d.shape[0]):
        for t in range(d.shape[1]):
            for i in range(pairs.shape[0]):
                for side in range(2):
                    j, k = pairs[i, side], pairs[i, 1 - side]
                    if np.isnan(d[v, t, j, 0]) or np.isnan(track[t, j, 0]) or np.isnan(track[t, k, 0]):
                        continue
                    distance[v, t, 2 * i + side, 0] = ray_point_distance(centres[v], d[v, t, j], track[t, j])
                    distance[v, t, 2 * i + side, 1] = ray_point_distance(centres[v], d[v, t, j], track[t, k])


def track_costs(centres: Array, d: Array, weight: Array, track: Array, pairs: Ints) -> Array:
    """What it costs, against the track, that a view is flipped.

    Parameters
    ----------
    centres : float64 [V, 3]
    d : float64 [V, T, J, 3], weight : float64 [V, T, J]
    track : float64 [T, J, 3], metres
    pairs : int [n, 2]

    Returns
    -------
    float64 [T, V]
        Positive where the labels fit as they are, 0 where nothing is known.
    """
    distance = np.full((*d.shape[:2], pairs.size, 2), np.nan)
    _track_distances(centres, d, track, pairs, distance)
    nearest = distance.min(-1)
    known = np.isfinite(nearest)
    if not known.any():
        return np.zeros(weight.shape[1::-1])
    # Median radius of a two-dimensional Gaussian: 1.18 sigma.
    sigma = max(_SIGMA_FLOOR_M, float(np.median(nearest[known])) / 1.18)
    cost = np.minimum(0.5 * (distance / sigma) ** 2, _CAP)
    advantage = np.where(known, cost[..., 1] - cost[..., 0], 0.0) * weight[:, :, pairs.ravel()]
    return np.ascontiguousarray(advantage.sum(-1).T)


def _shares(flipped: Bools, rig: CameraRig) -> str:
    return ", ".join(f"{name} {100 * f.mean():.1f} %" for name, f in zip(rig.names, flipped, strict=True) if f.any())
