"""Where a lifted pose stands: the pelvis in camera axes, from the rays of all joints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_STEPS = 8
_RAY_STD = 0.004  # 2D error in units of the focal length: about 5 px at f = 1150 px
_HUBER = 1.5
_NEAREST = 0.3  # metres; a person nearer to the camera than this is not believed


def place_root(positions: Array, rays: Array, confidence: Array, std: Array) -> tuple[Array, Array]:
    """Confidence-weighted robust least squares of the reprojection error over the translation.

    Parameters
    ----------
    positions : [N, J, 3]
        Metres, camera axes, relative to the pelvis.
    rays : [N, J, 2]
        Undistorted x/z, y/z of the same joints; NaN where not seen.
    confidence : [N, J]
        Weights; 0 where not seen.
    std : [N, J]
        Standard deviation of `positions` across the view, metres.

    Returns
    -------
    root : float64 [N, 3]
        Metres, camera axes; NaN with fewer than three joints seen, or when they do not say.
    covariance : float64 [N, 3, 3]
        Metres squared, from the residuals' expected spread; a common error of the pose's size is
        not in it.

    Notes
    -----
    Gauss-Newton with Huber weights (Huber 1964) on x/z; the start is the linear solution.
    """
    seen = (confidence > 0) & np.isfinite(rays).all(-1) & np.isfinite(positions).all(-1)
    weight = np.where(seen, confidence, 0.0)
    rays = np.where(seen[..., None], rays, 0.0)
    positions = np.where(seen[..., None], positions, 0.0)
    root = _linear(positions, rays, weight)
    depth = np.maximum(root[:, 2], _NEAREST)
    variance = _RAY_STD**2 + (np.where(seen, std, 1.0) / depth[:, None]) ** 2
    for _ in range(_STEPS):
        J, residual = _linearise(positions, rays, root)
        whitened = np.sqrt(np.square(residual).sum(-1) / (2 * variance))
        w = weight / variance * np.minimum(1.0, _HUBER / np.maximum(whitened, 1e-9))
        H = np.einsum("njai,nj,njak->nik", J, w, J) + 1e-6 * np.eye(3)
        g = np.einsum("njai,nj,nja->ni", J, w, residual)
        root = root - np.linalg.solve(H, g[..., None])[..., 0]
        root[:, 2] = np.clip(root[:, 2], _NEAREST, 1e3)
    J, residual = _linearise(positions, rays, root)
    H = np.einsum("njai,nj,njak->nik", J, weight / variance, J) + 1e-6 * np.eye(3)
    lost = (seen.sum(-1) < 3) | (root[:, 2] <= _NEAREST)
    root[lost] = np.nan
    return root, np.linalg.inv(H)


def _linear(positions: Array, rays: Array, weight: Array) -> Array:
    """Least squares of (X + Tx) - u (Z + Tz) and the same in y."""
    u, v, w = rays[..., 0], rays[..., 1], weight
    bu = u * positions[..., 2] - positions[..., 0]
    bv = v * positions[..., 2] - positions[..., 1]
    A = np.zeros((len(rays), 3, 3))
    b = np.zeros((len(rays), 3))
    A[:, 0, 0] = A[:, 1, 1] = w.sum(-1)
    A[:, 0, 2] = A[:, 2, 0] = -(w * u).sum(-1)
    A[:, 1, 2] = A[:, 2, 1] = -(w * v).sum(-1)
    A[:, 2, 2] = (w * (u * u + v * v)).sum(-1)
    b[:, 0], b[:, 1], b[:, 2] = (w * bu).sum(-1), (w * bv).sum(-1), -(w * (u * bu + v * bv)).sum(-1)
    root = np.linalg.solve(A + 1e-9 * np.eye(3), b[..., None])[..., 0]
    root[:, 2] = np.clip(root[:, 2], 2 * _NEAREST, 1e3)
    return np.asarray(root, np.float64)


def _linearise(positions: Array, rays: Array, root: Array) -> tuple[Array, Array]:
    """Jacobian [N, J, 2, 3] and residual [N, J, 2] of x/z, y/z over the translation."""
    points = positions + root[:, None]
    z = np.maximum(points[..., 2], 0.1)
    xy = points[..., :2] / z[..., None]
    J = np.zeros((*z.shape, 2, 3))
    J[..., 0, 0] = J[..., 1, 1] = 1 / z
    J[..., 0, 2], J[..., 1, 2] = -xy[..., 0] / z, -xy[..., 1] / z
    return J, xy - rays
