"""Whether two poses or regions of one frame are the same person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.skeleton import LIMBS_12, Skeleton

# COCO's per-joint fall-off (0.16 of the square root of the person's area, on average over limbs), as a
# fraction of the region's side: a standing person covers about 12 % of the region.
_FALL_OFF = 0.055


def similarity(
    a: NDArray[np.float64], b: NDArray[np.float64], region: NDArray[np.float64], skeleton: Skeleton
) -> NDArray[np.float64]:
    """Object keypoint similarity of poses, whichever way round left and right are labelled.

    Parameters
    ----------
    a, b : float [..., J, 2]
        Px.
    region : float [..., >= 3]
        Region of one of them (x, y, size, ...): its size is the scale.
    skeleton : Skeleton

    Returns
    -------
    float64 [...]
        0..1 over the shoulders, elbows, wrists, hips, knees and ankles; 0 where a pose is NaN.

    Notes
    -----
    COCO keypoint evaluation: the mean of exp(-d^2 / 2 s^2 k^2), with one k for all joints.
    """
    joints = np.array(sorted({skeleton.index(j) for limb in LIMBS_12 for j in limb}))
    scale = _FALL_OFF * region[..., 2, None]
    straight = np.exp(-(((a - b)[..., joints, :]) ** 2).sum(-1) / (2 * scale**2)).mean(-1)
    crossed = np.exp(-((a[..., joints, :] - b[..., skeleton.mirror[joints], :]) ** 2).sum(-1) / (2 * scale**2)).mean(-1)
    return np.nan_to_num(np.maximum(straight, crossed))


def region_overlap(region: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of a region [4] with others [n, 4], as upright squares."""
    low, high = region[:2] - region[2] / 2, region[:2] + region[2] / 2
    lows, highs = others[:, :2] - others[:, 2:3] / 2, others[:, :2] + others[:, 2:3] / 2
    shared = np.clip(np.minimum(high, highs) - np.maximum(low, lows), 0, None).prod(-1)
    return shared / (region[2] ** 2 + others[:, 2] ** 2 - shared)
