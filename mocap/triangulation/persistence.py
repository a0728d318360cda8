"""How long a detector's errors last, learnt from the take: whether views that disagree go on disagreeing.

What a view's observation differs from the triangulated joint is error and nothing else, whatever the
joint does. So its correlation from frame to frame is that of the errors, and no motion is taken for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mocap.persistence import Persistence
from mocap.triangulation.kernels import accumulate, solve_symmetric, view_residual

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Time differences that are looked at, seconds, and how many.
_LONGEST_S, _MOST_LAGS, _FEWEST_LAGS = 1.0, 12, 3
# Degrees of freedom that the shortest difference must have been seen with.
_FEWEST = 300.0
# Shares below this are what independent errors show by chance.
_LEAST_SHARE = 0.05
_TIMES_S = np.geomspace(0.01, 1.0, 70)


@dataclass(frozen=True, eq=False)
class Agreement:
    """What N joints' fits leave unexplained.

    Attributes
    ----------
    residual : float64 [N, 2 V]
        Residuals over their sigma; 0 for views that do not count.
    basis : float64 [N, 2 V, 3]
        Orthonormal basis of what the fit of the point can explain of them.
    used : bool [N, V]
    usable : bool [N]
    """

    residual: Array
    basis: Array
    used: Bools
    usable: Bools


def agreement(R: Array, t: Array, u: Array, A: Array, sigma: Array, used: Bools, X: Array) -> Agreement:
    """Whitened residuals of joints at X [N, 3]; the other arguments as of `robust_points`."""
    N, V = sigma.shape
    residual, basis, usable = np.zeros((N, 2 * V)), np.zeros((N, 2 * V, 3)), np.zeros(N, bool)
    _whiten(R, t, u, A, sigma, used, X, residual, basis, usable)
    return Agreement(residual, basis, used, usable)


@njit(cache=True, error_model="numpy", nogil=True)
def _whiten(
    R: Array, t: Array, u: Array, A: Array, sigma: Array, used: Bools, X: Array, residual: Array, basis: Array,
    usable: Bools,
) -> None:  # fmt: skip
    V = R.shape[0]
    r, J, H, g = np.empty((V, 2)), np.empty((V, 2, 3)), np.empty((3, 3)), np.zeros(3)
    step, C, w = np.empty(3), np.empty((3, 3)), np.empty(V)
    for n in range(len(X)):
        good = not np.isnan(X[n, 0])
        for v in range(V):
            w[v] = 0.0
            if good and used[n, v]:
                good = view_residual(R, t, u[n], A[n], v, X[n], r, J) > 0.0
                w[v] = 1.0 / sigma[n, v] ** 2
        if not good:
            continue
        accumulate(w, r, J, H, g)
        usable[n] = solve_symmetric(H, g, step, C)
        if usable[n]:
            _orthonormal(r, J, w, np.linalg.cholesky(C), residual[n], basis[n])  # type: ignore[arg-type]


@njit(cache=True, error_model="numpy", nogil=True)
def _orthonormal(r: Array, J: Array, w: Array, L: Array, residual: Array, basis: Array) -> None:
    """Residuals, and rows of J times the lower root L of the covariance: columns are orthonormal."""
    for v in range(len(w)):
        root = np.sqrt(w[v])
        if root == 0.0:
            continue
        for i in range(2):
            residual[2 * v + i] = root * r[v, i]
            for a in range(3):
                for b in range(a, 3):
                    basis[2 * v + i, a] += root * J[v, i, b] * L[b, a]


@njit(cache=True, error_model="numpy", nogil=True)
def lagged_products(
    residual: Array, basis: Array, used: Bools, usable: Bools, first: NDArray[np.int64], second: NDArray[np.int64],
) -> tuple[float, float]:  # fmt: skip
    """Sum of products of the residuals of pairs of fits, and what it would be if the errors were the same.

    For projections M = I - Q Q^T on what a fit cannot explain, the expected product of the residuals
    of two fits is tr(M_1 M_2) times the correlation of the errors behind them.
    """
    width = residual.shape[1]
    product, freedom = 0.0, 0.0
    K = np.empty((3, 3))
    for p in range(len(first)):
        i, j = first[p], second[p]
        if not (usable[i] and usable[j]):
            continue
        K[:] = 0.0
        trace = 0.0
        for k in range(width):
            in_i, in_j = used[i, k // 2], used[j, k // 2]
            if in_i and in_j:
                product += residual[i, k] * residual[j, k]
                trace += 1.0
                for a in range(3):
                    trace -= basis[i, k, a] ** 2 + basis[j, k, a] ** 2
                    for b in range(3):
                        K[a, b] += basis[i, k, a] * basis[j, k, b]
        for a in range(3):
            for b in range(3):
                trace += K[a, b] ** 2
        freedom += trace
    return product, freedom


def persistence(found: Agreement, block: NDArray[np.int64], frames: NDArray[np.int64], fps: float) -> Persistence:
    """How errors last.

    Parameters
    ----------
    found : Agreement
        Of joints in the order rows, then series.
    block, frames : int [T]
        Rows of the same block follow each other; their frame numbers.
    fps : float

    Returns
    -------
    Persistence
        Without any where errors of different frames are independent, or too little is seen to tell.

    Notes
    -----
    To the correlations at time differences up to 1 s, each weighted with the degrees of freedom it was seen
    with, the sum of a constant and a decaying exponential is fitted.
    """
    T = len(frames)
    series = np.arange(len(found.usable)).reshape(T, -1)
    steps = np.diff(frames)[np.diff(block) == 0]
    step = int(np.median(steps)) if len(steps) else 1
    longest = max(_FEWEST_LAGS, int(_LONGEST_S * fps / step))
    lags = np.unique(np.concatenate([[1, 2, 3], np.round(np.geomspace(1, longest, _MOST_LAGS)).astype(int)]))
    same, count = _products(found, series.ravel(), series.ravel())
    r, weight = np.zeros(len(lags)), np.zeros(len(lags))
    for k, lag in enumerate(lags.tolist()):
        rows = np.flatnonzero((block[lag:] == block[:-lag]) & (frames[lag:] - frames[:-lag] == lag * step))
        product, weight[k] = _products(found, series[rows].ravel(), series[rows + lag].ravel())
        r[k] = product / max(weight[k], 1e-9)
    if count < _FEWEST or weight[0] < _FEWEST or not same > 0:
        return Persistence()
    return fit_decay(r * count / same, np.maximum(weight, 0), lags * step / fps)


def _products(found: Agreement, first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[float, float]:
    product, freedom = lagged_products(found.residual, found.basis, found.used, found.usable, first, second)
    return float(product), float(freedom)


def fit_decay(correlation: Array, weight: Array, seconds: Array) -> Persistence:
    """The constant + share exp(-seconds / time) nearest to correlations [K] with weights [K], both at least 0."""
    # A time beyond a third of the longest difference cannot be told from a constant.
    times = _TIMES_S[np.maximum(seconds.max() / 3, _TIMES_S[0]) >= _TIMES_S]
    shape = np.exp(-seconds / times[:, None])
    one, s, ss = weight.sum(), shape @ weight, shape**2 @ weight
    c, sc = correlation @ weight, shape @ (weight * correlation)
    share = np.maximum((one * sc - s * c) / np.maximum(one * ss - s * s, 1e-12), 0)
    constant = np.maximum((c - share * s) / one, 0)
    share = np.where(constant > 0, share, np.maximum(sc / np.maximum(ss, 1e-12), 0))
    misfit = (weight * (correlation - constant[:, None] - share[:, None] * shape) ** 2).sum(1)
    best = int(np.argmin(misfit))
    # What chance gives counts as nothing: a large share of a short time is as little as a small one.
    lasting = share[best] if share[best] * shape[best, 0] >= _LEAST_SHARE else 0.0
    steady = constant[best] if constant[best] >= _LEAST_SHARE else 0.0
    whole = max(1.0, lasting + steady)
    return Persistence(float(lasting / whole), float(times[best]), float(steady / whole))
