"""Which views are flipped when: the cheapest path through all frames, by dynamic programming (Viterbi).

The state of a frame is the set of flipped views; what it costs is in `mocap.matching.flips`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# What rounding may take from a bound.
_ROUNDING = 1e-6
# Views decided jointly (2^n states); the others follow one at a time.
JOINT_VIEWS = 8


@njit(cache=True, error_model="numpy", nogil=True)
def flip_possible(cost: Array, flip_cost: Array, core: Ints, starts: Bools, change_cost: float, frames: Bools) -> bool:
    """Whether any path with a flip can be better than none: by an upper bound on what flips gain.

    Parameters
    ----------
    cost : float64 [T, V, C], flip_cost : float64 [T, V], core : int [C], starts : bool [T]
    frames : bool [T]
        Result: where a flip may be. A stretch of flips must gain more than its two changes cost, so a frame that
        lies in no stretch whose bounds do is not flipped.
    """
    T, possible = cost.shape[0], False
    bound, before = np.empty(T), np.empty(T)
    run = 0.0
    for t in range(T):
        gain, cheapest = 0.0, np.inf
        for v in range(cost.shape[1]):
            cheapest = min(cheapest, flip_cost[t, v])
            gain += max(-flip_cost[t, v], 0.0)
            for c in range(cost.shape[2]):
                if core[c] < v or (core[c] != v and not _is_core(core, v)):
                    gain += max(-cost[t, v, c], 0.0)
        bound[t] = gain - max(cheapest, 0.0)
        run = bound[t] + (0.0 if starts[t] else max(run, -change_cost))
        before[t] = run
        possible |= run > 0.0
    after = 0.0
    for t in range(T - 1, -1, -1):
        # What the rest of a stretch gains that goes on beyond frame t, or what ending there costs.
        after = 0.0 if t == T - 1 or starts[t + 1] else max(bound[t + 1] + after, -change_cost)
        frames[t] = before[t] + after > -_ROUNDING
    return possible


@njit(cache=True, error_model="numpy")
def _is_core(core: Ints, v: int) -> bool:
    for c in core:  # noqa: SIM110 -- numba knows no generators
        if c == v:
            return True
    return False


@njit(cache=True, error_model="numpy")
def _relax(value: Array, back: NDArray[np.int16], t: int, views: int, change_cost: float, start: bool) -> None:
    """Cheapest way into each state from the frame before: value [2^V] in place, back[t] [2^V] whence."""
    n = value.shape[0]
    if start:
        best = np.argmin(value)
        for s in range(n):
            back[t, s], value[s] = best, 0.0
        return
    for s in range(n):
        back[t, s] = s
    # One view at a time: changes of different views add up.
    for v in range(views):
        bit = 1 << v
        for first in range(0, n, 2 * bit):
            for s in range(first, first + bit):
                low, high, here, there = value[s], value[s + bit], back[t, s], back[t, s + bit]
                down, up = high + change_cost < low, low + change_cost < high
                value[s], back[t, s] = high + change_cost if down else low, there if down else here
                value[s + bit], back[t, s + bit] = low + change_cost if up else high, here if up else there


@njit(cache=True, error_model="numpy")
def _pay(value: Array, cost: Array, flip_cost: Array, t: int, energy: Array, extra: Array) -> None:
    """Add what each state costs in frame t; cost [T, V, V], flip_cost [T, V]; energy and extra [2^V] are scratch."""
    energy[0] = 0.0
    for a in range(cost.shape[1]):
        bit = 1 << a
        # What flipping a too adds to each state of the lower views: it then differs from those that are not.
        extra[0] = flip_cost[t, a]
        for b in range(cost.shape[1]):
            if b != a:
                extra[0] += cost[t, a, b]
        for b in range(a):
            less = 2.0 * cost[t, a, b]
            for s in range(1 << b):
                extra[s + (1 << b)] = extra[s] - less
        for s in range(bit):
            energy[s + bit] = energy[s] + extra[s]
    low = np.inf
    for s in range(value.shape[0]):
        value[s] += energy[s]
        low = min(low, value[s])
    for s in range(value.shape[0]):
        value[s] -= low


@njit(cache=True, error_model="numpy", nogil=True)
def joint_viterbi(
    cost: Array,
    starts: Bools,
    flip_cost: Array,
    change_cost: float,
    flipped: Bools,
    frames: Bools,
    causal: bool = False,
) -> None:
    """Which views are flipped in each frame, all views together.

    Parameters
    ----------
    cost : float64 [T, V, V]
        From `mocap.matching.flips.pair_costs`; V is at most `JOINT_VIEWS`.
    starts : bool [T]
        Where a continuous piece of the recording begins.
    flip_cost : float64 [T, V]
        Cost of being flipped, whatever the other views say.
    change_cost : float
        Cost of a view's change from one frame to the next.
    flipped : bool [T, V]
        Result.
    frames : bool [T]
        Where a view may be flipped (`flip_possible`); nowhere else is any. All of them in causal mode.
    causal : bool
        Decide each frame by itself and those before it.
    """
    T, V = cost.shape[0], cost.shape[1]
    n = 1 << V
    back = np.zeros((T, n), np.int16)
    value, energy, extra = np.zeros(n), np.zeros(n), np.zeros(n)
    quiet = False
    for t in range(T):
        if quiet and not frames[t]:
            continue
        _relax(value, back, t, V, change_cost, starts[t])
        quiet = not frames[t]
        if quiet:
            value[1:] = np.inf
            value[0] = 0.0
            continue
        _pay(value, cost, flip_cost, t, energy, extra)
        if causal:
            best = np.argmin(value)
            for v in range(V):
                flipped[t, v] = (best >> v) & 1
    if causal:
        return
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
    causal: bool = False,
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
        if causal:
            flipped[t] = turned < plain
    if causal:
        return
    state = turned < plain
    for t in range(T - 1, -1, -1):
        flipped[t] = state
        state = back[t, 1] if state else back[t, 0]


@njit(cache=True, error_model="numpy", nogil=True)
def decide_together(
    cost: Array, unary: Array, core: Ints, starts: Bools, flip_rate: float, change_cost: float, causal: bool,
    flip_cost: Array, flipped: Bools,
) -> bool:  # fmt: skip
    """Which of the core views are flipped when; whether any path with a flip was to be looked for.

    Parameters
    ----------
    cost : float64 [T, V, C]
    unary : float64 [T, V]
        Cost of being flipped, without that of its rarity.
    core : int64 [C], starts : bool [T], flip_rate, change_cost : float, causal : bool
    flip_cost : float64 [T, V]
        Result: `unary` and the cost of rarity.
    flipped : bool [V, T]
        Result, of the core views; False before.
    """
    T, V, C = cost.shape
    within, own = np.empty((T, C, C)), np.empty((T, C))
    states, frames, prior = np.zeros((T, C), np.bool_), np.empty(T, np.bool_), np.empty(V)
    prior[:] = np.log((1.0 - flip_rate) / flip_rate)
    # Two rounds: a view that flips often is the likelier culprit where two views disagree.
    for turn in range(1 if causal else 2):
        for t in range(T):
            for v in range(V):
                flip_cost[t, v] = unary[t, v] + prior[v]
        if not flip_possible(cost, flip_cost, core, starts, change_cost, frames) and turn == 0:
            return False
        frames |= causal
        for t in range(T):
            for a in range(C):
                own[t, a] = flip_cost[t, core[a]]
                for b in range(C):
                    within[t, a, b] = cost[t, core[a], b]
        joint_viterbi(within, starts, own, change_cost, states, frames, causal)
        count = np.zeros(V)
        for a in range(C):
            for t in range(T):
                flipped[core[a], t] = states[t, a]
                count[core[a]] += states[t, a]
        if count.sum() == 0.0:
            break  # a rarer flip is no more probable
        for v in range(V):
            rate = min(max((count[v] + 10.0 * flip_rate) / (T + 10.0), 1e-4), 0.49)
            prior[v] = np.log((1.0 - rate) / rate)
    return True
