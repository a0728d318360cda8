"""Coarse time offset between two cameras, from people or points that both film.

At the right offset the rays of both cameras to the same point meet; at a wrong one they miss each
other by what the point moved meanwhile. The mean miss as a function of the offset, over all offsets
in a range, needs no start value and no identities: of the people in the other view, the one that
fits best counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

# Rays that miss each other by more are of other people or of another moment: 12 cm at 4 m.
_GATE_RAD = 0.03
_MIN_JOINTS = 5
# Frames closer together than this do not count as independent evidence.
_INDEPENDENT_S = 0.25
# The best offset is believed when it beats every other this many standard errors.
CLEAR = 3.0
_NEIGHBOURHOOD_S = 0.15


@dataclass(frozen=True, eq=False)
class OffsetCurve:
    """How badly two cameras' views fit together, by time offset.

    Attributes
    ----------
    offsets_s : float64 [L]
        Time of the second camera's clock that is taken for the same moment, less the first's.
    cost : float64 [L]
        0 where all rays meet, 1 where none do; NaN where the recordings do not overlap enough.
    best_s : float
        The offset of least cost; NaN where there is none.
    certainty : float
        How many standard errors the best offset lies below the best one that is not its neighbour.
    """

    offsets_s: Array
    cost: Array
    best_s: float
    certainty: float

    @property
    def is_clear(self) -> bool:
        """Whether the best offset is believed."""
        return self.certainty >= CLEAR


@njit(cache=True, error_model="numpy", nogil=True)
def _epipolar_planes(people: Array, baseline: Array) -> Array:
    """Unit normals [P, J, 3] of the planes through both cameras and the rays [P, J, 3]."""
    out = np.empty(people.shape)
    for p in range(people.shape[0]):
        for j in range(people.shape[1]):
            normal = np.cross(baseline, people[p, j])
            out[p, j] = normal / np.sqrt((normal * normal).sum())
    return out


@njit(cache=True, error_model="numpy", nogil=True)
def _misfit(planes: Array, others: Array, gate: float) -> float:
    """How far a person's planes [J, 3] miss the best of the others' rays [Q, J, 3]: 0 to 1, 2 for no partner."""
    least = 2.0
    for q in range(others.shape[0]):
        total, seen = 0.0, 0
        for j in range(others.shape[1]):
            e = abs(planes[j, 0] * others[q, j, 0] + planes[j, 1] * others[q, j, 1] + planes[j, 2] * others[q, j, 2])
            if not np.isnan(e):
                total += min(e / gate, 1.0)
                seen += 1
        if seen >= _MIN_JOINTS:
            least = min(least, total / seen)
    return least


@njit(cache=True, error_model="numpy", nogil=True)
def _costs(rays_a: Array, rays_b: Array, baseline: Array, rows_a: Rows, rows_b: Rows, gate: float) -> Array:
    """Cost [L, N] of frame pairs; NaN where a frame is outside the recording or shows nobody."""
    L, N = rows_b.shape
    out = np.full((L, N), np.nan)
    for n in range(N):
        planes = _epipolar_planes(rays_a[rows_a[n]], baseline)
        for k in range(L):
            if rows_b[k, n] < 0:
                continue
            total, count = 0.0, 0
            for p in range(planes.shape[0]):
                least = _misfit(planes[p], rays_b[rows_b[k, n]], gate)
                if least <= 1.0:
                    total += least
                    count += 1
            if count:
                out[k, n] = total / count
    return out


def scan_pair(
    rays: tuple[Array, Array], times: tuple[Array, Array], centres: tuple[Array, Array],
    search_s: float, samples: int = 240, around_s: float = 0.0,
) -> OffsetCurve:  # fmt: skip
    """Try all offsets between two cameras.

    Parameters
    ----------
    rays : two float64 [T, P, J, 3]
        Unit viewing directions in the world, NaN where not seen; own numbers of frames and slots.
    times : two float64 [T]
        Of the frames on each camera's own clock, s, increasing.
    centres : two float64 [3]
        Camera centres in the world, metres.
    search_s : float
        Largest offset tried, s.
    samples : int
        Frames of the first camera that are used, spread over the recording.
    around_s : float
        Centre of the offsets tried.

    Returns
    -------
    OffsetCurve
    """
    step = float(min(np.median(np.diff(t)) if len(t) > 1 else np.inf for t in times))
    count = int(np.floor(search_s / step)) if np.isfinite(step) else 0
    offsets: Array = around_s + np.arange(-count, count + 1, dtype=np.float64) * (step if count else 0.0)
    nothing = OffsetCurve(offsets, np.full(len(offsets), np.nan), np.nan, 0.0)
    baseline = centres[1] - centres[0]
    seen = np.flatnonzero(np.isfinite(rays[0][..., 0]).reshape(len(rays[0]), -1).any(1))
    if not len(seen) or not len(times[1]) or np.linalg.norm(baseline) < 1e-6 or count == 0:
        return nothing
    rows = seen[np.unique(np.linspace(0, len(seen) - 1, min(samples, len(seen))).astype(int))]
    wanted = times[0][rows] + offsets[:, None]
    near = np.clip(np.searchsorted(times[1], wanted - step / 2), 0, len(times[1]) - 1)
    rows_b = np.where(np.abs(times[1][near] - wanted) <= 0.75 * step, near, -1)
    costs = _costs(rays[0], rays[1], baseline, rows, rows_b, _GATE_RAD)
    return _judge(offsets, costs, times[0][rows])


def _judge(offsets: Array, costs: Array, times: Array) -> OffsetCurve:
    known = np.isfinite(costs)
    enough = known.sum(1) >= max(10, 0.3 * known.sum(1).max(initial=0))
    cost = np.where(enough, np.where(known, costs, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)
    if not np.isfinite(cost).any():
        return OffsetCurve(offsets, cost, np.nan, 0.0)
    best = int(np.nanargmin(cost))
    # Offsets beside the best fit nearly as well; only those beyond its valley are rivals.
    far = np.isfinite(cost) & (np.abs(offsets - offsets[best]) > _NEIGHBOURHOOD_S)
    certainty = 0.0
    if far.any():
        rival = int(np.flatnonzero(far)[np.argmin(cost[far])])
        both = known[best] & known[rival]
        gain = (costs[rival] - costs[best])[both]
        if len(gain) >= 10:
            span = float(times[both].max() - times[both].min())
            independent = max(2.0, min(len(gain), span / _INDEPENDENT_S))
            certainty = float(gain.mean() / max(gain.std(), 1e-3) * np.sqrt(independent))
    return OffsetCurve(offsets, cost, float(offsets[best]), certainty)
