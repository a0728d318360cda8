"""What the 2D points of single views say about lifted joints: where they are across the ray."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.projection import Lenses

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_GATE = 9.0  # squared Mahalanobis distance (2 degrees of freedom): beyond, a 2D point is not believed


@dataclass(frozen=True, eq=False)
class View:
    """One view of one person over T rows.

    Attributes
    ----------
    rays : float64 [T, 17, 2]
        Undistorted x/z, y/z; NaN where not seen.
    confidence : float64 [T, 17]
    noise : float64 [T, 17]
        Standard deviation of the rays.
    lenses : Lenses
        Of this one view.
    """

    rays: Array
    confidence: Array
    noise: Array
    lenses: Lenses


def snap_to_rays(mean: Array, covariance: Array, views: list[View]) -> tuple[Array, Array, Mask]:
    """Pull joints to the rays that see them, as far as noise and covariance say (Kalman update).

    Returns
    -------
    mean, covariance
    used : bool [V, T, 17]
        2D points that agree.
    """
    mean, covariance = mean.copy(), covariance.copy()
    used = np.zeros((len(views), *mean.shape[:2]), bool)
    for v, view in enumerate(views):
        R, t = view.lenses.R[0], view.lenses.t[0]
        camera = mean @ R.T + t
        row, joint = np.nonzero(np.isfinite(camera).all(-1) & (camera[..., 2] > 0.2) & (view.confidence > 0))
        point = camera[row, joint]
        z = point[:, 2]
        J = np.zeros((len(row), 2, 3))
        J[:, 0, 0] = J[:, 1, 1] = 1 / z
        J[:, :, 2] = -point[:, :2] / z[:, None] ** 2
        J = J @ R
        residual = view.rays[row, joint] - point[:, :2] / z[:, None]
        C = covariance[row, joint]
        S = J @ C @ np.swapaxes(J, 1, 2) + view.noise[row, joint, None, None] ** 2 * np.eye(2)
        inverse = np.linalg.inv(S)
        agrees = np.einsum("ni,nij,nj->n", residual, inverse, residual) < _GATE
        row, joint = row[agrees], joint[agrees]
        gain = (C @ np.swapaxes(J, 1, 2) @ inverse)[agrees]
        mean[row, joint] += np.einsum("nij,nj->ni", gain, residual[agrees])
        updated = C[agrees] - gain @ J[agrees] @ C[agrees]
        covariance[row, joint] = 0.5 * (updated + np.swapaxes(updated, 1, 2))
        used[v, row, joint] = True
    return mean, covariance, used
