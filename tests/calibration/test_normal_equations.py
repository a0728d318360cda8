"""The linearised problem against finite differences and against the dense solution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.normal_equations import NormalEquations, jacobian, residuals
from calibration.rig_state import CAMERA_BLOCK, POSE_BLOCK, RigState, rotation_matrix
from calibration.view_table import ViewTable


def small_problem(fisheye: bool) -> tuple[ViewTable, RigState, np.ndarray]:
    """Two cameras, three poses, five points; everything in front; targets in motion, clocks off."""
    rng = np.random.default_rng(5)
    points = rng.uniform(-0.3, 0.3, (5, 3))
    lens = [0.05, -0.03, 0.01, 0.02, 0.0] if fisheye else [-0.2, 0.08, 0.01, -0.02, 0.03]
    intrinsics = np.tile(np.r_[900.0, 950, 600, 400, lens], (2, 1))
    state = RigState(
        intrinsics, rotation_matrix(rng.normal(0, 0.2, (2, 3))), rng.normal(0, 0.1, (2, 3)), np.array([0.02, -0.03]),
        rotation_matrix(rng.normal(0, 1, (3, 3))), rng.normal(0, 0.2, (3, 3)) + [0, 0, 2], rng.normal(0, 1, (3, 6)),
        np.full(2, fisheye),
    )  # fmt: skip
    pose, camera = np.repeat(np.arange(3), 2), np.tile(np.arange(2), 3)
    point = np.tile(np.arange(5), (6, 1))
    seen = rng.random((6, 5)) < 0.9
    return (
        ViewTable(camera, pose, point, rng.normal(600, 20, (6, 5, 2)), seen, np.zeros((6, 5), np.int64)),
        state,
        points,
    )


@pytest.mark.parametrize("fisheye", [False, True])
def test_jacobian_against_differences(fisheye: bool) -> None:
    views, state, points = small_problem(fisheye)
    r, J = jacobian(views, state, points)
    assert np.allclose(r, residuals(views, state, points))
    for k in range(CAMERA_BLOCK + POSE_BLOCK):
        h = 1e-6 if k >= 4 else 1e-3
        ends = []
        for sign in (1, -1):
            cameras, poses = np.zeros((2, CAMERA_BLOCK)), np.zeros((3, POSE_BLOCK))
            if k < CAMERA_BLOCK:
                cameras[:, k] = sign * h
            else:
                poses[:, k - CAMERA_BLOCK] = sign * h
            ends.append(residuals(views, state.moved(cameras, poses), points))
        expected = -(ends[0] - ends[1]) / (2 * h)
        assert np.abs(J[..., k] - expected).max() < 1e-5 * max(1.0, np.abs(expected).max()), k


def test_schur_complement_against_the_dense_system() -> None:
    views, state, points = small_problem(False)
    rng = np.random.default_rng(6)
    weights = views.seen * rng.uniform(0.5, 2, views.seen.shape)
    free = np.ones((2, CAMERA_BLOCK), bool)
    free[0, 9:] = False
    free[:, 4:9] = False
    equations = NormalEquations.build(views, state, points, weights)
    damping = 1e-3
    reduced = equations.reduced(damping, free)
    cameras = reduced.solve(2)
    poses = equations.pose_steps(reduced, cameras)

    r, J = jacobian(views, state, points)
    total = 2 * CAMERA_BLOCK + 3 * POSE_BLOCK
    A = np.zeros((*r.shape, total))
    for m, (c, b) in enumerate(zip(views.camera, views.pose, strict=True)):
        A[m, ..., c * CAMERA_BLOCK : (c + 1) * CAMERA_BLOCK] = J[m, ..., :CAMERA_BLOCK]
        A[m, ..., 2 * CAMERA_BLOCK + b * POSE_BLOCK :][..., :POSE_BLOCK] = J[m, ..., CAMERA_BLOCK:]
    root = np.sqrt(weights)[..., None]
    A, y = (A * root[..., None]).reshape(-1, total), (r * root).ravel()
    keep = np.r_[np.flatnonzero(free.ravel()), np.arange(2 * CAMERA_BLOCK, total)]
    H = A[:, keep].T @ A[:, keep]
    H[np.diag_indices_from(H)] *= 1 + damping
    step = np.linalg.solve(H, A[:, keep].T @ y)
    assert np.allclose(cameras.ravel()[free.ravel()], step[: free.sum()], rtol=1e-6, atol=1e-9)
    assert np.allclose(poses.ravel(), step[free.sum() :], rtol=1e-6, atol=1e-9)
    assert np.allclose(reduced.covariance(), np.linalg.inv(H)[: free.sum(), : free.sum()], rtol=1e-5, atol=1e-9)


def test_parts_give_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the views are cut into chunks, the equations are the same."""
    views, state, points = small_problem(True)
    whole = NormalEquations.build(views, state, points, views.seen.astype(float))
    monkeypatch.setattr("calibration.normal_equations._CHUNK", 5)
    monkeypatch.setattr("calibration.normal_equations._POSE_CHUNK_NUMBERS", 1)
    parts = NormalEquations.build(views, state, points, views.seen.astype(float))
    for name in ("U", "u", "V", "v", "W"):
        assert np.allclose(getattr(whole, name), getattr(parts, name))
    free = np.ones((2, CAMERA_BLOCK), bool)
    free[0] = False
    assert np.allclose(whole.reduced(0.1, free).S, parts.reduced(0.1, free).S)


def test_points_behind_a_camera_count_as_nan() -> None:
    views, state, points = small_problem(False)
    behind = replace(state, target_translation=state.target_translation * [1, 1, -1])
    assert np.isnan(residuals(views, behind, points)[views.seen]).all()
    _, J = jacobian(views, behind, points)
    assert not J.any()
