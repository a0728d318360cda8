"""People that no track explains yet: free slots clustered over the views, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.matching.assignment import assign, assign_greedily
from mocap.matching.poses import TURN_M, mean_joint_distance, pose_from_slots, slot_to_slot, turn_slot

# A newcomer this near to a track (mean joint distance, metres) is the track seen twice.
SAME_BODY_M = 0.25
_BODY_SIZE_M = (0.4, 3.0)

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@njit(cache=True, error_model="numpy")
def slot_table(
    centres: Array, d: Array, weight: Array, free: Bools, mirror: Ints, min_joints: int, table: Array,
    turned: Bools,
) -> int:  # fmt: skip
    """Distances of all free slots of different views; how many slots are free.

    Parameters
    ----------
    centres [V, 3], d [V, S, J, 3], weight [V, S, J], free [V, S], mirror [J]
    table : float64 [V, S, V, S]
        Result: metres, symmetric, inf where not comparable; the better of both labellings.
    turned : bool [V, S, V, S]
        Result: whether that is the one with left and right exchanged.
    """
    V, S = free.shape
    table[:] = np.inf
    turned[:] = False
    left = 0
    for a in range(V):
        for i in range(S):
            if not free[a, i]:
                continue
            left += 1
            for b in range(a):
                for k in range(S):
                    if not free[b, k]:
                        continue
                    plain, crossed = slot_to_slot(
                        centres[a], d[a, i], weight[a, i], centres[b], d[b, k], weight[b, k], mirror, min_joints
                    )
                    table[a, i, b, k] = table[b, k, a, i] = min(plain, crossed + TURN_M)
                    turned[a, i, b, k] = turned[b, k, a, i] = crossed + TURN_M < plain
    return left


@njit(cache=True, error_model="numpy")
def _nearest_pair(
    table: Array,
    free: Bools,
    limit_m: float,
    members: Ints,
) -> int:
    """Put the two nearest free slots into members [V]; the view of one of them, -1 if none is near."""
    V, S = free.shape
    best, first = limit_m, -1
    for a in range(V):
        for b in range(a):
            for i in range(S):
                for k in range(S):
                    if free[a, i] and free[b, k] and table[a, i, b, k] < best:
                        best, first = table[a, i, b, k], a
                        members[:] = -1
                        members[a], members[b] = i, k
    return first


@njit(cache=True, error_model="numpy")
def _mean_to_members(
    table: Array,
    members: Ints,
    v: int,
    s: int,
) -> float:
    """Mean distance of slot s of view v to the members that can be compared; inf if none."""
    total, n = 0.0, 0
    for m in range(members.shape[0]):
        if members[m] >= 0 and np.isfinite(table[v, s, m, members[m]]):
            total += table[v, s, m, members[m]]
            n += 1
    return total / n if n else np.inf


@njit(cache=True, error_model="numpy")
def grow_cluster(
    table: Array,
    free: Bools,
    limit_m: float,
    members: Ints,
) -> int:
    """Best group of free slots, at most one per view.

    Starts from the nearest pair and adds the slot nearest to all members on average, while one is
    nearer than the limit.

    Returns
    -------
    int
        A view of the starting pair, -1 where there is no group; members [V] holds the slots.
    """
    V, S = free.shape
    first = _nearest_pair(table, free, limit_m, members)
    while first >= 0:
        best, view, slot = limit_m, -1, -1
        for v in range(V):
            for s in range(S):
                if members[v] < 0 and free[v, s]:
                    mean = _mean_to_members(table, members, v, s)
                    if mean < best:
                        best, view, slot = mean, v, s
        if view < 0:
            break
        members[view] = slot
    return first


@njit(cache=True, error_model="numpy")
def join_views(table: Array, free: Bools, limit_m: float, greedy: bool, groups: Ints) -> int:
    """Groups [G, V] of free slots, made view by view; how many. G is at least the number of slots.

    Each view's slots are assigned to the groups so far by the mean distance to their members, what
    is left founds new groups. The result depends on the order of the views.
    """
    V, S = free.shape
    groups[:] = -1
    n = 0
    for v in range(V):
        cost, gate, column = np.full((n, S), np.inf), np.full(n, limit_m), np.empty(n, np.int64)
        for g in range(n):
            for s in range(S):
                if free[v, s]:
                    cost[g, s] = _mean_to_members(table, groups[g], v, s)
        if greedy:
            assign_greedily(cost, gate, column)
        else:
            assign(cost, gate, column)
        taken = np.zeros(S, np.bool_)
        for g in range(len(column)):
            if column[g] >= 0:
                groups[g, v] = column[g]
                taken[column[g]] = True
        for s in range(S):
            if free[v, s] and not taken[s]:
                groups[n, v] = s
                n += 1
    return n


@njit(cache=True, error_model="numpy")
def _plausible(
    pose: Array,
    found: int,
    min_joints: int,
) -> bool:
    """Whether a pose has enough joints and the size of a body."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for j in range(pose.shape[0]):
        for x in range(3):
            if not np.isnan(pose[j, x]):
                low[x], high[x] = min(low[x], pose[j, x]), max(high[x], pose[j, x])
    if found < min_joints:
        return False
    size = np.sqrt(np.sum((high - low) ** 2))
    return _BODY_SIZE_M[0] <= size <= _BODY_SIZE_M[1]


