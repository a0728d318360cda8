"""Block-banded normal equations of a smoothed trajectory: solution and covariance in linear time."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True)  # type: ignore[misc]
def add_difference(band: Array, k: int, weight: float, coefficients: Array) -> None:
    """Add weight (c c^T at k) x I3 to a lower band."""
    for a in range(len(coefficients)):
        for b in range(a + 1):
            value = weight * coefficients[a] * coefficients[b]
            for r in range(3):
                band[3 * (k + a) + r, 3 * (a - b)] += value


@njit(cache=True)  # type: ignore[misc]
def assemble(information: Array, weight: Array, coefficients: Array, band: Array) -> None:
    """Lower band of A = blockdiag(information) + sum_k weight_k (c c^T at k) x I3.

    Parameters
    ----------
    information : float64 [N, 3, 3]
    weight : float64 [N - d]
        Precision of the k-th difference.
    coefficients : float64 [d + 1]
        Of the difference of order d.
    band : float64 [3N, 3d + 1], out
        ``band[i, j]`` is A[i, i - j].
    """
    band[:] = 0
    for t in range(len(information)):
        for r in range(3):
            for c in range(r + 1):
                band[3 * t + r, r - c] = information[t, r, c]
    for k in range(len(weight)):
        add_difference(band, k, weight[k], coefficients)


@njit(cache=True)  # type: ignore[misc]
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


@njit(cache=True)  # type: ignore[misc]
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


@njit(cache=True)  # type: ignore[misc]
def inverse_band(band: Array, out: Array) -> None:
    """The band of A^-1 from that of L: ``out[i, j]`` is A^-1[i, i - j].

    Takahashi, Fagan & Chin's recursion (1973) as in Rue & Martino (J. Stat. Plan. Inference 137,
    2007): only entries inside the band are needed, so the time is linear.
    """
    n, width = band.shape
    for i in range(n - 1, -1, -1):
        last = min(n - 1, i + width - 1)
        for j in range(last, i - 1, -1):
            s = 0.0
            for k in range(i + 1, last + 1):
                z = out[k, k - j] if k >= j else out[j, j - k]
                s -= band[k, k - i] * z
            if i == j:
                s += 1 / band[i, 0]
            out[j, j - i] = s / band[i, 0]
