"""Shares of joints, and of poses, that are right within a distance: 3DPCK, AUC, CPS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mocap.errors import SettingsError
from mocap.metrics.position_error import pa_joint_errors

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

PCK3D_M = 0.150
"""Threshold of 3DPCK, metres: half the size of a head (Mehta et al., 3DV 2017)."""

AUC_THRESHOLDS_M: Array = np.linspace(0.0, 0.150, 31)
"""Thresholds of the AUC: 0, 5, ..., 150 mm, as in the evaluation code of MPI-INF-3DHP."""

CPS_LIMIT_M = 0.300
"""Upper threshold of the CPS integral, metres."""


def pck3d(errors: Array, known: Mask, threshold: float = PCK3D_M) -> float:
    """Share (0..1) of the known joints whose error is below a threshold (3DPCK).

    Mehta et al., Monocular 3D human pose estimation in the wild (3DV 2017). The paper's
    errors are root-aligned, over its 14 joints; here they are whatever `errors` holds.

    Parameters
    ----------
    errors : [..., J], metres
        NaN where the prediction is missing: a missing joint is a wrong one.
    known : bool [..., J]
        Joints that the truth has and that count.
    threshold : float, metres

    Returns
    -------
    float
        NaN when nothing is known.

    Raises
    ------
    SettingsError
        A threshold that is negative or no number.
    """
    _check(threshold)
    # NaN < threshold is False: missing counts as wrong.
    return float((errors[known] < threshold).mean()) if known.any() else float("nan")


def auc3d(errors: Array, known: Mask, thresholds: Array = AUC_THRESHOLDS_M) -> float:
    """Mean of `pck3d` over thresholds (0..1): the AUC of MPI-INF-3DHP (Mehta et al., 3DV 2017)."""
    for t in thresholds:
        _check(float(t))
    if not known.any():
        return float("nan")
    ordered = np.sort(np.where(np.isfinite(errors[known]), errors[known], np.inf))
    return float(np.searchsorted(ordered, thresholds, side="left").mean() / len(ordered))


def cps(prediction: Array, truth: Array, mask: Mask | None = None, limit: float = CPS_LIMIT_M) -> float:
    """Correct poses score: the area under the share of correct poses over thresholds 0..limit, metres.

    Wandt et al., CanonPose (CVPR 2021): after Procrustes alignment a pose is correct when the
    largest error of its joints is below the threshold; the integral over 0-300 mm is the score, 300 mm
    (here 0.300 m) at best. With e the largest error of a pose that integral is the mean of
    max(limit - e, 0), exactly.

    Parameters
    ----------
    prediction, truth : [..., J, 3], metres
    mask : bool [..., J], optional
        Joints that count. Poses without a known joint are left out; a pose that lacks a joint that
        the truth has is wrong at every threshold.
    """
    _check(limit)
    known = np.isfinite(truth).all(-1)
    if mask is not None:
        known = known & mask
    errors = pa_joint_errors(prediction, truth, mask)
    worst = np.where(known, np.where(np.isfinite(errors), errors, np.inf), 0.0).max(-1)
    counted = known.any(-1)
    return float(np.maximum(limit - worst[counted], 0).mean()) if counted.any() else float("nan")


def _check(threshold: float) -> None:
    if not threshold >= 0:
        raise SettingsError("not a threshold", expected="a distance of at least 0 m", found=f"{threshold}")
