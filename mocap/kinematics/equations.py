"""Normal equations of the whole motion: residuals, their derivatives, the band matrix.

Rotations are changed from the right, ``R exp(w)`` with w about the node's own axes, so that the
derivative of a point p with respect to a turn of node n about its axis e is ``R_n e x (p - p_n)``
(the geometric Jacobian, Siciliano et al., Robotics, 2009, 3.1).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

# Degrees of freedom of the points' Student-t: a point that the skeleton cannot reach loses weight.
_TAIL = 6.0
# How far (radians, one standard deviation) a joint may be beyond its range.
_LIMIT_STD = 0.035
_WALL = 0.15
# Gives unknowns a value that nothing else does; 1/rad2 or 1/m2.
_RIDGE = 1e-3
_HELD = 1e12


@njit(cache=True)  # type: ignore[misc]
def _matrix(q: Array, out: Array) -> None:
    x, y, z, w = q[0], q[1], q[2], q[3]
    out[0, 0] = 1 - 2 * (y * y + z * z)
    out[0, 1] = 2 * (x * y - z * w)
    out[0, 2] = 2 * (x * z + y * w)
    out[1, 0] = 2 * (x * y + z * w)
    out[1, 1] = 1 - 2 * (x * x + z * z)
    out[1, 2] = 2 * (y * z - x * w)
    out[2, 0] = 2 * (x * z - y * w)
    out[2, 1] = 2 * (y * z + x * w)
    out[2, 2] = 1 - 2 * (x * x + y * y)


@njit(cache=True)  # type: ignore[misc]
def place(root: Array, quats: Array, parents: Ints, offsets: Array, R: Array, at: Array) -> None:
    """Forward kinematics of one frame: rotations R [N, 3, 3] and places at [N, 3] of all nodes, in the world."""
    local = np.empty((3, 3))
    for n in range(len(parents)):
        p = parents[n]
        if p < 0:
            at[n] = root
            _matrix(quats[n], R[n])
            continue
        _matrix(quats[n], local)
        for i in range(3):
            s = at[p, i]
            for j in range(3):
                s += R[p, i, j] * offsets[n, j]
                R[n, i, j] = R[p, i, 0] * local[0, j] + R[p, i, 1] * local[1, j] + R[p, i, 2] * local[2, j]
            at[n, i] = s


@njit(cache=True)  # type: ignore[misc]
def points(root: Array, quats: Array, parents: Ints, offsets: Array, node: Ints, local: Array) -> Array:
    """World places [T, M, 3] of points fixed to nodes at `local` [M, 3] over a motion."""
    T, N = quats.shape[:2]
    R, at = np.empty((N, 3, 3)), np.empty((N, 3))
    out = np.empty((T, len(node), 3))
    for t in range(T):
        place(root[t], quats[t], parents, offsets, R, at)
        for m in range(len(node)):
            n = node[m]
            for i in range(3):
                out[t, m, i] = at[n, i] + R[n, i, 0] * local[m, 0] + R[n, i, 1] * local[m, 1] + R[n, i, 2] * local[m, 2]
    return out


@njit(cache=True)  # type: ignore[misc]
def between(a: Array, b: Array, out: Array) -> None:
    """Rotation vector [3] that leads from rotation a to b (quaternions), in a's axes."""
    x = a[3] * b[0] - a[0] * b[3] - a[1] * b[2] + a[2] * b[1]
    y = a[3] * b[1] - a[1] * b[3] - a[2] * b[0] + a[0] * b[2]
    z = a[3] * b[2] - a[2] * b[3] - a[0] * b[1] + a[1] * b[0]
    w = a[3] * b[3] + a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    if w < 0:
        x, y, z, w = -x, -y, -z, -w
    s = np.sqrt(x * x + y * y + z * z)
    f = 2.0 if s < 1e-9 else 2 * np.arctan2(s, w) / s
    out[0], out[1], out[2] = f * x, f * y, f * z


@njit(cache=True)  # type: ignore[misc]
def _from_neutral(neutral: Array, q: Array, out: Array) -> None:
    """The rotation that leads from `neutral` to q (quaternions), a quaternion."""
    out[0] = neutral[3] * q[0] - neutral[0] * q[3] - neutral[1] * q[2] + neutral[2] * q[1]
    out[1] = neutral[3] * q[1] - neutral[1] * q[3] - neutral[2] * q[0] + neutral[0] * q[2]
    out[2] = neutral[3] * q[2] - neutral[2] * q[3] - neutral[0] * q[1] + neutral[1] * q[0]
    out[3] = neutral[3] * q[3] + neutral[0] * q[0] + neutral[1] * q[1] + neutral[2] * q[2]


