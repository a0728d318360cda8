"""Gaps in trajectories: where they are, and a shape-preserving curve through them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """For every sample the nearest valid samples strictly before and after it.

    Attributes
    ----------
    before, after : int [N, S]
        Row of that sample; -1 and N where there is none.
    """

    before: NDArray[np.int64]
    after: NDArray[np.int64]


def neighbours(valid: Mask) -> Neighbours:
    """Nearest valid samples before and after each of [N, S]."""
    n = len(valid)
    rows = np.arange(n)[:, None]
    last = np.maximum.accumulate(np.where(valid, rows, -1), axis=0)
    following = np.minimum.accumulate(np.where(valid, rows, n)[::-1], axis=0)[::-1]
    edge_before = np.full((1, valid.shape[1]), -1)
    edge_after = np.full((1, valid.shape[1]), n)
    return Neighbours(np.concatenate([edge_before, last[:-1]]), np.concatenate([following[1:], edge_after]))


def fillable(valid: Mask, near: Neighbours, max_gap: int) -> Mask:
    """Bool [N, S]: missing samples in a gap of at most `max_gap` samples with data on both sides."""
    bounded = (near.before >= 0) & (near.after < len(valid))
    return ~valid & bounded & (near.after - near.before - 1 <= max_gap)


def fill(positions: Array, valid: Mask, target: Mask, near: Neighbours) -> Array:
    """Positions [N, S, 3] with the `target` samples on a monotone cubic through the valid ones.

    Slopes at the gap's ends are the weighted harmonic means of Fritsch & Butland (SIAM J. Sci.
    Stat. Comput. 5, 1984), which never overshoot noisy neighbours; at the ends of the data the
    one-sided difference.
    """
    out = positions.copy()
    row, series = np.nonzero(target)
    if not len(row):
        return out
    a, b = near.before[row, series], near.after[row, series]
    width = (b - a).astype(np.float64)[:, None]
    u = ((row - a) / (b - a))[:, None]
    pa, pb = positions[a, series], positions[b, series]
    ma, mb = (_slope(positions, near, ends, series) * width for ends in (a, b))
    rise = pb - pa
    # Cubic Hermite basis with pa + u rise taken out, so that equal slopes give a straight line.
    out[row, series] = pa + u * rise + u * (1 - u) * ((1 - u) * (ma - rise) - u * (mb - rise))
    return out


def _slope(positions: Array, near: Neighbours, row: NDArray[np.int64], series: NDArray[np.int64]) -> Array:
    """Slope per step at valid samples (row, series): float64 [M, 3]."""
    n = len(positions)
    a, b = near.before[row, series], near.after[row, series]
    has_a, has_b = a >= 0, b < n
    a, b = np.where(has_a, a, row), np.where(has_b, b, row)
    here = positions[row, series]
    left_width = np.maximum(row - a, 1)[:, None].astype(np.float64)
    right_width = np.maximum(b - row, 1)[:, None].astype(np.float64)
    left = (here - positions[a, series]) / left_width
    right = (positions[b, series] - here) / right_width
    w_left, w_right = 2 * right_width + left_width, right_width + 2 * left_width
    same = left * right > 0
    denominator = np.where(same, w_left / np.where(same, left, 1) + w_right / np.where(same, right, 1), 1.0)
    slope = np.where(same, (w_left + w_right) / denominator, 0.0)
    slope = np.where(has_a[:, None], slope, right)
    return np.where(has_b[:, None], slope, left)


def runs(present: Mask) -> list[tuple[int, int, NDArray[np.int64]]]:
    """Unbroken runs as (start, stop, series that have exactly this run), so that equal runs go together."""
    padded = np.zeros((len(present) + 2, present.shape[1]), np.int8)
    padded[1:-1] = present
    change = np.diff(padded, axis=0).T
    series, start = np.nonzero(change == 1)
    _, stop = np.nonzero(change == -1)
    if not len(series):
        return []
    key = start.astype(np.int64) * (len(present) + 1) + stop
    order = np.argsort(key, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(key[order])) + 1)
    return [(int(start[g[0]]), int(stop[g[0]]), series[g]) for g in groups]
