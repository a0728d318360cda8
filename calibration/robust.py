"""Outliers: which observations are wrong, judged against the scale of all and of their own view."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Median length of a 2D Gaussian error in units of its standard deviation per coordinate.
_RAYLEIGH_MEDIAN = np.sqrt(2 * np.log(2))
# Corners are never found better than this; exact data would leave nothing to tell wrong from right by.
_SMALLEST_SIGMA_PX = 0.005
_LEAST_SHARE, _MOST_SHARE = 0.01, 0.5
# A view may be this much worse than all together (imperfect synchronisation) before its points count as wrong.
_WORST_VIEW = 2.5


@dataclass(frozen=True)
class NoiseMixture:
    """Density of a residual: ``(1 - e) N(0, s^2 I) + e / area``, s being the scale of its view.

    Attributes
    ----------
    sigma : float
        Standard deviation per coordinate of the typical observation, px: from the median, as a root mean
        square would let views that are off as a whole excuse themselves.
    spread : float
        Root mean square per coordinate of all good observations, px; above `sigma` where some views are worse.
    outliers : float
        Share of observations that are wrong, e.
    area : float
        Over which wrong observations fall, px^2.
    """

    sigma: float
    spread: float
    outliers: float
    area: float

    @staticmethod
    def start(squared: Array, seen: Bools, area: float) -> NoiseMixture:
        """From the median of squared residuals (px^2), which up to half of them being wrong hardly move."""
        sigma = float(np.sqrt(np.median(squared[seen]))) / _RAYLEIGH_MEDIAN if seen.any() else 1.0
        sigma = max(sigma, _SMALLEST_SIGMA_PX)
        return NoiseMixture(sigma, sigma, 0.05, area)

    def view_scale(self, squared: Array, seen: Bools) -> Array:
        """Standard deviation [M, 1] of each view's residuals: its own median, within bounds.

        With imperfect synchronisation all points of a fast view are off together; they are no
        outliers, while a wrong corner is one even there.
        """
        ordered = np.sort(np.where(seen, squared, np.inf), axis=1)
        # The lower median: one wrong point of two or three must not make its own excuse.
        middle = np.maximum((seen.sum(1) - 1) // 2, 0)
        median = np.sqrt(ordered[np.arange(len(ordered)), middle]) / _RAYLEIGH_MEDIAN
        return np.clip(median, self.sigma, _WORST_VIEW * self.sigma)[:, None]

    def inlier_probability(self, squared: Array, seen: Bools) -> Array:
        """Probability [M, S] that an observation is good, from squared residuals (px^2); 0 where not seen."""
        variance = self.view_scale(squared, seen) ** 2
        level = np.log(self.outliers / self.area) - np.log((1 - self.outliers) / (2 * np.pi * variance))
        probability = 1.0 / (1.0 + np.exp(np.minimum(level + 0.5 * squared / variance, 700.0)))
        return np.where(seen, probability, 0.0)

    def updated(self, squared: Array, seen: Bools) -> NoiseMixture:
        """The mixture that fits these residuals, by one step of expectation maximisation."""
        p = self.inlier_probability(squared, seen)
        good = max(float(p.sum()), 1.0)
        spread = float(np.sqrt((p * squared).sum() / (2 * good)))
        share = float(np.clip(1 - good / max(seen.sum(), 1), _LEAST_SHARE, _MOST_SHARE))
        typical = NoiseMixture.start(squared, seen & (p > 0.5), self.area).sigma
        return replace(self, sigma=typical, spread=max(spread, _SMALLEST_SIGMA_PX), outliers=share)
