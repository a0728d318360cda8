"""Limbs given back: where two people overlap in a view, a detector hangs the arm of one on the other.

The 3D track of a person, made by all views, says where the limb must be. A limb whose own detection
lies elsewhere, or is missing, takes the limb of another detection of that view that lies there, if
that detection's own person does not need it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.matching.assignment import assign
from mocap.matching.poses import point_off_ray
from mocap.skeleton import Skeleton

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# A joint is worth this much where it lies on the track, falls with squared distance over 2 sigma^2,
# and costs at most as much where it lies elsewhere.
_WORTH = 2.0
# Taking a limb from another detection must gain this much more than the own one does.
_EXCHANGE = 2.0
# Standard deviation of a joint's ray from the track, metres.
_SIGMA_M = 0.06

_LIMBS = (("elbow", "wrist"), ("knee", "ankle", "heel", "big_toe", "small_toe"))


def limb_table(skeleton: Skeleton) -> tuple[Ints, Ints]:
    """Joints [L, K] of every limb (-1 for none), and each limb's left/right partner [L]."""
    rows: list[list[int]] = []
    for part in _LIMBS:
        for side in "lr":
            rows.append([skeleton.index(f"{side}_{n}") for n in part if f"{side}_{n}" in skeleton.joints])
    width = max((len(r) for r in rows), default=0)
    table = np.full((len(rows), width), -1, np.int64)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return table, np.arange(len(rows)) ^ 1


@njit(cache=True, error_model="numpy")
def _gain(c: Array, d: Array, w: Array, track: Array, here: Ints, there: Ints, sigma: float) -> float:
    """How well the joints `there` of a detection lie on the joints `here` of a track; 0 if unknown."""
    total = 0.0
    for k in range(len(here)):
        j, i = here[k], there[k]
        if j < 0 or i < 0 or not w[i] > 0.0 or np.isnan(track[j, 0]):
            continue
        e = point_off_ray(c[0], c[1], c[2], d[i, 0], d[i, 1], d[i, 2], track[j, 0], track[j, 1], track[j, 2]) / sigma
        total += max(_WORTH - 0.5 * e * e, -_WORTH)
    return total


@njit(cache=True, error_model="numpy")
def _supported(observation: NDArray[np.int32], joints: Ints, v: int, t: int, p: int) -> bool:
    """Whether two views other than v see a limb of person p in frame t: observation [V, T, P, J]."""
    views = 0
    for u in range(observation.shape[0]):
        if u == v:
            continue
        for k in range(joints.shape[0]):
            if joints[k] >= 0 and observation[u, t, p, joints[k]] >= 0:
                views += 1
                break
    return views >= 2


@njit(cache=True, error_model="numpy")
def _own_gain(
    centres: Array, d: Array, weight: Array, tracks: Array, side: Ints, observation: NDArray[np.int32], v: int, t: int,
    p: int, sigma: float,
) -> tuple[float, int]:  # fmt: skip
    """Gain of what person p has now in view v and frame t, and the table's column for it (-1: nothing)."""
    J = d.shape[3]
    total, home = 0.0, -1
    for k in range(side.shape[0]):
        j = side[k]
        at = observation[v, t, p, j] if j >= 0 else -1
        if at < 0:
            continue
        s, i = at // J, at % J
        home = 2 * s + (0 if i == j else 1)
        if not np.isnan(tracks[p, t, j, 0]) and weight[v, t, s, i] > 0.0:
            e = point_off_ray(
                centres[v, 0], centres[v, 1], centres[v, 2], d[v, t, s, i, 0], d[v, t, s, i, 1], d[v, t, s, i, 2],
                tracks[p, t, j, 0], tracks[p, t, j, 1], tracks[p, t, j, 2],
            ) / sigma  # fmt: skip
            total += max(_WORTH - 0.5 * e * e, -_WORTH)
    return total, home


