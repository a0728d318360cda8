"""Left/right flips: found per view and time span by what the other views say, then undone.

A detector that takes a back for a front swaps all left and right joints of one view, often with
high confidence; others swap only arms or legs, or one pair of joints. For every pair of views the
rays of a left and a right joint say how much better "both as labelled" or "one of them swapped"
explains what is seen. All views and frames together are decided by dynamic programming (Viterbi):
the state of a frame is which views are flipped, the cost the robust distances of all view pairs,
with a small cost for being flipped and for changing. Temporal smoothness of the motion is not used:
fast motion is not mistaken for a flip, nor a long flip for the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import log

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.matching.flip_path import JOINT_VIEWS, decide_together, view_viterbi
from mocap.matching.poses import ray_off_ray
from mocap.skeleton import Skeleton

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Robust cost of one pair of rays: squared distance over 2 sigma^2, at most this.
_CAP = 4.5
_SIGMA_FLOOR_M, _SIGMA_UNKNOWN_M = 0.01, 0.05
# Frames that tell the noise; fewest distances that do; frames after which causal mode looks again.
_NOISE_FRAMES, _LEAST_GAPS, _RELEARN_FRAMES = 200, 30, 25

_FOREARM = ("elbow", "wrist", "pinky", "index", "thumb")
_SHIN = ("knee", "ankle", "heel", "big_toe", "small_toe")
_PARTS = {
    "arms": ("shoulder", *_FOREARM),
    "legs": ("hip", *_SHIN),
    "face": None,
    "forearms": _FOREARM,
    "hands": _FOREARM[1:],
    "shins": _SHIN,
    "feet": _SHIN[1:],
}


@dataclass(frozen=True)
class PairGroups:
    """Left/right joint pairs by what flips together.

    Attributes
    ----------
    pairs : int [n, 2]
        All left and right joints.
    groups : tuple of (name, int [m])
        Rows of `pairs`: whole body first, then arms, legs and face, then what hangs on elbows and
        wrists, knees and ankles (a single elbow is its forearm without its hand).
    """

    pairs: NDArray[np.int64]
    groups: tuple[tuple[str, NDArray[np.int64]], ...]

    @staticmethod
    @cache
    def of(skeleton: Skeleton) -> PairGroups:
        """Groups of a skeleton; empty ones, and those equal to the one before, are left out."""
        names = [left.removeprefix("l_") for left, _ in skeleton.pairs]
        limbs = {n for part in (_PARTS["arms"], _PARTS["legs"]) if part for n in part}
        groups = [("body", np.arange(len(names)))]
        for name, part in _PARTS.items():
            rows = np.array([i for i, n in enumerate(names) if (n in part if part else n not in limbs)], int)
            if len(rows) and not any(np.array_equal(rows, old) for _, old in groups[1:]):
                groups.append((name, rows))
        pairs = [(skeleton.index(left), skeleton.index(right)) for left, right in skeleton.pairs]
        return PairGroups(np.array(pairs, np.int64).reshape(-1, 2), tuple(groups))


@njit(cache=True, error_model="numpy", inline="always")
def _gap(centres: Array, d: Array, a: int, b: int, t: int, j: int, k: int) -> float:
    """Distance of the rays of joint j in view a and joint k in view b, metres."""
    return ray_off_ray(
        centres[b, 0] - centres[a, 0], centres[b, 1] - centres[a, 1], centres[b, 2] - centres[a, 2],
        d[a, t, j, 0], d[a, t, j, 1], d[a, t, j, 2], d[b, t, k, 0], d[b, t, k, 1], d[b, t, k, 2],
    )  # fmt: skip


@njit(cache=True, error_model="numpy", nogil=True)
def same_gaps(centres: Array, d: Array, pairs: Ints, core: Ints, frames: Ints, gaps: NDArray[np.float32]) -> None:
    """Ray distances [n, F, 2 A] m of equally labelled joints for all pairs A of core views."""
    for i in range(pairs.shape[0]):
        for f in range(len(frames)):
            k = 0
            for p in range(len(core)):
                for q in range(p):
                    for side in range(2):
                        j = pairs[i, side]
                        gaps[i, f, k] = _gap(centres, d, core[p], core[q], frames[f], j, j)
                        k += 1


@njit(cache=True, error_model="numpy", nogil=True)
def pair_costs(
    centres: Array, d: Array, confidence: Array, pairs: Ints, sigma: Array, core: Ints, cost: NDArray[np.float32],
) -> None:  # fmt: skip
    """What it costs that two views disagree about left and right, pair by pair.

    Parameters
    ----------
    centres : float64 [V, 3]
    d : float64 [V, T, J, 3]
        Ray directions; NaN where not seen.
    confidence : float64 [V, T, J]
    pairs : int [n, 2]
    sigma : float64 [T, n]
        Noise of a ray distance, metres.
    core : int [C]
        Views that all others are compared with.
    cost : float32 [n, T, V, C]
        Result: cost of "one of the two is flipped" minus "both alike"; positive where the labels fit.
        Changes its sign, and nothing else, when one of the views is flipped.
    """
    V, T = d.shape[0], d.shape[1]
    place = np.full(V, -1)
    for c in range(len(core)):
        place[core[c]] = c
    for i in range(pairs.shape[0]):
        left, right = pairs[i, 0], pairs[i, 1]
        for t in range(T):
            scale = 0.5 / (sigma[t, i] * sigma[t, i])
            for v in range(V):
                for c in range(len(core)):
                    b = core[c]
                    cost[i, t, v, c] = 0.0
                    if v == b:
                        continue
                    if b < v and place[v] >= 0:
                        cost[i, t, v, c] = cost[i, t, b, place[v]]
                        continue
                    total_alike, total_crossed, n_alike, n_crossed = 0.0, 0.0, 0, 0
                    for side in range(4):
                        j, k = (left if side < 2 else right), (left if side % 2 == 0 else right)
                        gap = _gap(centres, d, v, b, t, j, k)
                        if np.isnan(gap):
                            continue
                        value = min(scale * gap * gap, _CAP)
                        if j == k:
                            total_alike += value
                            n_alike += 1
                        else:
                            total_crossed += value
                            n_crossed += 1
                    if n_alike and n_crossed:
                        w = min(confidence[v, t, left] + confidence[v, t, right],
                                confidence[b, t, left] + confidence[b, t, right])  # fmt: skip
                        cost[i, t, v, c] = w * (total_crossed / n_crossed - total_alike / n_alike)


@dataclass(frozen=True, eq=False)
class FlipEvidence:
    """What the views say about every pair of joints, before any decision.

    Attributes
    ----------
    cost : float32 [n, T, V, C]
        From `pair_costs`; follows the flips that are applied.
    sigma : float64 [T, n]
        Noise of ray distances, metres.
    starts : bool [T]
        Where a continuous piece of the recording begins.
    core : int [C]
        The views that saw most, decided jointly; C is at most `JOINT_VIEWS`.
    """

    cost: NDArray[np.float32]
    sigma: Array
    starts: Bools
    core: NDArray[np.int64]

    @staticmethod
    def of(
        centres: Array, d: Array, confidence: Array, pairs: NDArray[np.int64], starts: Bools, *, causal: bool = False
    ) -> FlipEvidence:
        """Evidence of one person.

        Parameters
        ----------
        centres : float64 [V, 3]
            Camera centres, metres.
        d : float64 [V, T, J, 3]
            Unit ray directions, NaN where not seen.
        confidence : float64 [V, T, J]
        pairs : int [n, 2]
            Left and right joints.
        starts : bool [T]
        causal : bool
            Learn the noise from the past only.
        """
        V, T = d.shape[:2]
        if causal:
            core = np.arange(min(V, JOINT_VIEWS))
        else:
            seen = (confidence > 0).sum((1, 2))
            core = np.sort(np.argsort(-seen, kind="stable")[:JOINT_VIEWS])
        sigma = _ray_noise(centres, d, pairs, core, causal=causal)
        cost = np.empty((len(pairs), T, V, len(core)), np.float32)
        pair_costs(centres, d, confidence, pairs, sigma, core, cost)
        return FlipEvidence(cost, sigma, starts, core)

    def apply(self, flipped: Bools, rows: NDArray[np.int64]) -> None:
        """Exchange the pairs `rows` where flipped [V, T], in place."""
        change_sides(self.cost, flipped, self.core, rows)

    def costs(self, rows: NDArray[np.int64]) -> Array:
        """Sum over the pairs `rows`: float64 [T, V, C]."""
        total = np.zeros(self.cost.shape[1:])
        add_pairs(self.cost, rows, total)
        return total

    def decide(
        self, cost: Array, flip_rate: float, change_rate: float, unary: Array | None = None, *, causal: bool = False
    ) -> Bools:
        """Bool [V, T]: in which views and frames the pairs whose `costs` these are, are swapped.

        Parameters
        ----------
        cost : float64 [T, V, C]
        flip_rate, change_rate : float
            Prior probabilities of being flipped and of changing, per frame.
        unary : float64 [T, V], optional
            Further cost of being flipped.
        causal : bool
            Each frame by itself and those before it.
        """
        T, V = cost.shape[:2]
        flipped = np.zeros((V, T), bool)
        change_cost = log((1 - change_rate) / change_rate)
        flip_cost, unary = np.empty((T, V)), np.zeros((T, V)) if unary is None else unary
        if not decide_together(cost, unary, self.core, self.starts, flip_rate, change_cost, causal, flip_cost, flipped):
            return flipped
        for v in np.setdiff1d(np.arange(V), self.core) if len(self.core) < V else ():
            sign = np.where(flipped[self.core], -1.0, 1.0).T
            advantage = (cost[:, v] * sign).sum(1)
            view_viterbi(advantage, self.starts, np.ascontiguousarray(flip_cost[:, v]), change_cost, flipped[v], causal)
        return flipped


def _ray_noise(centres: Array, d: Array, pairs: NDArray[np.int64], core: NDArray[np.int64], *, causal: bool) -> Array:
    """Standard deviation [T, n] of the distance of matching rays, metres, from the take itself."""
    T = d.shape[1]
    frames = np.arange(0, T, max(1, T // _NOISE_FRAMES) if not causal else 2)
    gaps = np.full((len(pairs), len(frames), max(1, len(core) * (len(core) - 1))), np.nan, np.float32)
    same_gaps(centres, d, pairs, core, frames, gaps)
    if not causal:
        return np.tile([_noise(gaps, i, 0, len(frames)) for i in range(len(pairs))], (T, 1))
    sigma = np.full((T, len(pairs)), _SIGMA_UNKNOWN_M)
    for start in range(_RELEARN_FRAMES, T, _RELEARN_FRAMES):
        first = max(0, start // 2 - _NOISE_FRAMES)
        sigma[start : start + _RELEARN_FRAMES] = [_noise(gaps, i, first, start // 2) for i in range(len(pairs))]
    return sigma


@njit(cache=True, error_model="numpy", nogil=True)
def _noise(gaps: NDArray[np.float32], pair: int, first: int, end: int) -> float:
    """Standard deviation that the median of gaps[pair, first:end] means, metres."""
    known, n = np.empty(max(end - first, 0) * gaps.shape[2], np.float32), 0
    for f in range(first, min(end, gaps.shape[1])):
        for k in range(gaps.shape[2]):
            if np.isfinite(gaps[pair, f, k]):
                known[n] = gaps[pair, f, k]
                n += 1
    if n < _LEAST_GAPS:
        return _SIGMA_UNKNOWN_M
    return max(_SIGMA_FLOOR_M, float(np.median(known[:n])) / 0.6745)


@njit(cache=True, error_model="numpy", nogil=True)
def add_pairs(cost: NDArray[np.float32], rows: Ints, total: Array) -> None:
    """Sum of cost[rows] over the pairs, added to total [T, V, C]."""
    for i in rows:
        for t in range(total.shape[0]):
            for v in range(total.shape[1]):
                for c in range(total.shape[2]):
                    total[t, v, c] += cost[i, t, v, c]


@njit(cache=True, error_model="numpy", nogil=True)
def change_sides(cost: NDArray[np.float32], flipped: Bools, core: Ints, rows: Ints) -> None:
    """Another sign for cost[rows] [T, V, C] where one of the two views is flipped [V, T], in place."""
    for i in rows:
        for t in range(cost.shape[1]):
            for v in range(cost.shape[2]):
                for c in range(cost.shape[3]):
                    if flipped[v, t] != flipped[core[c], t]:
                        cost[i, t, v, c] = -cost[i, t, v, c]


@njit(cache=True, error_model="numpy", nogil=True)
def swap_pairs(d: Array, weight: Array, order: NDArray[np.int16], flipped: Bools, pairs: Ints) -> None:
    """Exchange the pairs of d [V, T, J, 3], weight and order [V, T, J] where flipped [V, T], in place."""
    for v in range(flipped.shape[0]):
        for t in range(flipped.shape[1]):
            if not flipped[v, t]:
                continue
            for i in range(pairs.shape[0]):
                j, k = pairs[i, 0], pairs[i, 1]
                for x in range(3):
                    d[v, t, j, x], d[v, t, k, x] = d[v, t, k, x], d[v, t, j, x]
                weight[v, t, j], weight[v, t, k] = weight[v, t, k], weight[v, t, j]
                order[v, t, j], order[v, t, k] = order[v, t, k], order[v, t, j]
