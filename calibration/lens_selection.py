"""Which distortion coefficients the data supports."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.settings import Distortion

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

_FIXED = {
    Distortion.NONE: (False, False, False, False, False),
    Distortion.K1: (True, False, False, False, False),
    Distortion.K1K2: (True, True, False, False, False),
    Distortion.K1K2P1P2: (True, True, True, True, False),
    Distortion.FULL: (True, True, True, True, True),
}
_FISHEYE = {
    Distortion.NONE: (False, False, False, False, False),
    Distortion.K1: (True, False, False, False, False),
    Distortion.K1K2: (True, True, False, False, False),
    Distortion.K1K2P1P2: (True, True, True, False, False),
    Distortion.FULL: (True, True, True, True, False),
}


def coefficients(choice: Distortion, fisheye: bool) -> Bools:
    """Which of the five coefficients are free; AUTO: all that the lens has."""
    table = _FISHEYE if fisheye else _FIXED
    return np.array(table[Distortion.FULL if choice is Distortion.AUTO else choice])


# Whether to keep a coefficient is asked in this order: what depends most on the image's corners first.
_ORDER = (4, 1, 3, 2, 0)
_FISHEYE_ORDER = (3, 2, 1, 0)
# A coefficient counts as measured if the data leaves less than this share of what was uncertain before.
_MEASURED = 0.5


def supported(covariance: Array, prior_std: Array, fisheye: bool) -> Bools:
    """The coefficients of one camera that the data measures.

    Parameters
    ----------
    covariance : float64 [5, 5]
        Posterior, with all of them and everything else free; for fisheye the fifth row is ignored.
    prior_std : float64 [5]
        What is believed before any data.
    fisheye : bool

    Returns
    -------
    bool [5]

    Notes
    -----
    A coefficient whose posterior is hardly narrower than its prior says nothing about the lens but
    disturbs what correlates with it. One that is measured and happens to be small stays: an
    information criterion would set it to zero, and the covariance of the others would then claim a
    certainty that the data does not give (principal point and tangential distortion trade off).
    """
    C = covariance.copy()
    keep = np.ones(5, bool)
    if fisheye:
        keep[4] = False
    for k in _FISHEYE_ORDER if fisheye else _ORDER:
        if np.sqrt(C[k, k]) > _MEASURED * prior_std[k]:
            keep[k] = False
            # The others' covariance once this one is known.
            C = C - np.outer(C[:, k], C[k]) / C[k, k]
    return keep