@njit(cache=True)  # type: ignore[misc]
def _angle_terms(
    q: Array, unknown: Ints, low: Array, high: Array, usual: Array, H: Array, g: Array, grad: Array
) -> float:
    """Ranges and usual angles of one node."""
    cost = 0.0
    for k in range(3):
        if usual[k] == 0.0 and low[k] < -4.0 and high[k] > 4.0:
            continue
        w, a = q[3], q[k]
        size = max(w * w + a * a, 1e-3)
        angle = 2 * np.arctan2(-a, -w) if w < 0 else 2 * np.arctan2(a, w)
        beyond = min(angle - low[k], 0.0) + max(angle - high[k], 0.0)
        strict = 1 / _LIMIT_STD**2
        pull = usual[k] * angle + strict * beyond
        cost += 0.5 * (usual[k] * angle**2 + strict * beyond**2)
        # Curved as the wall is also just before it: a step that ran through it would be thrown back.
        near = angle - low[k] < _WALL or high[k] - angle < _WALL
        precision = usual[k] + strict if near else usual[k]
        for j in range(3):
            across = 0.0
            if j != k:
                third = 3 - j - k
                # component k of q_v x e_j
                across = q[third] if (j - k) % 3 == 2 else -q[third]
            grad[j] = (w * ((w if j == k else 0.0) + across) + a * q[j]) / size
        for j in range(3):
            u = unknown[j]
            if u < 0:
                continue
            g[u] += pull * grad[j]
            for i in range(3):
                v = unknown[i]
                if 0 <= v <= u:
                    H[u, v] += precision * grad[i] * grad[j]
    return cost


@njit(cache=True)  # type: ignore[misc]
def _point_term(
    r: Array, info: Array, tail: bool, J: Array, path: Ints, count: int, H: Array, g: Array, white: Array
) -> float:
    """One seen point: residual r [3], information [3, 3], derivatives J [3, >= count] by the unknowns `path`."""
    distance = 0.0
    for i in range(3):
        for j in range(3):
            distance += r[i] * info[i, j] * r[j]
    weight, cost = 1.0, 0.5 * distance
    if tail:
        weight = (_TAIL + 3) / (_TAIL + distance)
        cost = 0.5 * (_TAIL + 3) * np.log(1 + distance / _TAIL)
    for i in range(3):
        for c in range(count):
            white[i, c] = weight * (info[i, 0] * J[0, c] + info[i, 1] * J[1, c] + info[i, 2] * J[2, c])
    for c in range(count):
        u = path[c]
        g[u] += white[0, c] * r[0] + white[1, c] * r[1] + white[2, c] * r[2]
        for d in range(c + 1):
            H[u, path[d]] += J[0, c] * white[0, d] + J[1, c] * white[1, d] + J[2, c] * white[2, d]
    return cost


@njit(cache=True)  # type: ignore[misc]
def assemble(
    root: Array, quats: Array, parents: Ints, offsets: Array, unknown: Ints, turn_node: Ints, turn_axis: Ints,
    low: Array, high: Array, usual: Array, marker_node: Ints, marker_local: Array, path_start: Ints, path_unknown: Ints,
    tail: NDArray[np.bool_], target: Array, info: Array, neutral: Array, band: Array, g: Array,
    blocks: Array, costs: Array,
) -> None:  # fmt: skip
    """Terms of single frames: seen points, ranges, usual angles.

    Parameters
    ----------
    root, quats : float64 [T, 3], [T, N, 4]
        The motion at which the equations are set up.
    parents ... usual
        See `chain.Chain`.
    marker_node, marker_local : int [M], float64 [M, 3]
        Points fixed to nodes.
    path_start, path_unknown : int [M + 1], int
        The turning unknowns that move each marker, one list after the other, increasing.
    tail : bool [M]
        Whether a marker that is far off loses weight.
    target, info : float64 [T, M, 3], [T, M, 3, 3]
        Where markers were seen, and the inverse covariance; 0 where not seen.
    neutral : float64 [T, N, 4]
        Rotations from which angles count.
    band : float64 [T D, 2 D + 1], out
        ``band[j, i - j]`` is A[i, j]; zero on entry.
    g : float64 [T D], out
        Gradient.
    blocks : float64 [T or 0, D, D], out
        The frames' own blocks (lower half), where asked for.
    costs : float64 [T], out
        The cost of these terms.
    """
    T, N = quats.shape[:2]
    D = len(turn_node) + 3
    R, at = np.empty((N, 3, 3)), np.empty((N, 3))
    axis = np.empty((D, 3))
    H, gt = np.zeros((D, D)), np.zeros(D)
    J, white = np.empty((3, D)), np.empty((3, D))
    path, r, grad, turned = np.empty(D, np.int64), np.empty(3), np.empty(3), np.empty(4)
    for t in range(T):
        place(root[t], quats[t], parents, offsets, R, at)
        for u in range(3, D):
            axis[u] = R[turn_node[u - 3], :, turn_axis[u - 3]]
        H[:] = 0
        gt[:] = 0
        cost = 0.0
        for m in range(len(marker_node)):
            if info[t, m, 0, 0] == 0.0:
                continue
            n = marker_node[m]
            p = at[n] + R[n] @ marker_local[m]
            for i in range(3):
                r[i] = p[i] - target[t, m, i]
                path[i] = i
                for j in range(3):
                    J[i, j] = 1.0 if i == j else 0.0
            count = 3
            for k in range(path_start[m], path_start[m + 1]):
                u = path_unknown[k]
                path[count] = u
                c = at[turn_node[u - 3]]
                dx, dy, dz = p[0] - c[0], p[1] - c[1], p[2] - c[2]
                J[0, count] = axis[u, 1] * dz - axis[u, 2] * dy
                J[1, count] = axis[u, 2] * dx - axis[u, 0] * dz
                J[2, count] = axis[u, 0] * dy - axis[u, 1] * dx
                count += 1
            cost += _point_term(r, info[t, m], tail[m], J, path, count, H, gt, white)
        for n in range(N):
            _from_neutral(neutral[t, n], quats[t, n], turned)
            cost += _angle_terms(turned, unknown[n], low[n], high[n], usual[n], H, gt, grad)
        for u in range(D):
            H[u, u] += _RIDGE
            g[t * D + u] += gt[u]
            for v in range(u + 1):
                band[t * D + v, u - v] += H[u, v]
        if len(blocks):
            blocks[t] = H
        costs[t] = cost