@njit(cache=True, error_model="numpy")
def _fill_table(
    c: Array, d: Array, weight: Array, tracks: Array, t: int, side: Ints, other: Ints, slot: NDArray[np.int16],
    own: Array, home: Ints, open_to: Bools, sigma: float, cost: Array,
) -> None:  # fmt: skip
    """What every person [P] gains from every slot's limb, as labelled and turned: cost [P, 2 S], negative gains."""
    cost[:] = np.inf
    for p in range(len(own)):
        if home[p] >= 0:
            cost[p, home[p]] = -own[p] - 1e-3
        if not open_to[p]:
            continue
        for s in range(d.shape[0]):
            if s == slot[p]:
                continue
            # A limb of the other side is free only where nobody has the slot.
            free = True
            for q in range(len(own)):
                free &= slot[q] != s
            for turned in range(2 if free else 1):
                there = other if turned else side
                gain = _gain(c, d[s], weight[s], tracks[p, t], side, there, sigma)
                if gain > max(own[p], 0.0) + _EXCHANGE and 2 * s + turned != home[p]:
                    cost[p, 2 * s + turned] = -gain + _EXCHANGE


@njit(cache=True, error_model="numpy")
def _take(
    column: Ints, home: Ints, side: Ints, other: Ints, weight: Array, observation: NDArray[np.int32], touched: Bools
) -> int:
    """Write the assignment down: observation [P, J] of one view and frame. How many limbs moved."""
    J, moved = observation.shape[1], 0
    for p in range(len(column)):
        c = column[p]
        if c == home[p] or (c < 0 and (home[p] < 0 or not _taken(column, home[p], p))):
            continue
        moved += 1
        for k in range(len(side)):
            if side[k] < 0:
                continue
            there = -1 if c < 0 else (other[k] if c % 2 else side[k])
            seen = there >= 0 and weight[c // 2, there] > 0.0
            at = (c // 2) * J + there if seen else -1
            touched[p] |= at != observation[p, side[k]]
            observation[p, side[k]] = at
    return moved


@njit(cache=True, error_model="numpy", nogil=True)
def give_back_limbs(
    centres: Array, d: Array, weight: Array, tracks: Array, limbs: Ints, partner: Ints, slot: NDArray[np.int16],
    observation: NDArray[np.int32], touched: Bools,
) -> int:  # fmt: skip
    """Limbs exchanged between detections, in place.

    Parameters
    ----------
    centres : float64 [V, 3]
    d : float64 [V, T, S, J, 3], weight : float64 [V, T, S, J]
        Rays of all slots.
    tracks : float64 [P, T, J, 3]
        Where the joints of every person are, metres; NaN where unknown.
    limbs : int64 [L, K], partner : int64 [L]
        From `limb_table`.
    slot : int16 [V, T, P]
    observation : int32 [V, T, P, J]
        slot * J + joint taken for every joint; changed in place.
    touched : bool [P, T]
        Becomes True where an observation has changed.

    Returns
    -------
    int
        Limbs that changed hands.
    """
    V, T, S = weight.shape[:3]
    P, L = tracks.shape[0], limbs.shape[0]
    own, home, open_to = np.empty(P), np.empty(P, np.int64), np.empty(P, np.bool_)
    cost, gate, column = np.empty((P, 2 * S)), np.zeros(P), np.empty(P, np.int64)
    moved = 0
    for t in range(T):
        for v in range(V):
            for limb in range(L):
                side, needed = limbs[limb], False
                for p in range(P):
                    own[p], home[p] = _own_gain(centres, d, weight, tracks, side, observation, v, t, p, _SIGMA_M)
                    known = not np.isnan(tracks[p, t, side[0], 0]) or not np.isnan(tracks[p, t, side[1], 0])
                    open_to[p] = known and own[p] <= 0.0 and _supported(observation, side, v, t, p)
                    needed |= open_to[p]
                if not needed:
                    continue
                _fill_table(
                    centres[v], d[v, t], weight[v, t], tracks, t, side, limbs[partner[limb]], slot[v, t], own, home,
                    open_to, _SIGMA_M, cost,
                )  # fmt: skip
                assign(cost, gate, column)
                moved += _take(column, home, side, limbs[partner[limb]], weight[v, t], observation[v, t], touched[:, t])
    return moved


@njit(cache=True, error_model="numpy")
def _taken(column: Ints, place: int, p: int) -> bool:
    for q in range(len(column)):  # noqa: SIM110 -- numba knows no generators
        if q != p and column[q] == place:
            return True
    return False
