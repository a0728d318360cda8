"""Samples that contradict their neighbours in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from mocap.filtering.gaps import Array, Mask

# Three coordinates' distance against one coordinate's robust spread: median of chi with 3 d.o.f.
_CHI3_MEDIAN = 1.5382


def hampel_outliers(
    positions: Array, covariance: NDArray[np.float64], valid: Mask, window: int, threshold: float
) -> Mask:
    """Samples far from the running median of their series.

    Parameters
    ----------
    positions : float64 [N, S, 3] m
        Without NaN where `valid`; gaps may hold anything finite (best an interpolation).
    covariance : float64 [N, S, 3, 3] m2
    valid : bool [N, S]
    window : int
        Odd number of samples.
    threshold : float
        In robust standard deviations.

    Returns
    -------
    bool [N, S]
        True where the distance to the median exceeds `threshold` times both the local spread of
        such distances and the sample's own standard deviation: a fast swing has a wide local
        spread, and a sample whose covariance admits the distance is no outlier.

    Notes
    -----
    Hampel identifier (Pearson, Mining Imperfect Data, 2005) on the distance in space.
    """
    clean = np.nan_to_num(positions)
    middle = median_filter(clean, size=(window, 1, 1), mode="nearest")
    distance = np.linalg.norm(clean - middle, axis=-1)
    spread = median_filter(distance, size=(window, 1), mode="nearest") / _CHI3_MEDIAN
    # A neighbourhood of equal samples must not make every later deviation infinite sigmas.
    own = np.sqrt(np.nan_to_num(np.trace(covariance, axis1=-2, axis2=-1)) / 3)
    limit = threshold * np.maximum(np.maximum(spread, own), 1e-4)
    return valid & (distance > limit)
