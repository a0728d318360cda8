"""A person's bone lengths, from triangulated frames or a prior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.skeleton import H36M_17

Array = NDArray[np.float64]

MEAN_BONES = (
    0.133, 0.448, 0.459, 0.133, 0.448, 0.459, 0.236, 0.258, 0.120, 0.115,
    0.151, 0.277, 0.249, 0.151, 0.277, 0.249,
)  # fmt: skip
"""Mean H36M-17 bone lengths (m) of the CMU training subjects, in the order of `H36M_17.bones`."""

LONG_BONES = (1, 2, 4, 5, 6, 7, 11, 12, 14, 15)
"""Thighs, shins, spine and arms: bones that all joint definitions agree on best; they say how big a person is."""

MEAN_STATURE = 1.72
"""Stature (m) these add up to: ankle to head joint, plus foot and crown."""

ASSUMED_SIZE = 1.70 / MEAN_STATURE
"""Size of an unknown person over the mean training subject's: between women and men, as `LiftingSettings.stature`."""

_ENOUGH = 10  # frames in which a bone must have been measured


def known_bones(joints: Array, stature: float) -> Array:
    """Bone lengths of one person.

    Parameters
    ----------
    joints : [T, 17, 3]
        Triangulated, metres; NaN where missing.
    stature : float
        Assumed body height (m) where no bone was measured.

    Returns
    -------
    float64 [16], metres
        Medians over the frames; left and right share theirs; bones that were not measured follow
        the prior, scaled by those that were.
    """
    prior = np.array(MEAN_BONES)
    lengths = np.linalg.norm(joints[:, H36M_17.bone_index[:, 1]] - joints[:, H36M_17.bone_index[:, 0]], axis=-1)
    partner = H36M_17.mirror[1:] - 1
    measured = np.full(len(prior), np.nan)
    for bone in range(len(prior)):
        both = lengths[:, [bone, partner[bone]]]
        both = both[np.isfinite(both)]
        if len(both) >= _ENOUGH:
            measured[bone] = np.median(both)
    # Noise and wrong people make bones that nobody has.
    measured[(measured < 0.5 * prior) | (measured > 1.6 * prior)] = np.nan
    has = np.isfinite(measured)
    scale = np.median(measured[has] / prior[has]) if has.any() else stature / MEAN_STATURE
    return np.where(has, measured, scale * prior)
