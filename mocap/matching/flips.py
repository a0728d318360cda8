"""Left/right flips: found per view and time span by what the other views say, then undone.

A detector that takes a back for a front swaps all left and right joints of one view, often with
high confidence; others swap only arms or legs. For every pair of views the rays of a left and a
right joint say how much better "both as labelled" or "one of them swapped" explains what is seen.
All views and frames together are decided by dynamic programming (Viterbi): the state of a frame is
which views are flipped, the cost the robust distances of all view pairs, with a small cost for
being flipped and for changing. Temporal smoothness of the motion is not used: fast motion is not
mistaken for a flip, nor a long flip for the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.matching.poses import ray_ray_distance
from mocap.skeleton import Skeleton

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Views decided jointly (2^n states); the others follow one at a time.
JOINT_VIEWS = 8
# Robust cost of one pair of rays: squared distance over 2 sigma^2, at most this.
_CAP = 4.5
_SIGMA_FLOOR_M = 0.01

_ARMS = ("shoulder", "elbow", "wrist", "pinky", "index", "thumb")
_LEGS = ("hip", "knee", "ankle", "heel", "big_toe", "small_toe")


@dataclass(frozen=True)
class PairGroups:
    """Left/right joint pairs by what flips together.

    Attributes
    ----------
    groups : tuple of (name, int [n, 2])
        Whole body first, then arms, legs and face.
    """

    groups: tuple[tuple[str, NDArray[np.int64]], ...]

    @staticmethod
    def of(skeleton: Skeleton) -> PairGroups:
        """Groups of a skeleton; empty ones are left out."""
        parts: dict[str, list[tuple[int, int]]] = {"body": [], "arms": [], "legs": [], "face": []}
        for left, right in skeleton.pairs:
            pair = (skeleton.index(left), skeleton.index(right))
            name = left.removeprefix("l_")
            part = "arms" if name in _ARMS else "legs" if name in _LEGS else "face"
            parts[part].append(pair)
            parts["body"].append(pair)
        return PairGroups(tuple((name, np.array(pairs)) for name, pairs in parts.items() if pairs))


@njit(cache=True, error_model="numpy", nogil=True)
def same_gaps(
    centres: Array,
    d: Array,
    pairs: Ints,
    gaps: Array,
) -> None:
    """Ray distances [T, A, 2 n] m of equally labelled joints for all view pairs A."""
    V = d.shape[0]
    for t in range(d.shape[1]):
        k = 0
        for a in range(V):
            for b in range(a):
                for i in range(pairs.shape[0]):
                    for side in range(2):
                        j = pairs[i, side]
                        gaps[t, k, 2 * i + side] = ray_ray_distance(centres[a], d[a, t, j], centres[b], d[b, t, j])
                k += 1


@njit(cache=True, error_model="numpy", nogil=True)
def pair_costs(
    centres: Array,
    d: Array,
    confidence: Array,
    pairs: Ints,
    sigma: float,
    cost: Array,
) -> None:
    """What it costs that two views agree or disagree about left and right.

    Parameters
    ----------
    centres : float64 [V, 3]
    d : float64 [V, T, J, 3]
        Ray directions; NaN where not seen.
    confidence : float64 [V, T, J]
    pairs : int [n, 2]
    sigma : float
        Noise of a ray distance, metres.
    cost : float64 [T, V, V]
        Result: cost of "one of the two is flipped" minus "both alike", symmetric; positive where
        the labels fit.
    """
    V, T = d.shape[0], d.shape[1]
    scale = 0.5 / (sigma * sigma)
    for t in range(T):
        for a in range(V):
            cost[t, a, a] = 0.0
            for b in range(a):
                total = 0.0
                for i in range(pairs.shape[0]):
                    left, right = pairs[i, 0], pairs[i, 1]
                    for side in range(2):
                        j, k = (left, right) if side == 0 else (right, left)
                        alike = ray_ray_distance(centres[a], d[a, t, j], centres[b], d[b, t, j])
                        crossed = ray_ray_distance(centres[a], d[a, t, j], centres[b], d[b, t, k])
                        other = ray_ray_distance(centres[a], d[a, t, k], centres[b], d[b, t, j])
                        if np.isnan(alike) or (np.isnan(crossed) and np.isnan(other)):
                            continue
                        if np.isnan(crossed):
                            crossed = other
                        w = min(confidence[a, t, j], confidence[b, t, j])
                        total += w * (min(scale * crossed * crossed, _CAP) - min(scale * alike * alike, _CAP))
                cost[t, a, b] = cost[t, b, a] = total


@njit(cache=True, error_model="numpy")
def _relax(value: Array, source: NDArray[np.int16], views: int, change_cost: float, start: bool) -> None:
    """Cheapest way into each state from the frame before: value [2^V] in place, source [2^V] whence."""
    n = value.shape[0]
    for s in range(n):
        source[s] = s
    if start:
        source[:] = np.argmin(value)
        value[:] = 0.0
        return
    # One view at a time: changes of different views add up.
    for v in range(views):
        bit = 1 << v
        for s in range(n):
            if s & bit:
                continue
            low, high = value[s], value[s | bit]
            if high + change_cost < low:
                value[s], source[s] = high + change_cost, source[s | bit]
            elif low + change_cost < high:
                value[s | bit], source[s | bit] = low + change_cost, source[s]


@njit(cache=True, error_model="numpy")
def _pay(value: Array, cost: Array, flip_cost: Array) -> None:
    """Add what each state costs in this frame; cost [V, V], flip_cost [V]."""
    for s in range(value.shape[0]):
        for a in range(cost.shape[0]):
            flipped = (s >> a) & 1
            value[s] += flipped * flip_cost[a]
            for b in range(a):
                if flipped != ((s >> b) & 1):
                    value[s] += cost[a, b]
    value -= value.min()


@njit(cache=True, error_model="numpy", nogil=True)
def joint_viterbi(
    cost: Array,
    starts: Bools,
    flip_cost: Array,
    change_cost: float,
    flipped: Bools,
) -> None:
    """Which views are flipped in each frame, all views together.

    Parameters
    ----------
    cost : float64 [T, V, V]
        From `pair_costs`; V is at most `JOINT_VIEWS`.
    starts : bool [T]
        Where a continuous piece of the recording begins.
    flip_cost : float64 [T, V]
        Cost of being flipped, whatever the other views say.
    change_cost : float
        Cost of a view's change from one frame to the next.
    flipped : bool [T, V]
        Result.
    """
    T, V = cost.shape[0], cost.shape[1]
    n = 1 << V
    back = np.zeros((T, n), np.int16)
    value, source = np.zeros(n), np.zeros(n, np.int16)
    for t in range(T):
        _relax(value, source, V, change_cost, starts[t])
        back[t] = source
        _pay(value, cost[t], flip_cost[t])
    state = np.argmin(value)
    for t in range(T - 1, -1, -1):
        for v in range(V):
            flipped[t, v] = (state >> v) & 1
        state = back[t, state]


@njit(cache=True, error_model="numpy", nogil=True)
def view_viterbi(
    advantage: Array,
    starts: Bools,
    flip_cost: Array,
    change_cost: float,
    flipped: Bools,
) -> None:
    """Two-state chain of one view: `advantage` [T] is what the other views say for "as labelled"."""
    T = advantage.shape[0]
    back = np.zeros((T, 2), np.bool_)
    plain, turned = 0.0, 0.0
    for t in range(T):
        if starts[t]:
            back[t, 0] = back[t, 1] = turned < plain
            plain = turned = 0.0
        else:
            back[t, 0] = turned + change_cost < plain
            back[t, 1] = not plain + change_cost < turned
            plain, turned = min(plain, turned + change_cost), min(turned, plain + change_cost)
        turned += advantage[t] + flip_cost[t]
        low = min(plain, turned)
        plain, turned = plain - low, turned - low
    state = turned < plain
    for t in range(T - 1, -1, -1):
        flipped[t] = state
        state = back[t, 1] if state else back[t, 0]


@dataclass(frozen=True, eq=False)
class FlipEvidence:
    """What the views say about one group of joint pairs, before any decision.

    Attributes
    ----------
    cost : float64 [T, V, V]
        From `pair_costs`.
    starts : bool [T]
        Where a continuous piece of the recording begins.
    core : int [C]
        The views that saw most, decided jointly; C is at most `JOINT_VIEWS`.
    """

    cost: Array
    starts: Bools
    core: NDArray[np.int64]

    @staticmethod
    def of(centres: Array, d: Array, confidence: Array, pairs: NDArray[np.int64], starts: Bools) -> FlipEvidence:
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
        """
        V, T = d.shape[:2]
        cost = np.zeros((T, V, V))
        pair_costs(centres, d, confidence, pairs, _ray_noise(centres, d, pairs), cost)
        seen = np.isfinite(d[..., 0])[:, :, pairs.ravel()].sum((1, 2))
        return FlipEvidence(cost, starts, np.sort(np.argsort(-seen, kind="stable")[:JOINT_VIEWS]))

    def decide(self, flip_rate: float, change_rate: float, unary: Array | None = None) -> Bools:
        """Bool [V, T]: in which views and frames the pairs are swapped.

        Parameters
        ----------
        flip_rate, change_rate : float
            Prior probabilities of being flipped and of changing, per frame.
        unary : float64 [T, V], optional
            Further cost of being flipped.
        """
        T, V = self.cost.shape[:2]
        flipped = np.zeros((V, T), bool)
        change_cost = float(np.log((1 - change_rate) / change_rate))
        prior = np.full(V, np.log((1 - flip_rate) / flip_rate))
        # Two rounds: a view that flips often is the likelier culprit where two views disagree.
        for _ in range(2):
            flip_cost = np.zeros((T, V)) + prior if unary is None else unary + prior
            states = np.zeros((T, len(self.core)), bool)
            within = np.ascontiguousarray(self.cost[:, self.core[:, None], self.core])
            joint_viterbi(within, self.starts, np.ascontiguousarray(flip_cost[:, self.core]), change_cost, states)
            flipped[self.core] = states.T
            rate = np.clip((flipped.sum(1) + 10 * flip_rate) / (T + 10), 1e-4, 0.49)
            prior = np.log((1 - rate) / rate)
        for v in np.setdiff1d(np.arange(V), self.core):
            sign = np.where(flipped[self.core], -1.0, 1.0).T
            advantage = (self.cost[:, v, self.core] * sign).sum(1)
            view_viterbi(advantage, self.starts, np.ascontiguousarray(flip_cost[:, v]), change_cost, flipped[v])
        return flipped


def _ray_noise(centres: Array, d: Array, pairs: NDArray[np.int64]) -> float:
    """Standard deviation of the distance of matching rays, metres, from the take itself."""
    V, T = d.shape[:2]
    every = max(1, T // 500)
    sample = np.ascontiguousarray(d[:, ::every])
    gaps = np.full((sample.shape[1], V * (V - 1) // 2, 2 * len(pairs)), np.nan)
    same_gaps(centres, sample, pairs, gaps)
    gaps = gaps[np.isfinite(gaps)]
    return max(_SIGMA_FLOOR_M, float(np.median(gaps)) / 0.6745) if len(gaps) else _SIGMA_FLOOR_M


def swap_pairs(values: NDArray, flipped: NDArray[np.bool_], pairs: NDArray[np.int64]) -> NDArray:
    """Copy of `values` [V, T, J, ...] with the pairs exchanged where `flipped` [V, T]."""
    out = values.copy()
    for left, right in pairs:
        out[:, :, left][flipped] = values[:, :, right][flipped]
        out[:, :, right][flipped] = values[:, :, left][flipped]
    return out
