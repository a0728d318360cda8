"""Distances between 2D detections (as rays) and 3D poses, and robust poses from rays, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.triangulation.kernels import solve_symmetric

# One joint counts at most this much in a mean distance, metres: a stray joint must not part a person.
CAP_M = 0.5
# Exchanging left and right must make a detection fit better by this, metres, to be believed.
TURN_M = 0.03
_ROUGH_M, _FINE_M = 0.2, 0.04

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@njit(cache=True, error_model="numpy")
def ray_point_distance(
    c: Array,
    d: Array,
    X: Array,
) -> float:
    """Distance of point X from the ray from c along d, metres; large where X is behind."""
    along, e2 = 0.0, 0.0
    for x in range(3):
        e = X[x] - c[x]
        along += d[x] * e
        e2 += e * e
    if along <= 0.0:
        return 1e3
    return np.sqrt(max(e2 - along * along, 0.0))


@njit(cache=True, error_model="numpy")
def ray_ray_distance(
    ca: Array,
    da: Array,
    cb: Array,
    db: Array,
) -> float:
    """Distance of two rays, metres; NaN if unknown or parallel, large where they meet behind."""
    cosine, along_a, along_b, base2 = 0.0, 0.0, 0.0, 0.0
    for x in range(3):
        e = cb[x] - ca[x]
        cosine += da[x] * db[x]
        along_a += da[x] * e
        along_b += db[x] * e
        base2 += e * e
    sin2 = 1.0 - cosine * cosine
    if not sin2 > 1e-6:
        return np.nan
    s, q = (along_a - cosine * along_b) / sin2, (cosine * along_a - along_b) / sin2
    if s <= 0.0 or q <= 0.0:
        return 1e3
    gap2 = base2 + s * s + q * q - 2.0 * s * q * cosine - 2.0 * s * along_a + 2.0 * q * along_b
    return np.sqrt(max(gap2, 0.0))


@njit(cache=True, error_model="numpy")
def slot_to_pose(
    c: Array, d: Array, weight: Array, pose: Array, mirror: Ints, min_joints: int,
) -> tuple[float, float]:  # fmt: skip
    """Weighted mean distance of a detection's rays from a pose, metres.

    Parameters
    ----------
    c : float64 [3]
        Camera centre, metres.
    d : float64 [J, 3], weight : float64 [J]
        Ray directions and their weights, 0 where a joint does not count.
    pose : float64 [J, 3]
    mirror : int64 [J]
        Left/right partner of each joint.
    min_joints : int

    Returns
    -------
    as_labelled, mirrored : float
        With the detection's labels and with left and right exchanged; inf if too few joints.
    """
    plain, turned, sum_plain, sum_turned, n, m = 0.0, 0.0, 0.0, 0.0, 0, 0
    for j in range(d.shape[0]):
        if not weight[j] > 0.0:
            continue
        if not np.isnan(pose[j, 0]):
            plain += weight[j] * min(ray_point_distance(c, d[j], pose[j]), CAP_M)
            sum_plain += weight[j]
            n += 1
        if not np.isnan(pose[mirror[j], 0]):
            turned += weight[j] * min(ray_point_distance(c, d[j], pose[mirror[j]]), CAP_M)
            sum_turned += weight[j]
            m += 1
    return (plain / sum_plain if n >= min_joints else np.inf), (turned / sum_turned if m >= min_joints else np.inf)


@njit(cache=True, error_model="numpy")
def slot_to_slot(
    ca: Array, da: Array, wa: Array, cb: Array, db: Array, wb: Array, mirror: Ints, min_joints: int,
) -> tuple[float, float]:  # fmt: skip
    """Weighted mean distance of two detections' rays, metres; inf if too few joints are shared.

    Returns
    -------
    as_labelled, mirrored : float
        As they are, and with left and right of the second exchanged.
    """
    best = np.full(2, np.inf)
    for turned in range(2):
        total, sum_w, n = 0.0, 0.0, 0
        for j in range(da.shape[0]):
            k = mirror[j] if turned else j
            w = min(wa[j], wb[k])
            if w > 0.0:
                gap = ray_ray_distance(ca, da[j], cb, db[k])
                if np.isnan(gap):
                    continue
                total += w * min(gap, CAP_M)
                sum_w += w
                n += 1
        if n >= min_joints:
            best[turned] = total / sum_w
    return best[0], best[1]


@njit(cache=True, error_model="numpy")
def turn_slot(
    d: Array,
    weight: Array,
    mirror: Ints,
) -> None:
    """Exchange left and right of one detection in place: d [J, 3], weight [J]."""
    for j in range(d.shape[0]):
        k = mirror[j]
        if k > j:
            for x in range(3):
                d[j, x], d[k, x] = d[k, x], d[j, x]
            weight[j], weight[k] = weight[k], weight[j]


@njit(cache=True, error_model="numpy")
def pose_from_slots(
    centres: Array, d: Array, weight: Array, slots: Ints, start: Array, pose: Array,
) -> int:  # fmt: skip
    """Robust 3D joints of the detections `slots` [V] (-1 none).

    Parameters
    ----------
    centres : float64 [V, 3]
    d : float64 [V, S, J, 3]
        Ray directions.
    weight : float64 [V, S, J]
        0 where a joint does not count.
    slots : int64 [V]
    start : float64 [J, 3]
        Where the joints are expected; NaN where unknown.
    pose : float64 [J, 3]
        Result; NaN where fewer than two rays agree.

    Returns
    -------
    int
        Number of joints found.

    Notes
    -----
    Iteratively reweighted ray midpoint with Geman-McClure weights, scale falling from a body's
    thickness to a detector's noise. Meant for identity, not for accuracy.
    """
    V, J = centres.shape[0], d.shape[2]
    H, g, X, C = np.empty((3, 3)), np.empty(3), np.empty(3), np.empty((3, 3))
    found = 0
    for j in range(J):
        pose[j] = np.nan
        known = not np.isnan(start[j, 0])
        X[:] = start[j]
        good = True
        agreeing = 0
        for step in range(5):
            scale = max(_ROUGH_M * 0.5**step, _FINE_M)
            H[:] = 0.0
            g[:] = 0.0
            rays, agreeing = 0, 0
            for v in range(V):
                if slots[v] < 0 or not weight[v, slots[v], j] > 0.0:
                    continue
                w, dv = weight[v, slots[v], j], d[v, slots[v], j]
                if step > 0 or known:
                    e = ray_point_distance(centres[v], dv, X) / scale
                    w /= (1.0 + e * e) ** 2
                    agreeing += e < 2.0
                rays += 1
                along = dv[0] * centres[v, 0] + dv[1] * centres[v, 1] + dv[2] * centres[v, 2]
                for i in range(3):
                    g[i] += w * (centres[v, i] - along * dv[i])
                    for k in range(3):
                        H[i, k] += w * ((1.0 if i == k else 0.0) - dv[i] * dv[k])
            if rays < 2 or not solve_symmetric(H, g, X, C) or not H[0, 0] + H[1, 1] + H[2, 2] > 1e-9:
                good = False
                break
        if good and agreeing >= 2:
            pose[j] = X
            found += 1
    return found


@njit(cache=True, error_model="numpy")
def mean_joint_distance(
    a: Array,
    b: Array,
) -> float:
    """Mean distance of two poses [J, 3] over the joints both have, metres; inf with fewer than 3."""
    total, n = 0.0, 0
    for j in range(a.shape[0]):
        if not (np.isnan(a[j, 0]) or np.isnan(b[j, 0])):
            e = 0.0
            for x in range(3):
                e += (a[j, x] - b[j, x]) ** 2
            total += np.sqrt(e)
            n += 1
    return total / n if n >= 3 else np.inf


@njit(cache=True, error_model="numpy", nogil=True)
def poses_from_views(centres: Array, d: Array, weight: Array, poses: Array) -> None:
    """Robust poses [N, J, 3] of one person, frame by frame.

    Parameters
    ----------
    centres : float64 [V, 3]
    d : float64 [V, N, J, 3]
        Ray directions.
    weight : float64 [V, N, J]
        0 where not seen.
    poses : float64 [N, J, 3]
        Result, metres; NaN where fewer than two rays agree.
    """
    V, N, J = weight.shape
    slots, unknown = np.zeros(V, np.int64), np.full((J, 3), np.nan)
    for n in range(N):
        now, count = d[:, n].copy().reshape(V, 1, J, 3), weight[:, n].copy().reshape(V, 1, J)
        pose_from_slots(centres, now, count, slots, unknown, poses[n])