@njit(cache=True, error_model="numpy")
def _found_track(
    centres: Array, d: Array, weight: Array, free: Bools, mirror: Ints, min_joints: int, turned: Bools, first: int,
    members: Ints, track_pose: Array, velocity: Array, ident: Ints, unseen: Array, apart: Array, support: Array,
    hold: Array, counter: Ints, slots: Ints, pose: Array, unknown: Array,
) -> None:  # fmt: skip
    """A track from a group of slots, labelled as in view `first`, unless it is no body or tracked already."""
    for v in range(len(members)):
        if members[v] < 0:
            continue
        free[v, members[v]] = False
        if v != first and turned[v, members[v], first, members[first]]:
            turn_slot(d[v, members[v]], weight[v, members[v]], mirror)
    found = pose_from_slots(centres, d, weight, members, unknown, pose)
    good, place = _plausible(pose, found, min_joints), -1
    for m in range(ident.shape[0]):
        if ident[m] >= 0:
            good = good and mean_joint_distance(pose, track_pose[m]) > SAME_BODY_M
        elif place < 0:
            place = m
    if good and place >= 0:
        track_pose[place], slots[place] = pose, members
        velocity[place] = 0.0
        unseen[place], support[place], ident[place] = 0.0, 0.0, counter[0]
        hold[place], apart[place] = 0.0, 0.0
        counter[0] += 1


@njit(cache=True, error_model="numpy")
def add_newcomers(
    centres: Array, d: Array, weight: Array, free: Bools, mirror: Ints, limit_m: float, min_joints: int, method: int,
    track_pose: Array, velocity: Array, ident: Ints, unseen: Array, apart: Array, support: Array, hold: Array,
    counter: Ints, slots: Ints,
) -> None:  # fmt: skip
    """Group the free slots of one frame into new tracks, in place.

    Parameters
    ----------
    centres [V, 3], d [V, S, J, 3], weight [V, S, J], free [V, S], mirror [J]
    limit_m : float
        Largest mean ray distance within a group, metres.
    method : int
        0 clusters all views at once; 1 and 2 join them one by one, Hungarian or greedily.
    track_pose [M, J, 3], velocity [M, 3], ident, unseen, apart, support, hold [M], counter [1], slots [M, V]
        The tracks; a newcomer takes a free place (ident -1).
    """
    (V, S), J = free.shape, d.shape[2]
    used = 0
    for v in range(V):
        used += 1 if np.any(free[v]) else 0
    if used < 2:
        return
    table, turned = np.empty((V, S, V, S)), np.empty((V, S, V, S), np.bool_)
    slot_table(centres, d, weight, free, mirror, min_joints, table, turned)
    members, pose, unknown = np.empty(V, np.int64), np.empty((J, 3)), np.full((J, 3), np.nan)
    groups = np.empty((V * S if method else 1, V), np.int64)
    count = join_views(table, free, limit_m, method == 2, groups) if method else V * S
    for g in range(count):
        if method:
            members[:] = groups[g]
            first = int(np.argmax(members >= 0))
        else:
            first = int(grow_cluster(table, free, limit_m, members))
            if first < 0:
                return
        if np.sum(members >= 0) >= 2:
            _found_track(
                centres, d, weight, free, mirror, min_joints, turned, first, members, track_pose, velocity,
                ident, unseen, apart, support, hold, counter, slots, pose, unknown,
            )  # fmt: skip
