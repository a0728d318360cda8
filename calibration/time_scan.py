"""Coarse time offset between two cameras, from people or points that both film.

At the right offset the rays of both cameras to the same point meet; at a wrong one they miss each
other by what the point moved meanwhile. The mean miss as a function of the offset, over all offsets
in a range, needs no start value and no identities: of the people in the other view, the one that
fits best counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

# Rays that miss each other by more are of other people or of another moment: 12 cm at 4 m.
_GATE_RAD = 0.03
_MIN_JOINTS = 5
# Evidence counts by blocks of this length: errors within one are alike.
_BLOCK_S = 0.5
# The best offset is believed when it beats every other by this many standard errors.
CLEAR = 3.0
NEIGHBOURHOOD_S = 0.15
# Between frames rays are interpolated: half a frame of a fast arm is more than a detector's noise.
_STEPS_PER_FRAME = 2
_LINK_RAD = 0.2  # a person moves less from frame to frame, as seen from a camera


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


@dataclass(frozen=True, eq=False)
class OffsetCosts:
    """Cost of each offset at each sampled moment, so that several pairs can be judged together.

    Attributes
    ----------
    offsets_s : float64 [L]
    time : float64 [N]
        Each moment on the first camera's own clock, s.
    cost : float32 [L, N]
        NaN where a camera shows nobody or did not film.
    """

    offsets_s: Array
    time: Array
    cost: NDArray[np.float32]

    @property
    def block(self) -> Rows:
        """Stretch of time [N] each moment belongs to."""
        return np.asarray(np.floor((self.time - self.time.min(initial=np.inf)) / _BLOCK_S), np.int64)


@njit(cache=True, error_model="numpy", nogil=True)
def _in_order(rays: Array) -> Array:
    """Person slots [T, P, J, 3] reordered so that a slot keeps its person from frame to frame."""
    T, P, J, _ = rays.shape
    out = rays.copy()
    for t in range(1, T):
        free = np.ones(P, np.bool_)
        taken = np.full(P, -1)
        for p in range(P):
            best, least = -1, _LINK_RAD
            for q in range(P):
                if not free[q]:
                    continue
                total, seen = 0.0, 0
                for j in range(J):
                    d = 0.0
                    for c in range(3):
                        d += (out[t - 1, p, j, c] - rays[t, q, j, c]) ** 2
                    if not np.isnan(d):
                        total += np.sqrt(d)
                        seen += 1
                if seen and total / seen < least:
                    best, least = q, total / seen
            if best >= 0:
                taken[p], free[best] = best, False
        rest = np.flatnonzero(free)
        k = 0
        for p in range(P):
            if taken[p] < 0:
                taken[p] = rest[k]
                k += 1
            out[t, p] = rays[t, taken[p]]
    return out


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
def _costs(
    rays_a: Array, rays_b: Array, baseline: Array, rows_a: Rows, rows_b: Array, gate: float
) -> NDArray[np.float32]:
    """Cost [L, N] of frame pairs, the second's rows fractional; NaN outside the recording or without people."""
    L, N = rows_b.shape
    out = np.full((L, N), np.nan, np.float32)
    for n in range(N):
        planes = _epipolar_planes(rays_a[rows_a[n]], baseline)
        for k in range(L):
            at = rows_b[k, n]
            if np.isnan(at):
                continue
            row = min(int(at), len(rays_b) - 2)
            part = at - row
            others = (1 - part) * rays_b[row] + part * rays_b[row + 1]
            total, count = 0.0, 0
            for p in range(planes.shape[0]):
                least = _misfit(planes[p], others, gate)
                if least <= 1.0:
                    total += least
                    count += 1
            if count:
                out[k, n] = total / count
    return out


