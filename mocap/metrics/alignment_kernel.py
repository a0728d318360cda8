"""The best similarity of one pose onto another, compiled: what PA-MPJPE does by the million."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Cyclic Jacobi converges quadratically: a symmetric 4 x 4 is diagonal to the last bit after 4-6 sweeps.
_SWEEPS = 20


@njit(cache=True, error_model="numpy")
def _turn(A: Array, V: Array, p: int, q: int) -> None:
    """One Jacobi rotation that makes A[p, q] of the symmetric A zero, gathered in V (Golub & Van Loan, 8.5.2)."""
    off = A[p, q]
    if off == 0.0:
        return
    theta = 0.5 * (A[q, q] - A[p, p]) / off
    t = 1.0 / (abs(theta) + sqrt(1.0 + theta * theta))
    if theta < 0.0:
        t = -t
    c = 1.0 / sqrt(1.0 + t * t)
    s = t * c
    A[p, p] -= t * off
    A[q, q] += t * off
    A[p, q] = A[q, p] = 0.0
    for k in range(4):
        if k not in (p, q):
            x, y = A[k, p], A[k, q]
            A[k, p] = A[p, k] = c * x - s * y
            A[k, q] = A[q, k] = s * x + c * y
        x, y = V[k, p], V[k, q]
        V[k, p], V[k, q] = c * x - s * y, s * x + c * y


@njit(cache=True, error_model="numpy")
def _largest(A: Array, V: Array) -> int:
    """Diagonalise the symmetric 4 x 4 A in place; the column of V that belongs to its largest eigenvalue."""
    V[:] = 0.0
    size = 0.0
    for i in range(4):
        V[i, i] = 1.0
        for j in range(4):
            size += A[i, j] * A[i, j]
    for _ in range(_SWEEPS):
        off = 0.0
        for i in range(3):
            for j in range(i + 1, 4):
                off += A[i, j] * A[i, j]
        if off <= 1e-34 * size:
            break
        for i in range(3):
            for j in range(i + 1, 4):
                _turn(A, V, i, j)
    best = 0
    for i in range(1, 4):
        if A[i, i] > A[best, best]:
            best = i
    return best


@njit(cache=True, error_model="numpy")
def nearest_rotation(H: Array, A: Array, V: Array, R: Array) -> float:
    """Rotation R that maximises tr(R^T H), and that maximum; A and V [4, 4] are room to work in.

    Horn, Closed-form solution of absolute orientation using unit quaternions (JOSA A 4, 1987), sec. 4:
    the quaternion is the eigenvector of the largest eigenvalue of a symmetric 4 x 4 matrix. A
    quaternion is a rotation, never a reflection, whatever the determinant of H; where several rotations are
    equally good (collinear points, planar mirror images) it is one of them.
    """
    A[0, 0] = H[0, 0] + H[1, 1] + H[2, 2]
    A[1, 1] = H[0, 0] - H[1, 1] - H[2, 2]
    A[2, 2] = H[1, 1] - H[0, 0] - H[2, 2]
    A[3, 3] = H[2, 2] - H[0, 0] - H[1, 1]
    A[0, 1] = A[1, 0] = H[2, 1] - H[1, 2]
    A[0, 2] = A[2, 0] = H[0, 2] - H[2, 0]
    A[0, 3] = A[3, 0] = H[1, 0] - H[0, 1]
    A[1, 2] = A[2, 1] = H[0, 1] + H[1, 0]
    A[1, 3] = A[3, 1] = H[0, 2] + H[2, 0]
    A[2, 3] = A[3, 2] = H[1, 2] + H[2, 1]
    k = _largest(A, V)
    w, x, y, z = V[0, k], V[1, k], V[2, k], V[3, k]
    R[0, 0], R[1, 1], R[2, 2] = 1 - 2 * (y * y + z * z), 1 - 2 * (x * x + z * z), 1 - 2 * (x * x + y * y)
    R[0, 1], R[1, 0] = 2 * (x * y - w * z), 2 * (x * y + w * z)
    R[0, 2], R[2, 0] = 2 * (x * z + w * y), 2 * (x * z - w * y)
    R[1, 2], R[2, 1] = 2 * (y * z - w * x), 2 * (y * z + w * x)
    return float(A[k, k])


@njit(cache=True, error_model="numpy")
def _centre(X: Array, Y: Array, allowed: Bools, x: Array, y: Array, valid: Bools) -> int:
    """The joints that count, relative to their means in x and y [J, 3]; how many there are."""
    J = len(X)
    valid[:] = True
    if len(allowed):
        valid[:] = allowed
    count = 0
    mean = np.zeros((2, 3))
    for j in range(J):
        total = 0.0
        for i in range(3):
            total += X[j, i] + Y[j, i]
        valid[j] &= np.isfinite(total)
        if valid[j]:
            count += 1
            for i in range(3):
                mean[0, i] += X[j, i]
                mean[1, i] += Y[j, i]
    mean /= max(count, 1)
    for j in range(J):
        if valid[j]:
            for i in range(3):
                x[j, i] = X[j, i] - mean[0, i]
                y[j, i] = Y[j, i] - mean[1, i]
    return count


@njit(cache=True, error_model="numpy")
def _products(x: Array, y: Array, valid: Bools, H: Array) -> float:
    """H = sum y x^T over the joints that count; sum |x|^2."""
    H[:] = 0.0
    size = 0.0
    for j in range(len(x)):
        if valid[j]:
            for k in range(3):
                size += x[j, k] * x[j, k]
                for i in range(3):
                    H[i, k] += y[j, i] * x[j, k]
    return size


@njit(cache=True, error_model="numpy", nogil=True)
def aligned_errors(X: Array, Y: Array, allowed: Bools, scaled: bool, out: Array) -> None:
    """Errors out [N, J] of poses X [N, J, 3] moved onto Y by each one's best similarity (or rigid motion).

    Joints count where both are finite and `allowed` [N, J] (or [N, 0]: all) says so; the rest, and poses
    with fewer than three, become NaN. A pose that is a point keeps its size.
    """
    N, J = X.shape[0], X.shape[1]
    H, A, V, R = np.empty((3, 3)), np.empty((4, 4)), np.empty((4, 4)), np.empty((3, 3))
    x, y, valid = np.empty((J, 3)), np.empty((J, 3)), np.empty(J, np.bool_)
    out[:] = np.nan
    for n in range(N):
        if _centre(X[n], Y[n], allowed[n], x, y, valid) < 3:
            continue
        size = _products(x, y, valid, H)
        trace = nearest_rotation(H, A, V, R)
        scale = trace / size if scaled and size > 1e-18 else 1.0
        for j in range(J):
            if valid[j]:
                square = 0.0
                for i in range(3):
                    d = scale * (R[i, 0] * x[j, 0] + R[i, 1] * x[j, 1] + R[i, 2] * x[j, 2]) - y[j, i]
                    square += d * d
                out[n, j] = sqrt(square)
