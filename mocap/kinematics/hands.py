"""The turn of a hand about the forearm (pronation and supination) from uncertain knuckles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mocap.kinematics.rotations import smooth_within

Array = NDArray[np.float64]

# Error of a body detector's knuckle (metres, one standard deviation per axis). The first and last
# knuckle of a hand lie some 70 mm apart, but detectors put them 20 to 40 mm apart: what is left of
# the distance tells how much their direction is worth.
_KNUCKLE_STD_M = 0.015

# How far hands turn from neutral (thumb towards the upper arm) in everyday motion, one standard
# deviation; the limits are near 80 degrees both ways (Boone & Azen, J. Bone Joint Surg. 61-A, 1979).
_TURN_STD = np.radians(45.0)

FOREARM_SHARE = 0.5
"""Part of a hand's turn that its forearm takes. Really the forearm's far end turns all the way and its
near end not at all; one bone that takes half of it wrings the skin neither at the wrist nor the elbow."""


def hand_turn(across: Array, palm: Array, out: Array, parts: list[slice], sigma: float) -> Array:
    """Most likely turn of a hand about its own axis.

    Parameters
    ----------
    across : float64 [T, 3] m
        From the last to the first knuckle, in the hand's axes before it turns; NaN where not seen.
    palm : float64 [3]
        Direction of `across` in the rest pose.
    out : float64 [3]
        The hand's own axis, away from the wrist.
    parts : list of slice
        Continuous parts of the recording.
    sigma : float
        Samples (one standard deviation) over which the knuckles are averaged.

    Returns
    -------
    float64 [T], radians
        Less than 90 degrees either way, without jumps; towards 0 the less the knuckles tell.

    Notes
    -----
    Maximum a posteriori of an angle with von Mises prior and likelihood (Mardia & Jupp, Directional
    Statistics): the direction of the sum of unit vectors, each weighted by its concentration, which
    for small errors is one over the variance. What points behind the limits counts as on them, so
    that an estimate never crosses from one limit to the other.
    """
    seen = np.nan_to_num(np.stack([across @ palm, across @ np.cross(out, palm)], -1))
    seen[:, 0] = np.maximum(seen[:, 0], 0.0)
    length = np.linalg.norm(seen, axis=-1, keepdims=True)
    weighted = smooth_within(seen * length / (2 * _KNUCKLE_STD_M**2), parts, sigma)
    return np.arctan2(weighted[:, 1], weighted[:, 0] + _TURN_STD**-2)


def turn_about(axis: Array, angle: Array) -> Array:
    """Rotations [T, 3, 3] about a unit axis [3] by angles [T]."""
    return Rotation.from_rotvec(angle[:, None] * axis).as_matrix()
