"""Motion of many points as cubic splines: evaluation, a prior on acceleration, banded normal equations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded
from scipy.linalg.lapack import dtbtrs

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Knots of the motion: people do not change direction faster than this.
KNOT_S = 0.05
_BAND = 12  # a cubic spline in 3D couples 4 knots of 3 coordinates


@dataclass(frozen=True, eq=False)
class Basis:
    """What samples take from the coefficients: rows `first`..`first` + 3 with these weights.

    Attributes
    ----------
    first : int64 [N]
    value, slope, bend : float64 [N, 4]
        Of the position, of its first (1/s) and of its second time derivative (1/s2).
    """

    first: Integers
    value: Array
    slope: Array
    bend: Array

    def of(self, weights: Array, coefficients: Array) -> Array:
        """Sums [N, 3] over the coefficients [K, 3] with `value`, `slope` or `bend`."""
        out: Array = np.einsum("nk,nkc->nc", weights, coefficients[self.first[:, None] + np.arange(4)])
        return out

    def gather(self, weights: Array, samples: Array, size: int) -> Array:
        """The transpose of `of`: samples [N, 3] summed into coefficients [size, 3]."""
        out = np.zeros((size, 3))
        for i in range(4):
            for c in range(3):
                out[:, c] += np.bincount(self.first + i, weights[:, i] * samples[:, c], size)
        return out


@dataclass(frozen=True, eq=False)
class Splines:
    """Cubic splines of all tracks, coefficients [K, 3] one after the other.

    Attributes
    ----------
    start : float64 [n]
        Time of each track's first knot.
    first, count : int64 [n]
        Its first coefficient and their number.
    coefficients : float64 [K, 3]
        Metres.
    """

    start: Array
    first: Integers
    count: Integers
    coefficients: Array

    @staticmethod
    def spanning(low: Array, high: Array) -> Splines:
        """Splines at rest in the origin with knots from `low` to `high` [n], s."""
        count = np.ceil((high - low) / KNOT_S).astype(np.int64) + 4
        first = np.concatenate([[0], np.cumsum(count)[:-1]])
        return Splines(low, first, count, np.zeros((int(count.sum()), 3)))

    def basis(self, track: Integers, time: Array) -> Basis:
        """Of samples [N] of these tracks at these times."""
        s = (time - self.start[track]) / KNOT_S
        k = np.clip(np.floor(s).astype(np.int64), 0, self.count[track] - 4)
        u = s - k
        w = np.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3], -1) / 6
        d = np.stack([-3 * (1 - u) ** 2, 9 * u**2 - 12 * u, -9 * u**2 + 6 * u + 3, 3 * u**2], -1) / (6 * KNOT_S)
        b = np.stack([1 - u, 3 * u - 2, 1 - 3 * u, u], -1) / KNOT_S**2
        return Basis(self.first[track] + k, w, d, b)


@dataclass(frozen=True, eq=False)
class Smoothness:
    """Accelerations are Gaussian about zero: a prior on second differences within each track.

    Attributes
    ----------
    rows : int64 [M]
        First of the three coefficients of each second difference.
    weight : float64 [M]
        Inverse variance of the second differences, 1/m2.
    """

    rows: Integers
    weight: Array

    @staticmethod
    def of(splines: Splines, acceleration: Array) -> Smoothness:
        """Accelerations of this scale [n] in each track, m/s2."""
        last = np.zeros(len(splines.coefficients), bool)
        end = splines.first + splines.count
        last[end - 1] = last[end - 2] = True
        rows = np.flatnonzero(~last)
        track = np.repeat(np.arange(len(splines.count)), splines.count)[rows]
        return Smoothness(rows, 1 / (acceleration[track] * KNOT_S**2) ** 2)

    def differences(self, c: Array) -> Array:
        """Second differences [M, 3] of coefficients [K, 3]."""
        out: Array = c[self.rows] - 2 * c[self.rows + 1] + c[self.rows + 2]
        return out

    def gradient(self, c: Array) -> Array:
        """Gradient [K, 3] of half the squared, weighted second differences."""
        second = self.weight[:, None] * self.differences(c)
        out = np.zeros_like(c)
        for i, a in enumerate((1.0, -2.0, 1.0)):
            out[self.rows + i] += a * second  # each row occurs once
        return out

    def add_to(self, band: Array) -> None:
        """Add the second derivatives to a lower band matrix [12, 3K]."""
        for i, a in enumerate((1.0, -2.0, 1.0)):
            for j, b in enumerate((1.0, -2.0, 1.0)):
                if j >= i:
                    for c in range(3):
                        column = 3 * (self.rows + i) + c
                        band[3 * (j - i)] += np.bincount(column, self.weight * a * b, band.shape[1])


@dataclass(frozen=True, eq=False)
class Normal:
    """Cholesky factor of the splines' normal matrix."""

    factor: Array

    @staticmethod
    def of(basis: Basis, J: Array, weight: Array, prior: Smoothness, size: int) -> Normal:
        """From the samples' derivatives J [N, 2, 3] by position and weights [N]."""
        band = np.zeros((_BAND, 3 * size))
        M = np.einsum("n,nri,nrj->nij", weight, J, J)
        for i in range(4):
            for j in range(i, 4):
                block = (basis.value[:, i] * basis.value[:, j])[:, None, None] * M
                for a in range(3):
                    for c in range(3):
                        row, column = 3 * (j - i) + c - a, 3 * (basis.first + i) + a
                        if row >= 0:
                            band[row] += np.bincount(column, block[:, a, c], 3 * size)
        prior.add_to(band)
        band[0] += 1e-6  # far less than any observation says
        try:
            return Normal(cholesky_banded(band, lower=True))
        except LinAlgError:
            band[0] += 1e-9 * (band[0] + band[0].max())
            return Normal(cholesky_banded(band, lower=True))

    def solve(self, right: Array) -> Array:
        """The normal matrix' inverse times [3K, m]."""
        out: Array = cho_solve_banded((self.factor, True), right)
        return out

    def draw(self, rng: np.random.Generator) -> Array:
        """Errors [K, 3] as large and as alike as those of the coefficients."""
        out, _ = dtbtrs(self.factor, rng.normal(size=(self.factor.shape[1], 1)), uplo="L", trans="T")
        return np.asarray(out.reshape(-1, 3), np.float64)
