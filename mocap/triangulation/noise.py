"""What a pixel is worth: inlier probability and noise per camera and confidence, learnt from the take."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVELS = 40
# No detector is better than a twentieth of a pixel; below that rounding decides what is an inlier.
_MIN_SIGMA = 0.05
# Pseudo-counts that pull a camera's level towards all cameras' level, and a level towards the whole.
_CAMERA_PRIOR = 50.0
_LEVEL_PRIOR = 5.0
_START_INLIERS = 0.9
_PRIOR_RANGE = (0.005, 0.995)
_MIN_INLIERS = 0.2


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """Learnt observation noise.

    Attributes
    ----------
    sigma : float64 [V, L]
        Standard deviation per axis of an inlier, px (or a factor on the detector's own
        uncertainty where that is known).
    inlier : float64 [V, L]
        Probability that an observation is an inlier.
    confidence : float64 [L]
        Mean confidence of the observations of each level, increasing.
    spread : float
        Scale of the outliers' bivariate Cauchy density, px.
    """

    sigma: Array
    inlier: Array
    confidence: Array
    spread: float

    @staticmethod
    def start(
        views: int, confidence: Array, use_confidence: bool, sigma: float = 3.0, spread: float = 60.0
    ) -> NoiseModel:
        """A model that knows nothing yet, with the levels that `confidence` [...] occupies."""
        seen = confidence[confidence > 0]
        level = np.clip((seen * LEVELS).astype(int), 0, LEVELS - 1)
        count = np.bincount(level, minlength=LEVELS)
        mean = np.bincount(level, seen, minlength=LEVELS)[count > 0] / count[count > 0]
        centres = mean if use_confidence and len(mean) else np.ones(1)
        shape = (views, len(centres))
        return NoiseModel(np.full(shape, sigma), np.full(shape, _START_INLIERS), centres, spread)

    def of(self, confidence: Array, uncertainty: Array) -> tuple[Array, Array]:
        """Sigma and inlier probability of observations.

        Parameters
        ----------
        confidence : float64 [V, ...]
            0 where not seen.
        uncertainty : float64 [V, ...]
            The detector's own standard deviation, px; NaN where it does not say.

        Returns
        -------
        sigma : float64 [V, ...], px
        inlier : float64 [V, ...]
            0 where not seen.
        """
        shape = (confidence.shape[0], -1)
        sigma, inlier = self.by_joint(
            np.ascontiguousarray(confidence, float).reshape(shape),
            np.ascontiguousarray(uncertainty, float).reshape(shape),
        )
        return sigma.T.reshape(confidence.shape), inlier.T.reshape(confidence.shape)

    def by_joint(self, confidence: Array, uncertainty: Array) -> tuple[Array, Array]:
        """The same of [V, N], as [N, V]."""
        sigma, inlier = np.empty(confidence.shape[::-1]), np.empty(confidence.shape[::-1])
        _look_up(confidence, uncertainty, self.confidence, np.log(self.sigma), self.inlier, sigma, inlier)
        return sigma, inlier

    @property
    def _middles(self) -> Array:
        """Confidences [L - 1] half-way between the levels."""
        return np.asarray((self.confidence[1:] + self.confidence[:-1]) / 2)

    def updated(
        self,
        confidence: Array,
        uncertainty: Array,
        gamma: Array,
        r2: Array,
        leverage: Array,
    ) -> NoiseModel:
        """One maximisation step from the fit of a sample of joints.

        Parameters
        ----------
        confidence, uncertainty : float64 [V, N]
        gamma, r2, leverage : float64 [N, V]
            Inlier probability, squared residual (px2; NaN where there is no point) and the degrees
            of freedom the fit took, of joints that three or more views saw.
        """
        V, L = self.sigma.shape
        sums = np.zeros((4, V, L))
        radius, weight = np.empty(r2.size), np.empty(r2.size)
        used, power = _sum_up(confidence, uncertainty, gamma, r2, leverage, self._middles, sums, radius, weight)
        squares, freedom, hits, count = sums
        if hits.sum() < _MIN_INLIERS * count.sum():
            # Most of what is seen cannot be "outliers": the fit is lost, not the data.
            return self
        whole = max(squares.sum(), 1e-12) / max(freedom.sum(), 1e-9)
        level2 = (squares.sum(0) + _LEVEL_PRIOR * whole) / (freedom.sum(0) + _LEVEL_PRIOR)
        rate = hits.sum() / max(count.sum(), 1.0)
        level_rate = (hits.sum(0) + _LEVEL_PRIOR * rate) / (count.sum(0) + _LEVEL_PRIOR)
        sigma2 = (squares + _CAMERA_PRIOR * level2) / (freedom + _CAMERA_PRIOR)
        inlier = (hits + _CAMERA_PRIOR * level_rate) / (count + _CAMERA_PRIOR)
        return NoiseModel(
            np.sqrt(np.maximum(sigma2, _MIN_SIGMA**2)), np.clip(inlier, *_PRIOR_RANGE), self.confidence,
            self._outlier_spread(radius[:used], weight[:used], power, float(hits.sum())),
        )  # fmt: skip

    def _outlier_spread(self, radius: Array, weight: Array, power: float, hits: float) -> float:
        """Scale of the Cauchy density from the weighted median outlier: median radius = sqrt(3) scale."""
        total = float(weight.sum())
        if total < 10.0:
            return self.spread
        inliers = np.sqrt(power / max(2.0 * hits, 1e-9))
        return float(max(_weighted_median(radius, weight, total / 2) / np.sqrt(3.0), 10.0 * max(inliers, _MIN_SIGMA)))


@njit(cache=True, error_model="numpy", nogil=True)
def _sum_up(
    confidence: Array, uncertainty: Array, gamma: Array, r2: Array, leverage: Array, middles: Array, sums: Array,
    radius: Array, weight: Array,
) -> tuple[int, float]:  # fmt: skip
    """Sums of a fit over the observations of each view and confidence level.

    Parameters
    ----------
    confidence, uncertainty : float64 [V, N]
    gamma, r2, leverage : float64 [N, V]
    middles : float64 [L - 1]
        Confidences at which one level ends and the next begins.
    sums : float64 [4, V, L]
        Result: squared residuals of the inliers in units of their base sigma, their degrees of freedom, inliers, all.
    radius, weight : float64 [N V]
        Result: residual, px, and outlier probability of each observation that counts.

    Returns
    -------
    int, float
        How many count, and the sum of their squared residuals weighted by `gamma`, px2.
    """
    count, power = 0, 0.0
    for v in range(confidence.shape[0]):
        for n in range(confidence.shape[1]):
            c, e2 = confidence[v, n], r2[n, v]
            if not (c > 0.0 and np.isfinite(e2)):
                continue
            level = 0
            while level < len(middles) and middles[level] < c:
                level += 1
            base, g = uncertainty[v, n], gamma[n, v]
            base2 = base * base if np.isfinite(base) and base > 0.0 else 1.0
            sums[0, v, level] += g * e2 / base2
            sums[1, v, level] += g * max(2.0 - leverage[n, v], 0.0)
            sums[2, v, level] += g
            sums[3, v, level] += 1.0
            power += g * e2
            radius[count], weight[count] = np.sqrt(e2), 1.0 - g
            count += 1
    return count, power


@njit(cache=True, error_model="numpy", nogil=True)
def _weighted_median(value: Array, weight: Array, half: float) -> float:
    """Least value up to which the weights reach `half`; both arrays are reordered (quickselect)."""
    low, high, below = 0, len(value) - 1, 0.0
    while low < high:
        pivot = value[(low + high) // 2]
        less, i, more, lighter, equal = low, low, high, 0.0, 0.0
        while i <= more:
            if value[i] < pivot:
                lighter += weight[i]
                value[i], value[less], weight[i], weight[less] = value[less], value[i], weight[less], weight[i]
                less += 1
                i += 1
            elif value[i] > pivot:
                value[i], value[more], weight[i], weight[more] = value[more], value[i], weight[more], weight[i]
                more -= 1
            else:
                equal += weight[i]
                i += 1
        if below + lighter >= half and less > low:
            high = less - 1
        elif below + lighter + equal >= half or more == high:
            return float(pivot)
        else:
            below += lighter + equal
            low = more + 1
    return float(value[low])


@njit(cache=True, error_model="numpy", nogil=True)
def _look_up(
    confidence: Array, uncertainty: Array, levels: Array, log_sigma: Array, rate: Array, sigma: Array, inlier: Array
) -> None:
    """Interpolated between the confidences of the levels [L]: sigma and inlier [N, V] of observations [V, N]."""
    last = len(levels) - 1
    # The level at or before the beginning of every bin of confidences.
    bins = 4 * LEVELS
    first = np.zeros(bins + 1, np.int64)
    for i in range(1, bins + 1):
        first[i] = first[i - 1]
        while first[i] < last - 1 and levels[first[i] + 1] <= i / bins:
            first[i] += 1
    for v in range(confidence.shape[0]):
        least = exp(log_sigma[v, 0])
        for n in range(confidence.shape[1]):
            c, base = confidence[v, n], uncertainty[v, n]
            if last == 0 or not c > levels[0]:
                width, chance = least, rate[v, 0]
            else:
                low = first[int(min(c, 1.0) * bins)]
                while low < last - 1 and levels[low + 1] <= c:
                    low += 1
                share = min((c - levels[low]) / (levels[low + 1] - levels[low]), 1.0)
                width = exp(log_sigma[v, low] + share * (log_sigma[v, low + 1] - log_sigma[v, low]))
                chance = rate[v, low] + share * (rate[v, low + 1] - rate[v, low])
            sigma[n, v] = width * base if base > 0.0 and base < np.inf else width
            inlier[n, v] = chance if c > 0.0 else 0.0
