"""Projection against OpenCV, its Jacobian against differences, undistortion as its inverse."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig, Lens
from calibration.projection import (
    Lenses,
    distort,
    project,
    project_with_jacobian,
    rays,
    to_camera,
    undistort,
)

BROWN = [-0.2, 0.1, 1e-3, -2e-3, 0.02]
FISHEYE = [0.05, -0.01, 0.003, -0.001, 0.0]


@pytest.fixture
def rig(rng: np.random.Generator) -> CameraRig:
    K = np.array([[1100.0, 0.5, 960.0], [0.0, 1110.0, 540.0], [0.0, 0.0, 1.0]])
    K_cv = np.where(np.arange(9).reshape(3, 3) == 1, 0.0, K)  # OpenCV's Brown model ignores the skew
    cameras = [
        Camera("brown", (1920, 1080), K_cv, BROWN, Rotation.from_rotvec([0.3, -0.2, 0.1]).as_matrix(), [0.1, 0.2, 4.0]),
        Camera(
            "fish", (1920, 1080), K_cv, FISHEYE, Rotation.from_rotvec([-0.1, 0.4, 0.2]).as_matrix(), [0, 0.2, 4.5],
            Lens.FISHEYE,
        ),
        Camera("skewed", (1920, 1080), K, [0.0] * 5, np.eye(3), [0.0, 0.0, 5.0]),
    ]  # fmt: skip
    return CameraRig(tuple(cameras))


@pytest.fixture
def points(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(40, 3)) * 0.7


def test_agrees_with_opencv(rig, points):
    pixels = project(Lenses.of(rig), points)
    brown, fish = rig.cameras[0], rig.cameras[1]
    expected = cv2.projectPoints(points, brown.R, brown.t, brown.K, brown.distortion)[0][:, 0]
    np.testing.assert_allclose(pixels[0], expected, atol=1e-9)
    rotation_vector = Rotation.from_matrix(fish.R).as_rotvec()
    expected = cv2.fisheye.projectPoints(
        points[:, None], rotation_vector, fish.t.reshape(3, 1), fish.K, fish.distortion[:4]
    )[0][:, 0]
    np.testing.assert_allclose(pixels[1], expected, atol=1e-9)


def test_jacobian_is_the_derivative(rig, points):
    lenses = Lenses.of(rig)
    _, J = project_with_jacobian(lenses, points)
    h = 1e-6
    columns = [(project(lenses, points + h * e) - project(lenses, points - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(J, np.stack(columns, -1), atol=1e-5)


def test_undistort_inverts_the_lens(rig, points):
    lenses = Lenses.of(rig)
    camera = to_camera(lenses, points)
    ideal = undistort(lenses, project(lenses, points))
    np.testing.assert_allclose(ideal, camera[..., :2] / camera[..., 2:], atol=1e-12)


def test_undistort_refuses_what_the_lens_cannot_see():
    """k1 = -0.2 folds over at r = sqrt(1 / 0.6): a pixel beyond it belongs to no ray."""
    camera = Camera("c", (100, 100), np.diag([100.0, 100.0, 1.0]), [-0.2, 0, 0, 0, 0], np.eye(3), [0, 0, 1])
    lenses = Lenses.of(CameraRig((camera,)))
    fold = np.sqrt(1 / 0.6)
    edge = distort(lenses, np.array([[[fold, 0.0]]]))[0][0, 0, 0] * 100
    inside, outside = undistort(lenses, np.array([[[0.99 * edge, 0.0], [1.05 * edge, 0.0]]]))[0]
    assert np.isfinite(inside).all()
    assert np.isnan(outside).all()


def test_rays_pass_through_the_points(rig, points):
    lenses = Lenses.of(rig)
    origin, direction = rays(lenses, project(lenses, points))
    offset = np.linalg.norm(np.cross(points - origin[:, None], direction), axis=-1)
    assert offset.max() < 1e-12
    np.testing.assert_allclose(np.linalg.norm(direction, axis=-1), 1.0)


def test_behind_the_camera_is_nan_and_missing_stays_missing(rig):
    lenses = Lenses.of(rig)
    assert np.isnan(project(lenses, np.array([[0.0, 0.0, -50.0]]))[2]).all()
    pixels = np.full((3, 2, 2), np.nan)
    assert np.isnan(undistort(lenses, pixels)).all()


def test_torch_gives_the_same_and_differentiates(rig, points):
    lenses = Lenses.of(rig).to_torch()
    x = torch.tensor(points[:5], requires_grad=True)
    np.testing.assert_allclose(project(lenses, x).detach().numpy(), project(Lenses.of(rig), points[:5]), atol=1e-9)
    assert torch.autograd.gradcheck(lambda p: project(lenses, p), x, atol=1e-4)
