"""Optimal assignment, compiled, for the small tables of one frame and view."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FORBIDDEN = 1e9


@njit(cache=True, error_model="numpy")
def _nearest_column(
    cost: Array, gate: Array, row: int, column: int, u: Array, v: Array, lowest: Array, done: Bools, way: Ints
) -> int:
    """Grow the shortest-path tree by `row`; the nearest column outside it."""
    n, m = cost.shape
    best = 0
    for j in range(1, n + m + 1):
        if done[j]:
            continue
        if j <= m:
            c = cost[row - 1, j - 1] if cost[row - 1, j - 1] < gate[row - 1] else FORBIDDEN
        else:
            c = gate[row - 1] if j - m == row else FORBIDDEN
        c -= u[row] + v[j]
        if c < lowest[j]:
            lowest[j], way[j] = c, column
        if best == 0 or lowest[j] < lowest[best]:
            best = j
    return best


@njit(cache=True, error_model="numpy")
def assign(
    cost: Array,
    gate: Array,
    column_of: Ints,
) -> None:
    """Assign rows to columns at least total cost; rows may stay free at the cost `gate`.

    Parameters
    ----------
    cost : float64 [n, m]
        Not finite: not allowed.
    gate : float64 [n]
        Cost of leaving the row free, and so the most an assignment may cost.
    column_of : int64 [n]
        Result: the column of each row, -1 where free.

    Notes
    -----
    Hungarian method with potentials (Kuhn 1955 in the O(n^2 m) form of Jonker & Volgenant 1987)
    on the table widened by one private column per row.
    """
    n, m = cost.shape
    wide = m + n
    u, v = np.zeros(n + 1), np.zeros(wide + 1)
    row_of, way = np.zeros(wide + 1, np.int64), np.zeros(wide + 1, np.int64)
    lowest, done = np.empty(wide + 1), np.empty(wide + 1, np.bool_)
    for i in range(1, n + 1):
        row_of[0] = i
        j0 = 0
        lowest[:] = np.inf
        done[:] = False
        while True:
            done[j0] = True
            j1 = _nearest_column(cost, gate, row_of[j0], j0, u, v, lowest, done, way)
            delta = lowest[j1]
            for j in range(wide + 1):
                if done[j]:
                    u[row_of[j]] += delta
                    v[j] -= delta
                else:
                    lowest[j] -= delta
            j0 = j1
            if row_of[j0] == 0:
                break
        while j0 != 0:
            j1 = way[j0]
            row_of[j0] = row_of[j1]
            j0 = j1
    column_of[:] = -1
    for j in range(1, m + 1):
        if row_of[j] > 0 and cost[row_of[j] - 1, j - 1] < gate[row_of[j] - 1]:
            column_of[row_of[j] - 1] = j - 1


@njit(cache=True, error_model="numpy")
def assign_greedily(cost: Array, gate: Array, column_of: Ints) -> None:
    """Nearest pair first; as `assign` otherwise."""
    n, m = cost.shape
    column_of[:] = -1
    taken = np.zeros(m, np.bool_)
    while True:
        best, row, column = np.inf, -1, -1
        for i in range(n):
            for j in range(m):
                if column_of[i] < 0 and not taken[j] and cost[i, j] < gate[i] and cost[i, j] < best:
                    best, row, column = cost[i, j], i, j
        if row < 0:
            return
        column_of[row] = column
        taken[column] = True
