"""Outliers: the noise is a mixture of a Gaussian and a uniform density over the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Median length of a 2D Gaussian error in units of its standard deviation per coordinate.
_RAYLEIGH_MEDIAN = np.sqrt(2 * np.log(2))
# Corners are never found better than this; exact data would leave nothing to tell wrong from right by.
_SMALLEST_SIGMA_PX = 0.005
_LEAST_SHARE, _MOST_SHARE = 1e-3, 0.5


@dataclass(frozen=True)
class NoiseMixture:
    """Density of a residual: ``(1 - e) N(0, sigma^2 I) + e / area``.

    Attributes
    ----------
    sigma : float
        Standard deviation per coordinate of the good observations, px.
    outliers : float
        Share of observations that are wrong, e.
    area : float
        Over which wrong observations fall, px^2.
    """

    sigma: float
    outliers: float
    area: float

    @staticmethod
    def start(distance: Array, area: float) -> NoiseMixture:
        """From the median of residual lengths (px), which up to half of them being wrong hardly move."""
        sigma = float(np.median(distance)) / _RAYLEIGH_MEDIAN if distance.size else 1.0
        return NoiseMixture(max(sigma, _SMALLEST_SIGMA_PX), 0.05, area)

    def _log_ratio(self, squared: Array) -> Array:
        """Log of (bad density / good density)."""
        level = np.log(self.outliers / self.area) - np.log((1 - self.outliers) / (2 * np.pi * self.sigma**2))
        return level + 0.5 * squared / self.sigma**2

    def inlier_probability(self, squared: Array) -> Array:
        """Probability that an observation is good, from its squared residual (px^2)."""
        return 1.0 / (1.0 + np.exp(np.minimum(self._log_ratio(squared), 700.0)))

    def cost(self, squared: Array) -> float:
        """Negative log-likelihood, up to terms that residuals do not change: ``r^2 / 2 sigma^2`` when all is well."""
        level = self._log_ratio(np.zeros(1))[0]
        return float(np.sum(np.logaddexp(0.0, level) - np.logaddexp(-0.5 * squared / self.sigma**2, level)))

    def updated(self, squared: Array, dof_share: float = 1.0) -> NoiseMixture:
        """One step of expectation maximisation; `dof_share` = degrees of freedom per residual coordinate."""
        p = self.inlier_probability(squared)
        good = max(float(p.sum()), 1.0)
        sigma = np.sqrt(float((p * squared).sum()) / (2 * good * dof_share))
        share = float(np.clip(1 - p.mean(), _LEAST_SHARE, _MOST_SHARE))
        return NoiseMixture(max(float(sigma), _SMALLEST_SIGMA_PX), share, self.area)
