"""Distances between 2D detections (as rays) and 3D poses, and robust poses from rays, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# One joint counts at most this much in a mean distance, metres: a stray joint must not part a person.
CAP_M = 0.5
# Exchanging left and right must make a detection fit better by this, metres, to be believed.
TURN_M = 0.03
_ROUGH_M, _FINE_M = 0.2, 0.04
# Columns of what `_put_ray` makes.
_RAY = 16

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@njit(cache=True, error_model="numpy", inline="always")
def point_off_ray(
    cx: float, cy: float, cz: float, dx: float, dy: float, dz: float, x: float, y: float, z: float
) -> float:  # fmt: skip
    """Distance of point x, y, z from the ray from c along d, metres; large where the point is behind."""
    ex, ey, ez = x - cx, y - cy, z - cz
    along = dx * ex + dy * ey + dz * ez
    e2 = ex * ex + ey * ey + ez * ez
    return 1e3 if along <= 0.0 else np.sqrt(max(e2 - along * along, 0.0))


@njit(cache=True, error_model="numpy")
def ray_point_distance(
    c: Array,
    d: Array,
    X: Array,
) -> float:
    """Distance of point X from the ray from c along d, metres; large where X is behind."""
    return float(point_off_ray(c[0], c[1], c[2], d[0], d[1], d[2], X[0], X[1], X[2]))


@njit(cache=True, error_model="numpy")
def ray_off_ray(
    ex: float, ey: float, ez: float, ax: float, ay: float, az: float, bx: float, by: float, bz: float
) -> float:  # fmt: skip
    """Distance of two rays along a and b, metres, e from the start of a to that of b.

    NaN if unknown or parallel, large where they meet behind.
    """
    cosine = ax * bx + ay * by + az * bz
    along_a, along_b = ax * ex + ay * ey + az * ez, bx * ex + by * ey + bz * ez
    base2 = ex * ex + ey * ey + ez * ez
    sin2 = 1.0 - cosine * cosine
    if not sin2 > 1e-6:
        return np.nan
    one = 1.0 / sin2
    s, q = (along_a - cosine * along_b) * one, (cosine * along_a - along_b) * one
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
    cx, cy, cz = c[0], c[1], c[2]
    for j in range(d.shape[0]):
        w, k = weight[j], mirror[j]
        if not w > 0.0:
            continue
        x, y, z = d[j, 0], d[j, 1], d[j, 2]
        here = there = np.nan
        if not np.isnan(pose[j, 0]):
            here = w * min(point_off_ray(cx, cy, cz, x, y, z, pose[j, 0], pose[j, 1], pose[j, 2]), CAP_M)
            plain += here
            sum_plain += w
            n += 1
        if k == j:
            there = here
        elif not np.isnan(pose[k, 0]):
            there = w * min(point_off_ray(cx, cy, cz, x, y, z, pose[k, 0], pose[k, 1], pose[k, 2]), CAP_M)
        if not np.isnan(there):
            turned += there
            sum_turned += w
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
    first = second = np.inf
    ex, ey, ez = cb[0] - ca[0], cb[1] - ca[1], cb[2] - ca[2]
    for turned in range(2):
        total, sum_w, n = 0.0, 0.0, 0
        for j in range(da.shape[0]):
            k = mirror[j] if turned else j
            w = min(wa[j], wb[k])
            if w > 0.0:
                gap = ray_off_ray(ex, ey, ez, da[j, 0], da[j, 1], da[j, 2], db[k, 0], db[k, 1], db[k, 2])
                if np.isnan(gap):
                    continue
                total += w * min(gap, CAP_M)
                sum_w += w
                n += 1
        if n >= min_joints:
            first, second = (first, total / sum_w) if turned else (total / sum_w, second)
    return first, second


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
def _robust_joint(rays: Array, n: int, X: Array, known: bool) -> bool:
    """Point X [3] that most of n rays agree on; X is the start where `known`. Whether two agree.

    `rays` are from `_put_ray`. Written out in scalars: it runs for every joint of every frame.
    """
    x, y, z = X[0], X[1], X[2]
    agreeing = 0
    for step in range(5):
        scale = max(_ROUGH_M * 0.5**step, _FINE_M)
        narrow = 1.0 / (scale * scale)
        a = b = c = e = f = h = 0.0  # H = [[a, b, c], [b, e, f], [c, f, h]]
        p = q = r = 0.0
        agreeing, worst = 0, 0.0
        for i in range(n):
            w = rays[i, 6]
            if step > 0 or known:
                ex, ey, ez = x - rays[i, 0], y - rays[i, 1], z - rays[i, 2]
                along = rays[i, 3] * ex + rays[i, 4] * ey + rays[i, 5] * ez
                distance2 = max(ex * ex + ey * ey + ez * ez - along * along, 0.0) if along > 0.0 else 1e6
                worst = max(worst, distance2)
                distance2 *= narrow
                w /= (1.0 + distance2) * (1.0 + distance2)
                agreeing += distance2 < 4.0
            a, b, c = a + w * rays[i, 7], b + w * rays[i, 8], c + w * rays[i, 9]
            e, f, h = e + w * rays[i, 10], f + w * rays[i, 11], h + w * rays[i, 12]
            p, q, r = p + w * rays[i, 13], q + w * rays[i, 14], r + w * rays[i, 15]
        if step > 0 and worst < 0.25 * _FINE_M * _FINE_M:
            break  # all agree: finer scales change nothing that matters here
        m00, m01, m02 = e * h - f * f, c * f - b * h, b * f - c * e
        det, trace = a * m00 + b * m01 + c * m02, a + e + h
        if not det > 1e-16 * trace * trace * trace or not trace > 1e-9:
            return False
        m11, m12, m22, one = a * h - c * c, b * c - a * f, a * e - b * b, 1.0 / det
        x = (m00 * p + m01 * q + m02 * r) * one
        y = (m01 * p + m11 * q + m12 * r) * one
        z = (m02 * p + m12 * q + m22 * r) * one
    X[0], X[1], X[2] = x, y, z
    return agreeing >= 2


@njit(cache=True, error_model="numpy", inline="always")
def _put_ray(
    rays: Array, i: int, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float, w: float
) -> None:  # fmt: skip
    """Row i of rays [V, RAY]: start, direction d, weight, M = I - d d^T (xx, xy, xz, yy, yz, zz) and M start."""
    along = dx * ox + dy * oy + dz * oz
    rays[i, 0], rays[i, 1], rays[i, 2], rays[i, 3], rays[i, 4], rays[i, 5], rays[i, 6] = ox, oy, oz, dx, dy, dz, w
    rays[i, 7], rays[i, 8], rays[i, 9] = 1.0 - dx * dx, -dx * dy, -dx * dz
    rays[i, 10], rays[i, 11], rays[i, 12] = 1.0 - dy * dy, -dy * dz, 1.0 - dz * dz
    rays[i, 13], rays[i, 14], rays[i, 15] = ox - along * dx, oy - along * dy, oz - along * dz


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
    X, rays = np.empty(3), np.empty((V, _RAY))
    found = 0
    for j in range(J):
        n = 0
        for v in range(V):
            s = slots[v]
            if s >= 0 and weight[v, s, j] > 0.0:
                _put_ray(
                    rays, n, centres[v, 0], centres[v, 1], centres[v, 2], d[v, s, j, 0], d[v, s, j, 1], d[v, s, j, 2],
                    weight[v, s, j],
                )  # fmt: skip
                n += 1
        for x in range(3):
            X[x] = start[j, x]
            pose[j, x] = np.nan
        if n >= 2 and _robust_joint(rays, n, X, not np.isnan(X[0])):
            for x in range(3):
                pose[j, x] = X[x]
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
    X, rays = np.empty(3), np.empty((V, _RAY))
    for n in range(N):
        for j in range(J):
            m = 0
            for v in range(V):
                if weight[v, n, j] > 0.0:
                    _put_ray(
                        rays, m, centres[v, 0], centres[v, 1], centres[v, 2], d[v, n, j, 0], d[v, n, j, 1],
                        d[v, n, j, 2], weight[v, n, j],
                    )  # fmt: skip
                    m += 1
            good = m >= 2 and _robust_joint(rays, m, X, False)
            for x in range(3):
                poses[n, j, x] = X[x] if good else np.nan


@njit(cache=True, error_model="numpy", nogil=True)
def turned_poses(
    centres: Array, d: Array, weight: Array, pairs: Ints, flipped: NDArray[np.bool_], poses: Array,
    changed: NDArray[np.bool_],
) -> None:  # fmt: skip
    """The joints of `pairs` made again in the frames where a view is flipped, as `poses_from_views`.

    Parameters
    ----------
    centres, d, weight : as of `poses_from_views`; left as they are.
    pairs : int64 [n, 2]
        Joints that are exchanged where flipped.
    flipped : bool [V, N]
    poses : float64 [N, J, 3]
        Changed in place.
    changed : bool [N]
        Result: the frames with a flipped view.
    """
    V, N, _ = weight.shape
    X, rays = np.empty(3), np.empty((V, _RAY))
    for n in range(N):
        changed[n] = False
        for v in range(V):
            changed[n] |= flipped[v, n]
        if not changed[n]:
            continue
        for i in range(pairs.shape[0]):
            for side in range(2):
                j, m = pairs[i, side], 0
                for v in range(V):
                    k = pairs[i, 1 - side] if flipped[v, n] else j
                    if weight[v, n, k] > 0.0:
                        _put_ray(
                            rays, m, centres[v, 0], centres[v, 1], centres[v, 2], d[v, n, k, 0], d[v, n, k, 1],
                            d[v, n, k, 2], weight[v, n, k],
                        )  # fmt: skip
                        m += 1
                good = m >= 2 and _robust_joint(rays, m, X, False)
                for x in range(3):
                    poses[n, j, x] = X[x] if good else np.nan
