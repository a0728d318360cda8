"""The linearised calibration problem: blocks of the normal equations and their solution.

Cameras carry a block of 16 parameters, target poses one of 6. A pose couples only the cameras that saw
it, so the poses are eliminated first (Schur complement, Triggs et al. 2000, section 6.1) and what
remains is a dense system of the cameras alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.projection import intrinsics_jacobian, project_camera
from calibration.rig_state import (
    CAMERA_BLOCK,
    INTRINSICS,
    POSE_BLOCK,
    ROTATION,
    TIME_OFFSET,
    TRANSLATION,
    RigState,
    rotation_matrix,
)
from calibration.view_table import ViewTable

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

# Observations linearised at a time: bounds memory at some 100 MB.
_CHUNK = 150_000
_POSE_CHUNK_NUMBERS = 4_000_000
_LEAST_POSE_DAMPING = 1e-11


def _chunks(views: ViewTable) -> Iterator[slice]:
    step = max(1, _CHUNK // max(views.seen.shape[1], 1))
    for start in range(0, len(views), step):
        yield slice(start, min(start + step, len(views)))


def _target_points(views: ViewTable, state: RigState, points: Array, part: slice) -> tuple[Array, Array, Array]:
    """Turned target points Y [m, S, 3], their places in the rig Z [m, S, 3], turn of the delay E [m, 3, 3]."""
    pose, delay = views.pose[part], state.offset[views.camera[part]][:, None]
    Y = points[views.point[part]] @ state.target_rotation[pose].transpose(0, 2, 1)
    E = rotation_matrix(state.twist[pose, :3] * delay)
    shift = state.target_translation[pose] + state.twist[pose, 3:] * delay
    return Y, Y @ E.transpose(0, 2, 1) + shift[:, None], E


def residuals(views: ViewTable, state: RigState, points: Array) -> Array:
    """Observed minus projected pixels [M, S, 2]; 0 in empty slots, NaN behind the camera."""
    out = np.zeros((*views.seen.shape, 2))
    for part in _chunks(views):
        camera = views.camera[part]
        _, Z, _ = _target_points(views, state, points, part)
        x = Z @ state.R[camera].transpose(0, 2, 1) + state.t[camera][:, None]
        pixels, _ = project_camera(state.lenses(camera), x)
        out[part] = np.where(views.seen[part][..., None], views.pixel[part] - pixels, 0.0)
    return out


def jacobian(views: ViewTable, state: RigState, points: Array, part: slice = slice(None)) -> tuple[Array, Array]:
    """Residuals [m, S, 2] of some views and d pixel / d parameters [m, S, 2, 16 + 6], zero where not seen.

    Notes
    -----
    Rotations are stepped on the left, ``R <- exp(w) R``, so that for x = R Z + t of a camera
    d x / d w = -[R Z] and, with g a row of d pixel / d x, its entries are ``(R Z) x g``.
    """
    camera, pose = views.camera[part], views.pose[part]
    R, lenses = state.R[camera], state.lenses(camera)
    Y, Z, E = _target_points(views, state, points, part)
    turned = Z @ R.transpose(0, 2, 1)
    x = turned + state.t[camera][:, None]
    pixels, G = project_camera(lenses, x)
    good = views.seen[part] & np.isfinite(pixels).all(-1)
    J = np.empty((*good.shape, 2, CAMERA_BLOCK + POSE_BLOCK))
    J[..., :INTRINSICS] = intrinsics_jacobian(lenses, x)
    J[..., ROTATION] = np.cross(turned[:, :, None], G)
    J[..., TRANSLATION] = G
    H = (G.reshape(len(G), -1, 3) @ R).reshape(G.shape)  # d pixel / d place in the rig
    velocity = np.cross(state.twist[pose, None, :3], Y @ E.transpose(0, 2, 1)) + state.twist[pose, None, 3:]
    J[..., TIME_OFFSET] = (H * velocity[:, :, None]).sum(-1)
    H_before = (H.reshape(len(H), -1, 3) @ E).reshape(H.shape)
    J[..., CAMERA_BLOCK : CAMERA_BLOCK + 3] = np.cross(Y[:, :, None], H_before)
    J[..., CAMERA_BLOCK + 3 :] = H
    J[~good] = 0.0
    return np.where(good[..., None], views.pixel[part] - pixels, 0.0), J


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Blocks of ``J^T W J`` and ``J^T W r``.

    Attributes
    ----------
    camera, pose : int64 [M]
        Of the views, sorted by pose.
    U : float64 [C, 16, 16], u : float64 [C, 16]
        Cameras.
    V : float64 [B, 6, 6], v : float64 [B, 6]
        Target poses.
    W : float64 [M, 16, 6]
        Camera x pose of each view.
    """

    camera: Ints
    pose: Ints
    U: Array
    u: Array
    V: Array
    v: Array
    W: Array

    @staticmethod
    def build(views: ViewTable, state: RigState, points: Array, weights: Array) -> NormalEquations:
        """Accumulate the blocks; `weights` [M, S] in 1/px^2."""
        C, B, M, a = len(state.t), len(state.target_translation), len(views), CAMERA_BLOCK
        U, u = np.zeros((C, a, a)), np.zeros((C, a))
        V, v, W = np.zeros((B, 6, 6)), np.zeros((B, 6)), np.empty((M, a, 6))
        for part in _chunks(views):
            r, J = jacobian(views, state, points, part)
            root = np.sqrt(weights[part])[..., None]
            r *= root
            J *= root[..., None]
            J, r = J.reshape(len(J), -1, J.shape[-1]), r.reshape(len(r), -1, 1)
            JT = J.transpose(0, 2, 1)
            H, g = JT @ J, (JT @ r)[..., 0]
            W[part] = H[:, :a, a:]
            for c in np.unique(views.camera[part]):
                mine = views.camera[part] == c
                U[c] += H[mine, :a, :a].sum(0)
                u[c] += g[mine, :a].sum(0)
            poses, first = np.unique(views.pose[part], return_index=True)
            V[poses] += np.add.reduceat(H[:, a:, a:], first)
            v[poses] += np.add.reduceat(g[:, a:], first)
        return NormalEquations(views.camera, views.pose, U, u, V, v, W)

    def reduced(self, damping: float, free: NDArray[np.bool_]) -> ReducedSystem:
        """Eliminate the poses; `free` bool [C, 16] are the camera parameters that may move."""
        C, a = self.u.shape
        scale = np.arange(POSE_BLOCK)
        V = self.V.copy()
        # The least turn of damping keeps poses solvable that too few points hold.
        V[:, scale, scale] *= 1 + max(damping, _LEAST_POSE_DAMPING)
        # Poses that nothing sees keep still.
        empty = V[:, scale, scale].max(1) <= 0
        V[empty] = np.eye(POSE_BLOCK)
        Vi: Array = np.linalg.inv(V).astype(np.float64)
        L = np.linalg.cholesky(0.5 * (Vi + Vi.transpose(0, 2, 1)))
        S = np.zeros((C, a, C, a))
        U = self.U.copy()
        diagonal = np.arange(a)
        U[:, diagonal, diagonal] *= 1 + damping
        S[np.arange(C), :, np.arange(C)] = U
        flat_S = S.reshape(C * a, C * a)
        step = max(1, _POSE_CHUNK_NUMBERS // (C * a * POSE_BLOCK))
        for start in range(0, len(V), step):
            part = slice(*np.searchsorted(self.pose, (start, start + step)))
            pose = self.pose[part]
            dense = np.zeros((min(step, len(V) - start), C, a, POSE_BLOCK))
            dense[pose - start, self.camera[part]] = self.W[part] @ L[pose]
            flat = dense.reshape(len(dense), C * a, POSE_BLOCK).transpose(1, 0, 2).reshape(C * a, -1)
            flat_S -= flat @ flat.T
        right = self.u.copy()
        eliminated = np.einsum("bij,bj->bi", Vi, self.v)
        np.subtract.at(right, self.camera, np.einsum("mij,mj->mi", self.W, eliminated[self.pose]))
        chosen = np.flatnonzero(free.ravel())
        return ReducedSystem(flat_S[np.ix_(chosen, chosen)], right.ravel()[chosen], chosen, Vi)

    def pose_steps(self, reduced: ReducedSystem, cameras: Array) -> Array:
        """Back-substitution: steps [B, 6] of the poses for steps [C, 16] of the cameras."""
        right = self.v.copy()
        np.subtract.at(right, self.pose, np.einsum("mij,mi->mj", self.W, cameras[self.camera]))
        return np.einsum("bij,bj->bi", reduced.pose_inverse, right)


@dataclass(frozen=True, eq=False)
class ReducedSystem:
    """The system of the cameras alone.

    Attributes
    ----------
    S : float64 [D, D], right : float64 [D]
    chosen : int64 [D]
        Which of the C x 16 camera parameters these are.
    pose_inverse : float64 [B, 6, 6]
    """

    S: Array
    right: Array
    chosen: Ints
    pose_inverse: Array

    def solve(self, n_cameras: int) -> Array:
        """Steps [C, 16]; scaled to unit diagonal first, as pixels, radians and coefficients differ by 1e6."""
        step = np.zeros(n_cameras * CAMERA_BLOCK)
        if len(self.chosen):
            scale = 1 / np.sqrt(np.maximum(np.diag(self.S), 1e-300))
            step[self.chosen] = scale * np.linalg.solve(self.S * scale[:, None] * scale, scale * self.right)
        return step.reshape(n_cameras, CAMERA_BLOCK)

    def covariance(self) -> Array:
        """Inverse of S [D, D]."""
        scale = 1 / np.sqrt(np.maximum(np.diag(self.S), 1e-300))
        inverse = np.linalg.inv(self.S * scale[:, None] * scale)
        return 0.5 * (inverse + inverse.T) * scale[:, None] * scale
