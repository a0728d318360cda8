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

    def level(self, confidence: Array) -> NDArray[np.int64]:
        """Int, shape of `confidence`: nearest level of each observation."""
        middles = (self.confidence[1:] + self.confidence[:-1]) / 2
        return np.searchsorted(middles, confidence)

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
        confidence, uncertainty : float64 [N, V]
        gamma, r2, leverage : float64 [N, V]
            Inlier probability, squared residual (px2; NaN where there is no point) and the degrees
            of freedom the fit took, of joints that three or more views saw.
        """
        used = np.isfinite(r2) & (confidence > 0)
        V, L = self.sigma.shape
        cell = self.level(confidence) + L * np.arange(V)
        base2 = np.broadcast_to(base_sigma(uncertainty) ** 2, r2.shape)

        def total(weight: Array) -> Array:
            return np.bincount(cell[used], weight[used], minlength=V * L).reshape(V, L).astype(float)

        squares = total(gamma * np.where(used, r2, 0.0) / base2)
        freedom = total(gamma * np.maximum(2.0 - leverage, 0.0))
        hits, count = total(gamma), total(np.ones_like(gamma))
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
            self._outlier_spread(gamma, r2, used),
        )  # fmt: skip

    def _outlier_spread(self, gamma: Array, r2: Array, used: NDArray[np.bool_]) -> float:
        """Scale of the Cauchy density from the weighted median outlier: median radius = sqrt(3) scale."""
        weight = (1.0 - gamma)[used]
        if weight.sum() < 10.0:
            return self.spread
        inliers = np.sqrt((gamma[used] * r2[used]).sum() / max(2.0 * gamma[used].sum(), 1e-9))
        radius = np.sqrt(r2[used])
        order = np.argsort(radius)
        half = np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)
        return float(max(radius[order][min(half, len(order) - 1)] / np.sqrt(3.0), 10.0 * max(inliers, _MIN_SIGMA)))


def base_sigma(uncertainty: Array) -> Array:
    """What `sigma` multiplies: the detector's uncertainty, 1 px where it does not say."""
    return np.where(np.isfinite(uncertainty) & (uncertainty > 0), uncertainty, 1.0)


@njit(cache=True, error_model="numpy", nogil=True)
def _look_up(
    confidence: Array, uncertainty: Array, levels: Array, log_sigma: Array, rate: Array, sigma: Array, inlier: Array
) -> None:
    """Interpolated between the confidences of the levels [L]: sigma and inlier [N, V] of observations [V, N]."""
    last = len(levels) - 1
    for v in range(confidence.shape[0]):
        for n in range(confidence.shape[1]):
            c, base = confidence[v, n], uncertainty[v, n]
            low, high = 0, last
            while high - low > 1:
                middle = (low + high) // 2
                if levels[middle] <= c:
                    low = middle
                else:
                    high = middle
            share = (c - levels[low]) / (levels[high] - levels[low]) if high > low else 0.0
            share = min(max(share, 0.0), 1.0)
            width = exp(log_sigma[v, low] + share * (log_sigma[v, high] - log_sigma[v, low]))
            sigma[n, v] = width * base if base > 0.0 and base < np.inf else width
            inlier[n, v] = rate[v, low] + share * (rate[v, high] - rate[v, low]) if c > 0.0 else 0.0
