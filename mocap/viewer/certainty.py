"""How certain joints are, as colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.types import Trajectories3D

Array = NDArray[np.float64]

# Ends of the scale of certainty, metres (one standard deviation along the worst axis).
CERTAIN_M, UNCERTAIN_M = 0.003, 0.1
# Cividis (Nunez, Anderton & Renslow 2018), from uncertain to certain: its brightness rises all along, so that it
# reads the same to the colour-blind and on paper.
_SCALE = np.array([(0.00, 0.14, 0.31), (0.26, 0.31, 0.42), (0.49, 0.49, 0.47), (0.74, 0.69, 0.39), (1.00, 0.91, 0.27)])


def standard_deviation(result: Trajectories3D, t: int) -> Array:
    """Standard deviation [P, J] along the worst axis of the world, metres; NaN where unknown."""
    variance = np.diagonal(result.covariance[t].astype(np.float64), axis1=-2, axis2=-1).max(-1)
    return np.asarray(np.sqrt(np.where(variance > 0, variance, np.nan)))


def certainty_colours(std: Array) -> Array:
    """Colours [..., 3] of standard deviations in metres, on a logarithmic scale; grey where unknown."""
    share = np.log(UNCERTAIN_M / np.maximum(std, 1e-9)) / np.log(UNCERTAIN_M / CERTAIN_M)
    at = np.clip(np.nan_to_num(share), 0, 1)
    knots = np.linspace(0, 1, len(_SCALE))
    colours = np.stack([np.interp(at, knots, _SCALE[:, i]) for i in range(3)], -1)
    return np.where(np.isfinite(std)[..., None], colours, 0.6)
