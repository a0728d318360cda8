"""Block-banded normal equations of a smoothed trajectory: solution and covariance in linear time."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True, error_model="numpy")  # type: ignore[misc]
def add_difference(band: Array, k: int, weight: float, coefficients: Array) -> None:
    """Add weight (c c^T at k) x I3 to a lower band."""
    for a in range(len(coefficients)):
        for b in range(a + 1):
            value = weight * coefficients[a] * coefficients[b]
            for r in range(3):
                band[3 * (k + a) + r, 3 * (a - b)] += value


@njit(cache=True, error_model="numpy")  # type: ignore[misc]
def assemble(blocks: Array, weight: Array, coefficients: Array, band: Array) -> None:
    """Lower band of A = (blocks) + sum_k weight_k (c c^T at k) x I3.

    Parameters
    ----------
    blocks : float64 [N, K, 3, 3], K <= d
        ``blocks[t, k]`` belongs at rows t and columns t - k.
    weight : float64 [N - d]
        Precision of the k-th difference.
    coefficients : float64 [d + 1]
        Of the difference of order d.
    band : float64 [3N, 3d + 1], out
        ``band[i, j]`` is A[i, i - j].
    """
    band[:] = 0
    for t in range(len(blocks)):
        for r in range(3):
            for c in range(r + 1):
                band[3 * t + r, r - c] = blocks[t, 0, r, c]
        for k in range(1, min(blocks.shape[1], t + 1)):
            for r in range(3):
                for c in range(3):
                    band[3 * t + r, 3 * k + r - c] = blocks[t, k, r, c]
    for k in range(len(weight)):
        add_difference(band, k, weight[k], coefficients)


@njit(cache=True, error_model="numpy")  # type: ignore[misc]
def cholesky(band: Array) -> None:
    """In place, the lower band of A becomes that of L with A = L L^T."""
    n, width = band.shape
    for i in range(n):
        low = max(0, i - width + 1)
        for j in range(low, i):
            s = band[i, i - j]
            for k in range(max(low, j - width + 1), j):
                s -= band[i, i - k] * band[j, j - k]
            band[i, i - j] = s / band[j, 0]
        s = band[i, 0]
        for k in range(low, i):
            s -= band[i, i - k] ** 2
        band[i, 0] = np.sqrt(s)


@njit(cache=True, error_model="numpy")  # type: ignore[misc]
def solve(band: Array, x: Array) -> None:
    """In place, the right-hand side x [n] becomes the solution of L L^T x = b."""
    n, width = band.shape
    for i in range(n):
        s = x[i]
        for k in range(1, min(width, i + 1)):
            s -= band[i, k] * x[i - k]
        x[i] = s / band[i, 0]
    for i in range(n - 1, -1, -1):
        s = x[i]
        for k in range(1, min(width, n - i)):
            s -= band[i + k, k] * x[i + k]
        x[i] = s / band[i, 0]


@njit(cache=True, error_model="numpy")  # type: ignore[misc]
def inverse_band(band: Array, out: Array) -> None:
    """The band of A^-1 from that of L: ``out[i, j]`` is A^-1[i, i - j].

    Takahashi, Fagan & Chin's recursion (1973) as in Rue & Martino (J. Stat. Plan. Inference 137,
    2007): only entries inside the band are needed, so the time is linear.
    """
    n, width = band.shape
    share, total = np.empty(width), np.empty(width)
    for i in range(n - 1, -1, -1):
        m = min(width - 1, n - 1 - i)
        one = 1.0 / band[i, 0]
        # Product of what is known of A^-1 with column i of L: every entry is read once for both sides.
        for a in range(1, m + 1):
            here = band[i + a, a] * one
            share[a] = here
            below = out[i + a, 0] * here
            for b in range(1, a):
                z = out[i + a, a - b]
                below += z * share[b]
                total[b] += z * here
            total[a] = below
        diagonal = one * one
        for a in range(1, m + 1):
            out[i + a, a] = -total[a]
            diagonal += share[a] * total[a]
        out[i, 0] = diagonal
