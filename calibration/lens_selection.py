"""Which distortion coefficients the data supports."""

from __future__ import annotations

import itertools

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


def _models(fisheye: bool) -> list[tuple[bool, ...]]:
    if fisheye:
        return [_FISHEYE[d] for d in Distortion if d is not Distortion.AUTO]
    radial = ((0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1))
    return [
        (bool(k1), bool(k2), tangential, tangential, bool(k3))
        for (k1, k2, k3), tangential in itertools.product(radial, (False, True))
    ]


def supported(distortion: Array, covariance: Array, observations: int, fisheye: bool) -> Bools:
    """The coefficients worth keeping of one camera.

    Parameters
    ----------
    distortion : float64 [5]
        Estimated with all of them free.
    covariance : float64 [5, 5]
        Of those, with everything else free too; for fisheye the fifth row is ignored.
    observations : int
        Observed coordinates of this camera.
    fisheye : bool

    Returns
    -------
    bool [5]

    Notes
    -----
    Bayesian information criterion (Schwarz 1978), with the rise of the cost on setting coefficients
    to zero taken from the quadratic approximation (Wald), so that one fit judges all models.
    """
    penalty = np.log(max(observations, 3))
    best, best_score = np.ones(5, bool), np.inf
    for model in _models(fisheye):
        keep = np.array(model)
        drop = ~keep if not fisheye else ~keep & (np.arange(5) < 4)
        rise = 0.0
        if drop.any():
            d, C = distortion[drop], covariance[np.ix_(drop, drop)]
            scale = np.sqrt(np.diag(C))
            rise = float((d / scale) @ np.linalg.solve(C / scale[:, None] / scale, d / scale))
        score = rise + penalty * keep.sum()
        if score < best_score:
            best, best_score = keep, score
    return best
