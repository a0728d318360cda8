"""Two views of the same points: fundamental matrix by RANSAC, relative pose, depths; batched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

_SAMPLES = 300


def homogeneous(x: Array) -> Array:
    """[..., 2] -> [..., 3] with a one behind."""
    return np.concatenate([x, np.ones_like(x[..., :1])], -1)


def _eight_point(x: Array, y: Array, w: Array) -> Array:
    """F [m, 3, 3] of rank two with ``y^T F x = 0`` from weighted points [m, n, 2] (Hartley 1997)."""

    def normalise(p: Array) -> tuple[Array, Array]:
        total = w.sum(1)
        mean = (w[..., None] * p).sum(1) / total[:, None]
        spread = np.sqrt((w * ((p - mean[:, None]) ** 2).sum(-1)).sum(1) / total / 2) + 1e-12
        T = np.zeros((len(p), 3, 3))
        T[:, 0, 0] = T[:, 1, 1] = 1 / spread
        T[:, :2, 2], T[:, 2, 2] = -mean / spread[:, None], 1
        return homogeneous((p - mean[:, None]) / spread[:, None, None]), T

    xn, Tx = normalise(x)
    yn, Ty = normalise(y)
    rows = (yn[..., :, None] * xn[..., None, :]).reshape(*x.shape[:2], 9) * w[..., None]
    _, vectors = np.linalg.eigh(rows.transpose(0, 2, 1) @ rows)
    F = vectors[:, :, 0].reshape(-1, 3, 3)
    u, s, vt = np.linalg.svd(F)
    s[:, 2] = 0
    F = Ty.transpose(0, 2, 1) @ (u * s[:, None]) @ vt @ Tx
    return F / np.linalg.norm(F, axis=(1, 2), keepdims=True)


def sampson_distance(F: Array, x: Array, y: Array) -> Array:
    """First-order distance [m, n] of pairs x, y [n, 2] from ``y^T F x = 0`` (Hartley & Zisserman eq. 11.9)."""
    xh, yh = homogeneous(x), homogeneous(y)
    Fx, Fty = xh @ F.transpose(0, 2, 1), yh @ F
    top = np.abs((yh * Fx).sum(-1))
    return top / np.sqrt((Fx[..., :2] ** 2).sum(-1) + (Fty[..., :2] ** 2).sum(-1) + 1e-30)


def fundamental_matrix(x: Array, y: Array, tolerance: float, seed: int = 0) -> tuple[Array, Bools]:
    """F [3, 3] with ``y^T F x = 0`` and the pairs within `tolerance` of it.

    Parameters
    ----------
    x, y : float64 [n, 2]
        At least eight pairs; image coordinates in any unit.
    tolerance : float
        In that unit.
    seed : int

    Returns
    -------
    F : float64 [3, 3]
    inlier : bool [n]
    """
    rng = np.random.default_rng(seed)
    picks = np.argsort(rng.random((_SAMPLES, min(len(x), 500))), axis=1)[:, :8] * max(1, len(x) // 500)
    F = _eight_point(x[picks], y[picks], np.ones(picks.shape))
    distance = sampson_distance(F, x, y)
    best = int(np.minimum(distance / tolerance, 1).sum(1).argmin())
    inlier = distance[best] < tolerance
    F_best = F[best]
    for _ in range(5):
        if inlier.sum() < 8:
            break
        F_best = _eight_point(x[None], y[None], inlier[None].astype(float))[0]
        inlier = sampson_distance(F_best[None], x, y)[0] < tolerance
    return F_best, inlier


def relative_poses(E: Array, x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Pose and depths for essential matrices.

    Parameters
    ----------
    E : float64 [m, 3, 3]
        ``y^T E x = 0``; the singular values need not be equal.
    x, y : float64 [m, n, 2]
        Normalised image coordinates.

    Returns
    -------
    R : [m, 3, 3], t : [m, 3]
        ``X_y = R X_x + t`` with unit t; of the four solutions that with most points in front.
    points : [m, n, 3]
        In the first camera's axes.
    """
    u, _, vt = np.linalg.svd(E)
    u = u * np.sign(np.linalg.det(u))[:, None, None]
    vt = vt * np.sign(np.linalg.det(vt))[:, None, None]
    W = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    xh, yh = homogeneous(x), homogeneous(y)
    best_R, best_t = np.zeros_like(E), np.zeros((len(E), 3))
    best_points, most = np.zeros_like(xh), np.full(len(E), -1)
    for turn in (W, W.T):
        R = u @ turn @ vt
        for sign in (1.0, -1.0):
            t = sign * u[:, :, 2]
            ray = xh @ R.transpose(0, 2, 1)
            across = np.cross(yh, ray)
            depth = -(across * np.cross(yh, t[:, None])).sum(-1) / ((across**2).sum(-1) + 1e-30)
            other = (ray * depth[..., None] + t[:, None])[..., 2]
            front = ((depth > 0) & (other > 0)).sum(1)
            better = front > most
            most = np.where(better, front, most)
            best_R, best_t = np.where(better[:, None, None], R, best_R), np.where(better[:, None], t, best_t)
            best_points = np.where(better[:, None, None], xh * depth[..., None], best_points)
    return best_R, best_t, best_points
