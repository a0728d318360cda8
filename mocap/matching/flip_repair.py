"""Left/right flips of one person undone: evidence of the views first, then of the track as well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.matching.flips import FlipEvidence, PairGroups, swap_pairs
from mocap.matching.poses import point_off_ray, poses_from_views, turned_poses
from mocap.matching.settings import MatchingSettings, MatchMode

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# Half the time over which a joint's track is the median of its positions, seconds.
_HALF_WINDOW_S = 0.1
_TRACK_SIGMA_FLOOR_M = 0.02
# Robust cost of one joint against the track, as squared distance over 2 sigma^2, at most this.
_CAP = 4.5


@dataclass(frozen=True, eq=False)
class Stretch:
    """A stretch of frames to work on.

    Attributes
    ----------
    starts : bool [T]
        Where a continuous piece of the recording begins.
    fps : float
    """

    starts: Bools
    fps: float

    def track(self, poses: Array, settings: MatchingSettings, joints: Ints, changed: Bools, track: Array) -> None:
        """Running median of joints of poses [T, J, 3] into track [T, J, 3], of frames before only in causal mode.

        Made in frames whose median is of any that have `changed` [T].
        """
        half = max(1, round(_HALF_WINDOW_S * self.fps))
        before, after = (2 * half, 0) if settings.mode is MatchMode.CAUSAL else (half, half)
        running_median(poses, self.starts, before, after, changed, joints, track)


@dataclass(eq=False)
class PersonViews:
    """What the views see of one person, while it is being repaired in place.

    Attributes
    ----------
    d : float64 [V, T, J, 3], weight : float64 [V, T, J]
        Ray directions and confidence, 0 where not seen.
    order : int16 [V, T, J]
        Joint of the detection that each joint is taken from.
    poses, track : float64 [T, J, 3]
        Robust joints and their running median, metres.
    """

    d: Array
    weight: Array
    order: NDArray[np.int16]
    poses: Array
    track: Array

    @staticmethod
    def of(centres: Array, d: Array, weight: Array, stretch: Stretch, settings: MatchingSettings) -> PersonViews:
        """As the detections have it."""
        T, J = weight.shape[1:]
        order = np.empty(weight.shape, np.int16)
        order[:] = np.arange(J)
        poses, track = np.empty((T, J, 3)), np.empty((T, J, 3))
        poses_from_views(centres, d, weight, poses)
        stretch.track(poses, settings, np.arange(J), np.ones(T, bool), track)
        return PersonViews(d, weight, order, poses, track)

    def turned(
        self, centres: Array, flipped: Bools, pairs: Ints, stretch: Stretch, settings: MatchingSettings
    ) -> tuple[Array, Array]:
        """Poses and track with pairs exchanged where flipped [V, T]; nothing is changed."""
        if not flipped.any():
            return self.poses, self.track
        poses, track, changed = self.poses.copy(), self.track.copy(), np.empty(len(self.poses), bool)
        # Only the joints concerned move, and only in these frames.
        turned_poses(centres, self.d, self.weight, pairs, flipped, poses, changed)
        stretch.track(poses, settings, pairs.ravel(), changed, track)
        return poses, track


def repair_flips(
    centres: Array, person: PersonViews, groups: PairGroups, stretch: Stretch, settings: MatchingSettings
) -> dict[str, Bools]:
    """Left and right joints of one person exchanged where the other views and the track say so.

    Parameters
    ----------
    centres : float64 [V, 3]
    person : PersonViews
        Changed in place.
    groups : PairGroups
    stretch : Stretch
    settings : MatchingSettings

    Returns
    -------
    dict of str to bool [V, T]
        Where each group was flipped; groups that never were are left out.

    Notes
    -----
    Whole body first, then smaller and smaller groups. Each is decided twice: by the agreement of
    the views alone, and again with the cost of every detection against the track (the running
    median of the joints that the first decision gives), which settles frames that too few views
    see, or in which most views are flipped at once.
    """
    V, T, _ = person.weight.shape
    causal = settings.mode is MatchMode.CAUSAL
    found: dict[str, Bools] = {}
    if V < 2 or T == 0 or not settings.repair_flips or not len(groups.pairs):
        return found
    evidence = FlipEvidence.of(centres, person.d, person.weight, groups.pairs, stretch.starts, causal=causal)
    rates = (settings.flip_rate, settings.flip_change_rate)
    for name, rows in groups.groups:
        pairs = groups.pairs[rows]
        cost = evidence.costs(rows)
        first = evidence.decide(cost, *rates, causal=causal)
        tried = person.turned(centres, first, pairs, stretch, settings)
        unary = track_costs(centres, person.d, person.weight, tried[1], pairs, evidence.sigma[:, rows])
        final = evidence.decide(cost, *rates, unary, causal=causal)
        if final.any():
            if not np.array_equal(final, first):
                tried = person.turned(centres, final, pairs, stretch, settings)
            person.poses, person.track = tried
            swap_pairs(person.d, person.weight, person.order, final, pairs)
            evidence.apply(final, rows)
            found[name] = final
    return found


@njit(cache=True, error_model="numpy", nogil=True)
def running_median(
    poses: Array, starts: Bools, before: int, after: int, changed: Bools, joints: Ints, track: Array
) -> None:
    """Median over time of each coordinate, within continuous pieces.

    Parameters
    ----------
    poses : float64 [T, J, 3]
        NaN where unknown.
    starts : bool [T]
        Where a continuous piece begins.
    before, after : int
        Frames to either side.
    changed : bool [T]
        The median is made of frames that have one of these within that.
    joints : int64 [K]
        Joints whose median is made.
    track : float64 [T, J, 3]
        Result; NaN where fewer than a third of the window is known.
    """
    T = poses.shape[0]
    size = before + after + 1
    window = np.empty(size)
    first = 0
    for t in range(T):
        if starts[t]:
            first = t
        low, high, wanted = max(first, t - before), t + 1, False
        while high < min(T, t + after + 1) and not starts[high]:
            high += 1
        for s in range(max(0, t - before), min(T, t + after + 1)):
            wanted |= changed[s]
        if not wanted:
            continue
        for j in joints:
            for x in range(3):
                n = 0
                for s in range(low, high):
                    value = poses[s, j, x]
                    if not np.isnan(value):
                        k = n
                        while k > 0 and window[k - 1] > value:
                            window[k] = window[k - 1]
                            k -= 1
                        window[k] = value
                        n += 1
                if 3 * n >= size:
                    track[t, j, x] = 0.5 * (window[(n - 1) // 2] + window[n // 2])
                else:
                    track[t, j, x] = np.nan


@njit(cache=True, error_model="numpy", inline="always")
def _off_track(centres: Array, d: Array, v: int, t: int, j: int, track: Array, k: int) -> float:
    """Distance of the ray of joint j in view v from joint k of the track, metres."""
    return point_off_ray(
        centres[v, 0], centres[v, 1], centres[v, 2], d[v, t, j, 0], d[v, t, j, 1], d[v, t, j, 2],
        track[t, k, 0], track[t, k, 1], track[t, k, 2],
    )  # fmt: skip


@njit(cache=True, error_model="numpy", nogil=True)
def _track_costs(
    centres: Array, d: Array, weight: Array, track: Array, pairs: Ints, sigma: Array, floor: float, cap: float,
    cost: Array,
) -> None:  # fmt: skip
    for v in range(d.shape[0]):
        for t in range(d.shape[1]):
            total = 0.0
            for i in range(pairs.shape[0]):
                scale = 0.5 / max(sigma[t, i], floor) ** 2
                for side in range(2):
                    j, k = pairs[i, side], pairs[i, 1 - side]
                    if not weight[v, t, j] > 0.0 or np.isnan(track[t, j, 0]) or np.isnan(track[t, k, 0]):
                        continue
                    own = _off_track(centres, d, v, t, j, track, j)
                    other = _off_track(centres, d, v, t, j, track, k)
                    gain = min(scale * other * other, cap) - min(scale * own * own, cap)
                    total += weight[v, t, j] * gain
            cost[t, v] = total


def track_costs(centres: Array, d: Array, weight: Array, track: Array, pairs: Ints, sigma: Array) -> Array:
    """What it costs, against the track, that a view is flipped.

    Parameters
    ----------
    centres : float64 [V, 3]
    d : float64 [V, T, J, 3], weight : float64 [V, T, J]
    track : float64 [T, J, 3], metres
    pairs : int [n, 2]
    sigma : float64 [T, n]
        Noise of each pair, metres.

    Returns
    -------
    float64 [T, V]
        Positive where the labels fit as they are, 0 where nothing is known.
    """
    cost = np.zeros(weight.shape[1::-1])
    _track_costs(centres, d, weight, track, pairs, np.ascontiguousarray(sigma), _TRACK_SIGMA_FLOOR_M, _CAP, cost)
    return cost
