"""The axis about which an elbow or a knee bends, also where the limb is straight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.kinematics.rotations import smooth_within, unit

Array = NDArray[np.float64]

# Error of the bend that positions tell, radians (one standard deviation): about 1 cm of a joint.
_BEND_STD = 0.06

ARM_TURN_STD = float(np.radians(45.0))
"""How far an arm turns about itself from where the chest would have it, radians (one standard deviation)."""
LEG_TURN_STD = float(np.radians(20.0))
"""The same of a leg, from where hips and foot would have it: hips turn by 40 to 50 degrees at most
(Boone & Azen, J. Bone Joint Surg. 61-A, 1979)."""

# Elbows and knees do not bend backwards: up to the first angle (radians) what looks so is error or
# hyperextension; beyond the second the whole limb has turned.
_BACKWARD = (np.radians(20.0), np.radians(40.0))


def with_foot(expected: Array, foot: Array, lower: Array, parts: list[slice], sigma: float) -> Array:
    """A knee's hinge [T, 3] as hips and foot together would have it.

    A foot points across the hinge of its knee; the more so the less it points along the shank.

    Parameters
    ----------
    expected : float64 [T, 3]
        Unit direction of the hinge as the hips would have it.
    foot, lower : float64 [T, 3]
        From the ankle to the toes and from the knee to the ankle; NaN where not seen.
    parts, sigma
        As of `bending_axis`.

    Returns
    -------
    float64 [T, 3]
        Of unit length.
    """
    shank = np.nan_to_num(unit(lower))
    across = np.nan_to_num(np.cross(unit(foot), shank))
    return unit(expected + _smooth_about(shank, across, expected, parts, sigma))


def bending_axis(
    upper: Array, lower: Array, expected: Array, turn_std: float, parts: list[slice], sigma: float
) -> Array:
    """Direction of a limb's hinge in the world.

    Parameters
    ----------
    upper, lower : float64 [T, 3]
        Along the two bones; NaN where not seen.
    expected : float64 [T, 3]
        Unit direction of the hinge as far as other bones tell it.
    turn_std : float
        Error of `expected`, radians (one standard deviation).
    parts : list of slice
        Continuous parts of the recording.
    sigma : float
        Samples (one standard deviation) over which the bend is averaged.

    Returns
    -------
    float64 [T, 3]
        Not of unit length; never opposite to `expected` while the limb is nearly straight.

    Notes
    -----
    The seen axis, the normal of the plane of both bones, is uncertain by the error of the positions
    over the bend; it is weighed against `expected` as two directions with von Mises errors are
    (Mardia & Jupp, Directional Statistics): each by its concentration.
    """
    a, b = np.nan_to_num(unit(upper)), np.nan_to_num(unit(lower))
    normal = np.cross(a, b)
    angle = np.arctan2(np.linalg.norm(normal, axis=-1), (a * b).sum(-1))[:, None]
    small = np.clip((_BACKWARD[1] - angle) / (_BACKWARD[1] - _BACKWARD[0]), 0.0, 1.0)
    backward = np.minimum((normal * expected).sum(-1, keepdims=True), 0.0)
    normal = normal - small * backward * expected
    weight = np.linalg.norm(normal, axis=-1, keepdims=True) / _BEND_STD**2
    return _smooth_about(a, normal * weight, expected, parts, sigma) + expected / turn_std**2


def _smooth_about(axis: Array, v: Array, reference: Array, parts: list[slice], sigma: float) -> Array:
    """Gaussian mean over time of what of `v` [T, 3] lies across `axis`, as seen from `reference`.

    In the world's axes a person who turns quickly would turn away from under the mean.
    """
    side = np.cross(axis, reference)
    turned = np.stack([(v * reference).sum(-1), (v * side).sum(-1)], -1)
    mean = smooth_within(turned, parts, sigma)
    return mean[:, :1] * reference + mean[:, 1:] * side
