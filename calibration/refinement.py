"""Cameras that were nudged after calibration: small rotations found from the motion itself.

A tripod that was touched turns a camera by a fraction of a degree; every point it sees is then off
in the same direction, and triangulation spreads that error over all cameras. The rotations that make
the views of the same points agree again are estimated jointly with the points (bundle adjustment
with all but the rotations known), under a prior that keeps the cameras where they were calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.camera import CameraRig
from calibration.projection import Lenses, project, project_camera, to_camera

Array = NDArray[np.float64]

_ITERATIONS = 12
_PRIOR_STD_RAD = np.radians(0.2)
# Errors of a detector are alike from frame to frame and joint to joint: so many samples of a view
# count as one independent observation at most this often.
_INDEPENDENT_SAMPLES = 300.0
_MAX_SHIFT_M = 0.5
_MIN_POINTS = 60


@dataclass(frozen=True, eq=False)
class RigCorrection:
    """Small turns of the cameras about their own centres.

    Attributes
    ----------
    rotation : float64 [V, 3]
        Rotation vectors, radians, camera axes: ``R_new = exp(rotation) R``, ``t_new = exp(rotation) t``.
    std : float64 [V, 3]
        Standard deviations, radians.
    offset_before, offset_after : float64 [V]
        What each camera sees everything off by (length of the median residual, px), without and with
        the turns.
    """

    rotation: Array
    std: Array
    offset_before: Array
    offset_after: Array

    @staticmethod
    def none(n_cameras: int) -> RigCorrection:
        """No correction was looked for."""
        zero = np.zeros((n_cameras, 3))
        unknown = np.full((n_cameras, 3), np.nan)
        return RigCorrection(zero, unknown, unknown[:, 0], unknown[:, 0])

    def apply(self, rig: CameraRig) -> CameraRig:
        """The turned rig."""
        if not self.rotation.any():
            return rig
        turn = Rotation.from_rotvec(self.rotation).as_matrix()
        cameras = tuple(replace(c, R=T @ c.R, t=T @ c.t) for c, T in zip(rig.cameras, turn, strict=True))
        return CameraRig(cameras, rig.covariance, f"{rig.world_source}; cameras turned to agree with the take")


def refine_rotations(rig: CameraRig, observations: Array, points: Array) -> RigCorrection:
    """Find the turns that make the views agree.

    Parameters
    ----------
    rig : CameraRig
    observations : [V, N, 2]
        Raw pixels of N points; NaN where a view does not see one.
    points : [N, 3]
        First estimate of the points in the world, metres; NaN where unknown.

    Returns
    -------
    RigCorrection
        None at all (zero rotation) with fewer than 60 usable points.

    Notes
    -----
    Gauss-Newton with the points eliminated by the Schur complement (Triggs et al. 2000, section 6.1);
    Cauchy weights with the scale taken from the residuals. The prior (0.2 degrees per axis) also keeps
    the scene in place: turns that move all points alike are hardly told apart by the views.
    """
    usable = np.isfinite(points).all(-1) & (np.isfinite(observations).all(-1).sum(0) >= 2)
    if usable.sum() < _MIN_POINTS:
        return RigCorrection.none(len(rig))
    observed, X = observations[:, usable], points[usable].copy()
    seen = np.asarray(np.isfinite(observed).all(-1))
    turns = np.zeros((len(rig), 3))
    X = _settle(Lenses.of(rig), observed, seen, X)
    before = _offsets(Lenses.of(rig), observed, X)
    covariance = np.full((turns.size, turns.size), np.nan)
    for _ in range(_ITERATIONS):
        lenses = Lenses.of(_turned(rig, turns))
        step, dX, covariance = _step(lenses, observed, seen, X, turns)
        # Compose on the left: the Jacobian is that of a further turn.
        turns = (Rotation.from_rotvec(step) * Rotation.from_rotvec(turns)).as_rotvec()
        X = X + dX
        if np.abs(step).max() < 1e-7:
            break
    std = np.sqrt(np.diag(covariance)).reshape(turns.shape)
    after = _offsets(Lenses.of(_turned(rig, turns)), observed, X)
    return RigCorrection(turns, std, before, after)


def _turned(rig: CameraRig, turns: Array) -> CameraRig:
    return RigCorrection(turns, turns, turns[:, 0], turns[:, 0]).apply(rig)


def _offsets(lenses: Lenses, observed: Array, X: Array) -> Array:
    residual = observed - project(lenses, X)
    seen = np.isfinite(residual).all(-1)
    medians = [np.median(r[s], axis=0) if s.any() else np.zeros(2) for r, s in zip(residual, seen, strict=True)]
    return np.linalg.norm(np.stack(medians), axis=-1)


def _linearise(lenses: Lenses, observed: Array, seen: NDArray[np.bool_], X: Array) -> tuple[Array, Array, Array, Array]:
    """Residuals [V, N, 2], their Jacobians to a turn and to the point [V, N, 2, 3], weights [V, N]."""
    camera = to_camera(lenses, X)
    pixels, J = project_camera(lenses, camera)
    good = seen & np.isfinite(pixels).all(-1)
    r = np.where(good[..., None], observed - pixels, 0.0)
    J = np.where(good[..., None, None], J, 0.0)
    # exp(w) x = x + w x x + ...: d x / d w = -[x]
    x, y, z = np.moveaxis(camera, -1, 0)
    o = np.zeros_like(x)
    cross = np.stack([np.stack([o, z, -y], -1), np.stack([-z, o, x], -1), np.stack([y, -x, o], -1)], -2)
    distance = np.linalg.norm(r, axis=-1)
    # Each camera by its own scale, as one that is off must not be voted down as a whole; but none by a
    # smaller one than all have together, or the points would follow that camera until it is never wrong.
    common = np.median(distance[good])
    own = [np.median(d[g]) if g.any() else common for d, g in zip(distance, good, strict=True)]
    scale = 1.4826 * np.maximum(own, common)[:, None] + 1e-9
    thinned = np.minimum(1.0, _INDEPENDENT_SAMPLES / np.maximum(good.sum(1, keepdims=True), 1))
    weights = thinned * good / (1 + (distance / scale) ** 2) / scale**2
    return r, np.einsum("vnij,vnjk->vnik", J, cross), np.einsum("vnij,vjk->vnik", J, lenses.R), weights


def _step(
    lenses: Lenses, observed: Array, seen: NDArray[np.bool_], X: Array, turns: Array
) -> tuple[Array, Array, Array]:
    """One Gauss-Newton step: turns [V, 3], points [N, 3], covariance of the turns [3V, 3V]."""
    r, Jw, Jx, weights = _linearise(lenses, observed, seen, X)
    V, N = weights.shape
    A = np.einsum("vn,vnki,vnkj->vij", weights, Jw, Jw)
    B = np.einsum("vn,vnki,vnkj->nvij", weights, Jw, Jx)
    C = np.einsum("vn,vnki,vnkj->nij", weights, Jx, Jx) + 1e-9 * np.eye(3)
    a = np.einsum("vn,vnki,vnk->vi", weights, Jw, r)
    c = np.einsum("vn,vnki,vnk->ni", weights, Jx, r)
    Ci = np.linalg.inv(C)
    H = np.zeros((V, 3, V, 3))
    H[np.arange(V), :, np.arange(V)] = A
    H = H.reshape(3 * V, 3 * V) + np.eye(3 * V) / _PRIOR_STD_RAD**2
    B = B.reshape(N, 3 * V, 3)
    BCi = B @ Ci
    S = H - np.einsum("nij,nkj->ik", BCi, B)
    g = a.ravel() - turns.ravel() / _PRIOR_STD_RAD**2 - np.einsum("nij,nj->i", BCi, c)
    step = np.linalg.solve(S, g)
    dX = np.einsum("nij,nj->ni", Ci, c - np.einsum("nij,i->nj", B, step))
    return step.reshape(V, 3), np.clip(dX, -_MAX_SHIFT_M, _MAX_SHIFT_M), np.linalg.inv(S)


def _settle(lenses: Lenses, observed: Array, seen: NDArray[np.bool_], X: Array) -> Array:
    """The points alone at their optimum, so that errors before and after compare like with like."""
    for _ in range(5):
        r, _, Jx, weights = _linearise(lenses, observed, seen, X)
        C = np.einsum("vn,vnki,vnkj->nij", weights, Jx, Jx) + 1e-9 * np.eye(3)
        c = np.einsum("vn,vnki,vnk->ni", weights, Jx, r)
        X = X + np.clip(np.linalg.solve(C, c[..., None])[..., 0], -_MAX_SHIFT_M, _MAX_SHIFT_M)
    return X
