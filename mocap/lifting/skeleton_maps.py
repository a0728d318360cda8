"""Between a detector's joints and the H36M-17 joints that LiftNet works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mocap.skeleton import H36M_17, Skeleton, joint_map

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SkeletonMaps:
    """Between a detector's joints and H36M-17.

    Attributes
    ----------
    to_h36m : float64 [17, J]
    from_h36m : float64 [J, 17]
        NaN rows for joints that H36M-17 does not have.
    fillable : bool [J]
    """

    to_h36m: Array
    from_h36m: Array
    fillable: Mask

    @staticmethod
    def of(skeleton: Skeleton) -> SkeletonMaps:
        """The maps of one skeleton."""
        back = joint_map(H36M_17, skeleton)
        same = np.array([j in H36M_17.joints for j in skeleton.joints])
        back[~same] = np.nan
        return SkeletonMaps(joint_map(skeleton, H36M_17), back, same & np.isfinite(back).all(-1))