def scan_pair(
    rays: tuple[Array, Array], times: tuple[Array, Array], centres: tuple[Array, Array],
    search_s: float, samples: int = 240,
) -> OffsetCosts:  # fmt: skip
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

    Returns
    -------
    OffsetCosts
        Without moments where the cameras cannot be compared.
    """
    step = min((float(np.median(np.diff(t))) for t in times if len(t) > 1), default=0.0) / _STEPS_PER_FRAME
    count = int(np.floor(search_s / step)) if step else 0
    offsets: Array = np.arange(-count, count + 1, dtype=np.float64) * step
    baseline = centres[1] - centres[0]
    seen = np.flatnonzero(np.any(np.isfinite(rays[0][..., 0]), axis=(1, 2)))
    if not len(seen) or len(times[1]) < 2 or np.linalg.norm(baseline) < 1e-6 or count == 0:
        return OffsetCosts(offsets, np.zeros(0), np.zeros((len(offsets), 0), np.float32))
    rows = seen[np.unique(np.linspace(0, len(seen) - 1, min(samples, len(seen))).astype(int))]
    return costs_at(rays, times, baseline, offsets, rows)


def costs_at(
    rays: tuple[Array, Array], times: tuple[Array, Array], baseline: Array, offsets: Array, rows: Rows
) -> OffsetCosts:
    """The costs of some offsets [L] at some rows [N] of the first camera; else as `scan_pair`."""
    at = _fractional_rows(times[1], times[0][rows] + offsets[:, None])
    cost = _costs(rays[0], _in_order(rays[1]), baseline, rows, at, _GATE_RAD)
    return OffsetCosts(offsets, times[0][rows], cost)


def _fractional_rows(times: Array, wanted: Array) -> Array:
    """Where in `times` [T] the moments [L, N] lie, in rows; NaN outside and within gaps."""
    left = np.clip(np.searchsorted(times, wanted, side="right") - 1, 0, len(times) - 2)
    width = times[left + 1] - times[left]
    part = (wanted - times[left]) / width
    usable = (part >= 0) & (part <= 1) & (width < 1.5 * np.median(np.diff(times)))
    return np.where(usable, left + part, np.nan)


def judge(evidence: Sequence[OffsetCosts]) -> OffsetCurve:
    """The best offset and how far it stands out, from one or several pairs over the same offsets.

    Parameters
    ----------
    evidence : sequence of OffsetCosts
        On a common axis: shift the offsets of a pair by what is known of its cameras first
        (`shifted`).
    """
    curves = [mean_cost(e.cost) for e in evidence]
    return judge_curves(
        evidence[0].offsets_s, curves, lambda best, rival: [block_gains(e, best, rival) for e in evidence]
    )


def judge_curves(
    offsets: Array, curves: Sequence[Array], gains_of: Callable[[int, int], Sequence[Array]]
) -> OffsetCurve:
    """As `judge`, from what each source costs by offset, and what it gains block by block from one to another.

    Parameters
    ----------
    offsets : float64 [L]
    curves : sequence of float64 [L]
        NaN where an offset cannot be judged.
    gains_of : callable
        Rows of the best offset and of its rival -> gains [blocks], one array for each source.
    """
    told = np.isfinite(curves)
    cost = np.where(told.any(0), np.nansum(curves, 0) / np.maximum(told.sum(0), 1), np.nan)
    # Offsets that fewer pairs can judge are no rivals of those that all can.
    cost = np.where(told.sum(0) == told.sum(0).max(), cost, np.nan)
    if not np.isfinite(cost).any():
        return OffsetCurve(offsets, cost, np.nan, 0.0)
    best = int(np.nanargmin(cost))
    far = np.isfinite(cost) & (np.abs(offsets - offsets[best]) > NEIGHBOURHOOD_S) & ~_valley(cost, best)
    certainty = 0.0
    if far.any():
        rival = int(np.flatnonzero(far)[np.argmin(cost[far])])
        gains = np.concatenate([p for p in gains_of(best, rival) if len(p) >= 3] or [np.zeros(0)])
        if len(gains) >= 6:
            # Where people move now and then the gain is large now and then, which speaks for it, not against.
            mean = float(gains.mean() / max(gains.std(ddof=1), 1e-3) * np.sqrt(len(gains)))
            certainty = max(mean, signed_ranks(gains))
    return OffsetCurve(offsets, cost, float(offsets[best]), certainty)


def _valley(cost: Array, best: int) -> NDArray[np.bool_]:
    """Offsets [L] about the best that fit nearly as well, up to half its depth: wide where motion is slow."""
    high = ~(cost <= (cost[best] + np.nanmedian(cost)) / 2)
    inside = np.zeros(len(cost), bool)
    before, behind = (int(np.argmax(np.append(side, True))) for side in (high[best::-1], high[best:]))
    inside[best + 1 - before : best + behind] = True
    return inside


def mean_cost(cost: NDArray[np.float32]) -> Array:
    """Mean [L] over the moments; NaN where there are too few."""
    known = np.isfinite(cost)
    enough = known.sum(1) >= max(10, 0.3 * known.sum(1).max(initial=0))
    return np.where(enough, np.where(known, cost, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def block_gains(evidence: OffsetCosts, best: int, rival: int) -> Array:
    """Mean gain of one offset over another, per block of time."""
    gain = evidence.cost[rival].astype(np.float64) - evidence.cost[best]
    known = np.isfinite(gain)
    block = evidence.block[known]
    count, total = np.bincount(block), np.bincount(block, gain[known])
    return total[count > 0] / count[count > 0]


def signed_ranks(gains: Array) -> float:
    """How many standard errors gains [N], however uneven, lie above zero, by Wilcoxon's signed ranks (1945)."""
    gains = gains[np.abs(gains) > 1e-9]
    n = len(gains)
    if not n:
        return 0.0
    ranks = 1 + np.argsort(np.argsort(np.abs(gains), kind="stable"), kind="stable")
    return float((np.sign(gains) * ranks).sum() / np.sqrt(n * (n + 1) * (2 * n + 1) / 6))


def shifted(evidence: OffsetCosts, shift_s: float, *, mirrored: bool = False) -> OffsetCosts:
    """The same evidence as a function of another offset: ``shift_s + offset``, or ``shift_s - offset``.

    The offsets stay those that were tried; costs move to the nearest of them.
    """
    offsets = evidence.offsets_s
    cost = evidence.cost[::-1] if mirrored else evidence.cost
    step = offsets[1] - offsets[0] if len(offsets) > 1 else 1.0
    rows = np.arange(len(offsets)) - round(shift_s / step)
    inside = (rows >= 0) & (rows < len(offsets))
    moved = np.where(inside[:, None], cost[np.clip(rows, 0, len(offsets) - 1)], np.float32(np.nan))
    return OffsetCosts(offsets, evidence.time, moved)
