"""The compiled assignment against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from mocap.matching.assignment import assign


def solve(cost, gate):
    columns = np.empty(len(cost), np.int64)
    assign(np.asarray(cost, float), np.asarray(gate, float), columns)
    return columns


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 3), (2, 6), (6, 2), (5, 9), (12, 12)])
def test_cost_is_the_least(rows, columns, rng):
    for _ in range(30):
        cost = rng.uniform(0, 1, (rows, columns))
        cost[rng.random(cost.shape) < 0.2] = np.inf
        gate = rng.uniform(0.2, 0.8, rows)
        found = solve(cost, gate)
        taken = found[found >= 0]
        assert len(set(taken)) == len(taken)
        ours = sum(cost[i, j] if j >= 0 else gate[i] for i, j in enumerate(found))
        wide = np.hstack([np.where(cost < gate[:, None], cost, 1e3), np.full((rows, rows), 1e3)])
        wide[np.arange(rows), columns + np.arange(rows)] = gate
        i, j = linear_sum_assignment(wide)
        assert ours == pytest.approx(wide[i, j].sum())


def test_empty_tables():
    assert solve(np.empty((0, 3)), np.empty(0)).shape == (0,)
    assert solve(np.empty((2, 0)), np.ones(2)).tolist() == [-1, -1]
