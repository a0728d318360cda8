"""How lively each joint is at each time, learnt from the take: the smoother's motion prior.

The change of a trajectory's acceleration beyond its decay is normal; the variance q_k of the
acceleration it belongs to is a level per joint times an activity around that time, which a joint
shares with those it is linked to by bones: a limb moves or rests as a whole, and five samples of one
joint say too little.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Strength of the take's level against the local one, in samples.
_LEVEL_SAMPLES = 3.0
# Few: real movement starts and stops. (On the project's calm made-up motion 1 is better by 1.5 %, with independent
# errors and with lasting ones; on recorded motion it is worse by as much, and too sure at high noise.)
_POOL_SAMPLES = 0.3
# A step in the direction of the fixed point, as an exponent; a whole one may swing about it.
_DAMPING = 0.9
# What a difference counts at least, however little the data say about it.
_LEAST_FREEDOM = 0.02


def learn_activity(
    square: Array, variance: Array, measured: Mask, level: Array, activity: Array, count: Array, half: list[float],
    parts: list[slice], links: Array, known: Array | None = None,
) -> None:  # fmt: skip
    """One step of the learning of levels and activities, in place.

    Parameters
    ----------
    square, variance : float64 [S, N]
        Squared difference of the smoothed trajectory and its posterior variance (both summed over
        the axes), over the noise it would have at q = 1.
    measured : bool [S, N]
        Where a difference exists.
    level : float64 [S]
    activity : float64 [S, N]
    count : float64 [S, N], out
        Degrees of freedom, over three, that each activity was learnt from.
    half : list of float
        Standard deviation of the window in time, samples; of each part.
    parts : list of slice
        Continuous parts of the recording.
    links : float64 [J, J]
        Weight of one joint's differences for another's; S is persons x joints.
    known : float64 [S], optional
        Levels that are not to be learnt.

    Notes
    -----
    MacKay's fixed point (Bayesian Interpolation, Neural Computation 4, 1992): q = sum of squares / sum of degrees
    of freedom 1 - variance / q. It is that of expectation-maximisation, found in a quarter of the
    steps where noise is larger than motion.
    """
    prior = 3 * level[:, None] * activity
    freedom = np.where(measured, np.clip(1 - variance / prior, _LEAST_FREEDOM, 1), 0.0)
    scaled = np.where(measured, square / activity, 0.0).sum(1)
    target = np.maximum(scaled / np.maximum(3 * freedom.sum(1), 1e-9), 1e-12)
    learnt = level * np.where(measured.any(1), (target / level) ** _DAMPING, 1.0)
    level[:] = learnt if known is None else known
    relative = np.where(measured, square, 0.0) / (3 * level[:, None])
    J = len(links)
    for rows, width in zip(parts, half, strict=True):
        reach = int(np.ceil(3 * width))
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(width, 0.1)) ** 2)
        num, den = (convolve1d(a[:, rows], kernel, axis=1, mode="constant") for a in (relative, freedom))
        shape = (-1, J, num.shape[1])
        num, den = (np.matmul(links, a.reshape(shape)).reshape(num.shape) for a in (num, den))
        count[:, rows] = den
        pooled = (_POOL_SAMPLES + num) / (_POOL_SAMPLES + den)
        activity[:, rows] *= (pooled / activity[:, rows]) ** _DAMPING


@njit(cache=True)  # type: ignore[misc]
def first_activity(
    y: Array, noise: Array, spans: NDArray[np.int64], dt: Array, half: NDArray[np.int64], energy: Array,
    activity: Array, known: float, shrink: Array,
) -> float:  # fmt: skip
    """Level and activity to start from: of the raw differences, less what their noise accounts for.

    `known` is the level where it is not to be learnt, else 0; `shrink` [R] what lasting errors leave of the
    variance that second differences of independent ones would have.

    The start has to follow the data wherever several samples in a row move: from a start that is too
    smooth a sudden movement after a long rest would be taken for outliers and never found again.
    """
    # Of second differences: they are the acceleration itself, and have less noise than the third.
    coefficients, d = (1.0, -2.0, 1.0), 2
    total, noise_total, count = 0.0, 0.0, 0
    for r in range(len(spans)):
        start, stop = spans[r, 0], spans[r, 1] - d
        scale = dt[start] ** 4
        for k in range(start, stop):
            square, expected = 0.0, 0.0
            for a in range(d + 1):
                expected += coefficients[a] ** 2 * noise[k + a] * shrink[r]
            for i in range(3):
                s = 0.0
                for a in range(d + 1):
                    s += coefficients[a] * y[k + a, i]
                square += s * s
            energy[k] = max(square - expected, 0.0) / scale
            noise_total += expected / scale
            count += 1
        _local_median(energy[start:stop], half[start], activity[start:stop])
        total += activity[start:stop].sum()
    level = known if known > 0 else max(total / count, 0.02 * noise_total / (3 * count), 1e-9)
    for r in range(len(spans)):
        start, stop = spans[r, 0], spans[r, 1] - d
        robust_activity(energy[start:stop], level, half[start], activity[start:stop])
    return level


@njit(cache=True)  # type: ignore[misc]
def settle_activity(
    square: Array, variance: Array, spans: NDArray[np.int64], half: NDArray[np.int64], order: int, level: float,
    activity: Array, known: float,
) -> float:  # fmt: skip
    """Level of one joint as in `learn_activity` (unless `known`, not 0), and its activity from medians in time."""
    total, freedom = 0.0, 0.0
    energy = square + variance
    for r in range(len(spans)):
        for k in range(spans[r, 0], spans[r, 1] - order):
            total += square[k] / activity[k]
            freedom += max(3 - variance[k] / (level * activity[k]), 3 * _LEAST_FREEDOM)
    level = known if known > 0 else level * (max(total / freedom, 1e-12) / level) ** _DAMPING
    for r in range(len(spans)):
        a, b = spans[r, 0], spans[r, 1] - order
        robust_activity(energy[a:b], level, half[a], activity[a:b])
    return level


@njit(cache=True)  # type: ignore[misc]
def robust_activity(energy: Array, level: float, half: int, activity: Array) -> None:
    """Local level over the take's from the median energy around k, drawn towards 1."""
    n = len(energy)
    _local_median(energy, half, activity)
    for k in range(n):
        count = min(n, k + half + 1) - max(0, k - half)
        activity[k] = (_LEVEL_SAMPLES + count * activity[k] / level) / (_LEVEL_SAMPLES + count)


@njit(cache=True)  # type: ignore[misc]
def _local_median(energy: Array, half: int, out: Array) -> None:
    """Level per axis from the running median (2.366: median of chi-square with 3 d.o.f.)."""
    n = len(energy)
    for k in range(n):
        out[k] = np.median(energy[max(0, k - half) : min(n, k + half + 1)]) / 2.366