@njit(cache=True)  # type: ignore[misc]
def smoothness(
    root: Array, quats: Array, unknown: Ints, step: Array, noise: Array, speed_noise: float, root_noise: float,
    root_speed_noise: float, held: int, D: int, band: Array, g: Array,
) -> float:  # fmt: skip
    """Terms that link frames: speeds and changes of speed, of the root and of every turning node.

    Parameters
    ----------
    step : float64 [T - 1] s
        Time from each frame to the next.
    noise : float64 [N]
        See `chain.Chain`; the others likewise, of speeds and of the root.
    held : int
        Frames at the start that must stay as they are.
    """
    T, N = quats.shape[:2]
    cost = 0.0
    speed = np.zeros((T, N + 1, 3))
    for t in range(T - 1):
        for n in range(N):
            if unknown[n, 0] >= 0 or unknown[n, 1] >= 0 or unknown[n, 2] >= 0:
                between(quats[t, n], quats[t + 1, n], speed[t, n])
        for i in range(3):
            speed[t, N, i] = root[t + 1, i] - root[t, i]
    for n in range(N + 1):
        drive, slow = (noise[n], speed_noise) if n < N else (root_noise, root_speed_noise)
        for k in range(3):
            u = k if n == N else unknown[n, k]
            if u < 0:
                continue
            for t in range(T - 1):
                a = t * D + u
                p = 1 / (slow * step[t])
                v = speed[t, n, k]
                cost += 0.5 * p * v * v
                g[a] -= p * v
                g[a + D] += p * v
                band[a, 0] += p
                band[a + D, 0] += p
                band[a, D] -= p
                if t + 2 >= T:
                    continue
                # speeds in m or rad per step, on steps of unequal length
                s, s2 = step[t], step[t + 1]
                p = 1 / (drive * (0.5 * (s + s2)))
                first, second = 1 / s, 1 / s2
                c = speed[t + 1, n, k] * second - v * first
                cost += 0.5 * p * c * c
                middle = -(first + second)
                g[a] += p * c * first
                g[a + D] += p * c * middle
                g[a + 2 * D] += p * c * second
                band[a, 0] += p * first * first
                band[a + D, 0] += p * middle * middle
                band[a + 2 * D, 0] += p * second * second
                band[a, D] += p * first * middle
                band[a + D, D] += p * middle * second
                band[a, 2 * D] += p * first * second
    for i in range(held * D):
        band[i, 0] += _HELD
        g[i] = 0
    return cost


@njit(cache=True)  # type: ignore[misc]
def advance(root: Array, quats: Array, turn_node: Ints, turn_axis: Ints, unknown: Ints, step: Array, most: float,
            new_root: Array, new_quats: Array) -> float:  # fmt: skip
    """The motion moved by -step [T D]; turns of no more than `most` radians. Returns the largest turn."""
    T, N = quats.shape[:2]
    D = len(turn_node) + 3
    largest = 0.0
    for t in range(T):
        for i in range(3):
            new_root[t, i] = root[t, i] - step[t * D + i]
        for n in range(N):
            x = -step[t * D + unknown[n, 0]] if unknown[n, 0] >= 0 else 0.0
            y = -step[t * D + unknown[n, 1]] if unknown[n, 1] >= 0 else 0.0
            z = -step[t * D + unknown[n, 2]] if unknown[n, 2] >= 0 else 0.0
            angle = np.sqrt(x * x + y * y + z * z)
            q = quats[t, n]
            if angle < 1e-12:
                new_quats[t, n] = q
                continue
            largest = max(largest, angle)
            used = min(angle, most)
            f, w = np.sin(0.5 * used) / angle, np.cos(0.5 * used)
            x, y, z = f * x, f * y, f * z
            a = q[3] * x + q[0] * w + q[1] * z - q[2] * y
            b = q[3] * y - q[0] * z + q[1] * w + q[2] * x
            c = q[3] * z + q[0] * y - q[1] * x + q[2] * w
            d = q[3] * w - q[0] * x - q[1] * y - q[2] * z
            s = 1 / np.sqrt(a * a + b * b + c * c + d * d)
            new_quats[t, n, 0], new_quats[t, n, 1], new_quats[t, n, 2], new_quats[t, n, 3] = a * s, b * s, c * s, d * s
    return largest
