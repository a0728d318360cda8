"""From person slots to tracks: the pass over the frames of a recording, compiled.

Per frame: every track's pose is predicted; in each view the slots are assigned to the tracks by
the distance of their rays from the predicted joints (Hungarian, gated); poses are updated from the
views that agree; what is left over is clustered over the views into newcomers. A detection that
fits better with left and right exchanged is compared that way, so flips do not part a person.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.matching.assignment import assign, assign_greedily
from mocap.matching.newcomers import SAME_BODY_M, add_newcomers
from mocap.matching.poses import (
    TURN_M,
    mean_joint_distance,
    pose_from_slots,
    ray_point_distance,
    slot_to_pose,
    turn_slot,
)

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Velocity is believed for this long after the last sight, and averaged over about half of it, seconds.
_COAST_S = 0.2
# Share of the gate within which a view must agree with the pose it helped to make.
_AGREE = 0.7
# How long a track may stay unseen, as a share of the time it was seen by two views.
_TRUST = 0.5
# Cost, as a share of the gate, of what only a far-reaching track may take.
_LAST = 0.999
# A single view continues a track only while it was seen at most this long ago, seconds, and if it fits
# within this share of the gate.
_SINGLE_S, _SINGLE_FIT = 0.2, 0.5
# Time over which the views that hold a track are averaged, seconds.
_HOLD_S = 0.5
# After this long without two views a track gets a new number: whether it is still the same person is decided
# later, by all that is known of the body.
_RENEW_S = 0.12


@njit(cache=True, error_model="numpy")
def _mean_shift(
    old: Array,
    new: Array,
    shift: Array,
) -> int:
    """Mean displacement [3] of the joints that both poses have; how many they are."""
    shift[:] = 0.0
    n = 0
    for j in range(old.shape[0]):
        if not (np.isnan(old[j, 0]) or np.isnan(new[j, 0])):
            for x in range(3):
                shift[x] += new[j, x] - old[j, x]
            n += 1
    for x in range(3):
        shift[x] /= max(n, 1)
    return n


@njit(cache=True, error_model="numpy")
def _predict(
    pose: Array,
    velocity: Array,
    unseen: float,
    dt: float,
    predicted: Array,
) -> None:
    """Where the joints of one track are now: the whole body moves on, for a while."""
    ahead = min(unseen + dt, _COAST_S) - min(unseen, _COAST_S)
    for j in range(pose.shape[0]):
        for x in range(3):
            predicted[j, x] = pose[j, x] + velocity[x] * ahead


@njit(cache=True, error_model="numpy")
def _cost(distance: float, gate_m: float, reach: float) -> float:
    """What it costs a track to take a slot; a track unseen for a while reaches farther, but comes last."""
    if distance < gate_m:
        return distance
    return _LAST * gate_m if distance < gate_m + min(reach, gate_m) else np.inf


@njit(cache=True, error_model="numpy")
def _assign_views(
    centres: Array, d: Array, weight: Array, predicted: Array, ident: Ints, unseen: Array, mirror: Ints,
    gate_m: float, growth: float, min_joints: int, greedy: bool, slots: Ints, free: Bools,
) -> None:  # fmt: skip
    """Slots [M, V] of the tracks, view by view; free [V, S] becomes False where a slot is taken."""
    V, S = free.shape
    live = np.flatnonzero(ident >= 0)
    cost, gate, column = np.empty((len(live), S)), np.empty(len(live)), np.empty(len(live), np.int64)
    turned = np.empty((len(live), S), np.bool_)
    gate[:] = gate_m
    slots[:] = -1
    for v in range(V):
        for i in range(len(live)):
            for s in range(S):
                cost[i, s] = np.inf
                if free[v, s]:
                    plain, crossed = slot_to_pose(
                        centres[v], d[v, s], weight[v, s], predicted[live[i]], mirror, min_joints
                    )
                    turned[i, s] = crossed + TURN_M < plain
                    cost[i, s] = _cost(min(plain, crossed + TURN_M), gate_m, growth * unseen[live[i]])
        if greedy:
            assign_greedily(cost, gate, column)
        else:
            assign(cost, gate, column)
        for i in range(len(live)):
            s = column[i]
            if s >= 0:
                slots[live[i], v] = s
                free[v, s] = False
                if turned[i, s]:
                    turn_slot(d[v, s], weight[v, s], mirror)


@njit(cache=True, error_model="numpy")
def _give_back_strangers(
    centres: Array, d: Array, weight: Array, slots: Ints, pose: Array, mirror: Ints, limit_m: float,
    min_joints: int, free: Bools,
) -> int:  # fmt: skip
    """Free the slots of a track that do not fit the pose they helped to make; how many stay."""
    views = 0
    for v in range(slots.shape[0]):
        s = slots[v]
        if s < 0:
            continue
        fit, crossed = slot_to_pose(centres[v], d[v, s], weight[v, s], pose, mirror, min_joints)
        fit = min(fit, crossed)
        if np.isfinite(fit) and fit > limit_m:
            free[v, s] = True
            slots[v] = -1
        else:
            views += 1
    return views


@njit(cache=True, error_model="numpy")
def _move_with(
    pose: Array,
    new: Array,
    velocity: Array,
    dt: float,
    elapsed: float,
) -> None:
    """Take the new joints; those not seen move with the body. Updates the velocity."""
    shift = np.empty(3)
    n = _mean_shift(pose, new, shift)
    if n:
        blend = min(1.0, dt / (0.5 * _COAST_S))
        for x in range(3):
            velocity[x] += blend * (shift[x] / elapsed - velocity[x])
    for j in range(pose.shape[0]):
        for x in range(3):
            if not np.isnan(new[j, x]):
                pose[j, x] = new[j, x]
            elif n:
                pose[j, x] += shift[x]


@njit(cache=True, error_model="numpy")
def _move_across(
    c: Array,
    d: Array,
    weight: Array,
    predicted: Array,
    pose: Array,
) -> None:
    """One view says nothing about depth, but moves the body across its rays d [J, 3]."""
    shift, n = np.zeros(3), 0
    for j in range(pose.shape[0]):
        if not weight[j] > 0.0 or np.isnan(predicted[j, 0]) or ray_point_distance(c, d[j], predicted[j]) > 0.5:
            continue
        along = 0.0
        for x in range(3):
            along += d[j, x] * (predicted[j, x] - c[x])
        for x in range(3):
            shift[x] += c[x] + along * d[j, x] - predicted[j, x]
        n += 1
    for j in range(pose.shape[0]):
        for x in range(3):
            pose[j, x] = predicted[j, x] + shift[x] / max(n, 1)


@njit(cache=True, error_model="numpy")
def _held(slots: Ints) -> int:
    """How many views hold a track: slots [V]."""
    views = 0
    for v in range(slots.shape[0]):
        views += slots[v] >= 0
    return views


@njit(cache=True, error_model="numpy")
def _update(
    centres: Array, d: Array, weight: Array, slots: Ints, predicted: Array, mirror: Ints, gate_m: float,
    min_joints: int, dt: float, elapsed: float, pose: Array, velocity: Array, free: Bools,
) -> int:  # fmt: skip
    """New pose of one track from its slots [V]; how many views made it (2 stands for more)."""
    views = _held(slots)
    if views >= 2:
        new = np.empty(pose.shape)
        pose_from_slots(centres, d, weight, slots, predicted, new)
        views = _give_back_strangers(centres, d, weight, slots, new, mirror, _AGREE * gate_m, min_joints, free)
        if views >= 2:
            _move_with(pose, new, velocity, dt, elapsed)
            return 2
    for v in range(slots.shape[0]):
        s = slots[v]
        if s < 0:
            continue
        fit, crossed = slot_to_pose(centres[v], d[v, s], weight[v, s], predicted, mirror, min_joints)
        if elapsed - dt <= _SINGLE_S and min(fit, crossed) < _SINGLE_FIT * gate_m:
            velocity[:] *= 0.5
            _move_across(centres[v], d[v, s], weight[v, s], predicted, pose)
            return 1
        # One view is no proof that somebody is back, nor that it is this one.
        free[v, s] = True
        slots[v] = -1
    pose[:] = predicted
    return 0


@njit(cache=True, error_model="numpy")
def _drop_doubles(
    pose: Array,
    ident: Ints,
    slots: Ints,
    hold: Array,
) -> None:
    """Where two tracks have become one body, the one that fewer views have held (then the younger) ends."""
    for m in range(ident.shape[0]):
        for k in range(m):
            if ident[m] < 0 or ident[k] < 0 or mean_joint_distance(pose[m], pose[k]) > 0.5 * SAME_BODY_M:
                continue
            weaker = m if hold[m] < hold[k] or (hold[m] == hold[k] and ident[m] > ident[k]) else k
            stronger = k if weaker == m else m
            for v in range(slots.shape[1]):
                if slots[stronger, v] < 0:
                    slots[stronger, v] = slots[weaker, v]
            ident[weaker] = -1
            slots[weaker] = -1


@njit(cache=True, error_model="numpy")
def _usable_slots(
    weight: Array,
    min_joints: int,
    free: Bools,
) -> None:
    """Mark in free [V, S] the slots of weight [V, S, J] that have enough joints."""
    for v in range(free.shape[0]):
        for s in range(free.shape[1]):
            count = 0
            for j in range(weight.shape[2]):
                count += weight[v, s, j] > 0.0
            free[v, s] = count >= min_joints


@njit(cache=True, error_model="numpy")
def _update_tracks(
    centres: Array, d: Array, weight: Array, slots: Ints, predicted: Array, mirror: Ints, gate_m: float,
    min_joints: int, occlusion_s: float, dt: float, pose: Array, velocity: Array, ident: Ints, unseen: Array,
    apart: Array, support: Array, hold: Array, counter: Ints, parent: Ints, free: Bools,
) -> None:  # fmt: skip
    """Poses of all tracks from their slots; those unseen for too long end, those in doubt are renewed."""
    parent[:] = -1
    for m in range(ident.shape[0]):
        if ident[m] < 0:
            continue
        views = _update(
            centres, d, weight, slots[m], predicted[m], mirror, gate_m, min_joints, dt, unseen[m] + dt, pose[m],
            velocity[m], free,
        )  # fmt: skip
        hold[m] += min(1.0, dt / _HOLD_S) * (_held(slots[m]) - hold[m])
        if views >= 2:
            support[m] += dt
            if apart[m] > 0.0 and apart[m] + dt > _RENEW_S:  # not at low rates, where every step is as long
                parent[m], ident[m] = ident[m], counter[0]
                counter[0] += 1
            apart[m] = 0.0
        else:
            apart[m] += dt
        # A track must earn the right to wait: what chance brought together falls apart soon.
        patience = min(occlusion_s, _TRUST * support[m] + 1.5 * dt)
        if views >= 2 or (views == 1 and patience >= occlusion_s):
            unseen[m] = 0.0
        else:
            unseen[m] += dt
        if unseen[m] > patience:
            ident[m] = -1


@njit(cache=True, error_model="numpy", nogil=True)
def track_frames(
    centres: Array, d: Array, weight: Array, seconds: Array, breaks: Bools, mirror: Ints, gate_m: float,
    growth: float, limit_m: float, min_joints: int, occlusion_s: float, method: int, pose: Array, velocity: Array,
    ident: Ints, unseen: Array, apart: Array, support: Array, hold: Array, counter: Ints, owner: Ints,
    poses: NDArray[np.float32], tracks: Ints, parents: Ints,
) -> None:  # fmt: skip
    """Track a chunk of frames.

    Parameters
    ----------
    centres : float64 [V, 3]
    d : float64 [V, T, S, J, 3]
        Ray directions (world, unit). Left and right are exchanged in place where that fits better.
    weight : float64 [V, T, S, J]
        Confidence, 0 where a joint does not count; exchanged like `d`.
    seconds : float64 [T]
        Time since the frame before.
    breaks : bool [T]
        Where the recording begins anew: all tracks end.
    mirror : int64 [J]
        Left/right partner of each joint.
    gate_m, growth, limit_m, min_joints, occlusion_s : see `MatchingSettings`.
    method : int
        0 cluster, 1 hungarian, 2 greedy.
    pose, velocity, ident, unseen, apart, support, hold, counter : the `TrackState`, changed in place.
    owner : int64 [V, T, S]
        Result: tracklet number of each slot, -1 none.
    poses : float32 [T, M, J, 3], tracks : int64 [T, M]
        Result: poses and tracklet numbers of the tracks that live in each frame, seen or not.
    parents : int64 [T, M]
        Result: the number that a track had before this frame, where it got a new one; else -1.
    """
    V, T, S, J = weight.shape
    M = ident.shape[0]
    slots, free, predicted = np.full((M, V), -1), np.empty((V, S), np.bool_), np.empty((M, J, 3))
    owner[:] = -1
    tracks[:] = -1
    for t in range(T):
        dt, now, confidence = seconds[t], d[:, t], weight[:, t]
        if breaks[t]:
            ident[:] = -1
        _usable_slots(confidence, min_joints, free)
        for m in range(M):
            if ident[m] >= 0:
                _predict(pose[m], velocity[m], unseen[m], dt, predicted[m])
        _assign_views(
            centres, now, confidence, predicted, ident, unseen, mirror, gate_m, growth, min_joints, method == 2,
            slots, free,
        )  # fmt: skip
        _update_tracks(
            centres, now, confidence, slots, predicted, mirror, gate_m, min_joints, occlusion_s, dt, pose, velocity,
            ident, unseen, apart, support, hold, counter, parents[t], free,
        )  # fmt: skip
        add_newcomers(
            centres, now, confidence, free, mirror, limit_m, min_joints, method, pose, velocity, ident, unseen,
            apart, support, hold, counter, slots,
        )  # fmt: skip
        _drop_doubles(pose, ident, slots, hold)
        _record(ident, slots, pose, owner[:, t], poses[t], tracks[t])


@njit(cache=True, error_model="numpy")
def _record(
    ident: Ints,
    slots: Ints,
    pose: Array,
    owner: Ints,
    poses: NDArray[np.float32],
    tracks: Ints,
) -> None:
    """Write down who lives, and who was seen where, in one frame."""
    for m in range(ident.shape[0]):
        if ident[m] < 0:
            continue
        for v in range(slots.shape[1]):
            if slots[m, v] >= 0:
                owner[v, slots[m, v]] = ident[m]
        tracks[m] = ident[m]
        poses[m] = pose[m]
