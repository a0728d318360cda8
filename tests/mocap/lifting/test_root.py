"""Placing a pose by its rays."""

from __future__ import annotations

import numpy as np

from mocap.lifting.root import place_root


def scene(rng, n=50):
    poses = rng.normal(0, 0.35, (n, 17, 3))
    poses[:, 0] = 0
    root = rng.normal(0, 0.5, (n, 3)) + [0, 0, 5]
    points = poses + root[:, None]
    return poses, root, points[..., :2] / points[..., 2:]


def test_exact_rays_give_the_exact_place(rng):
    poses, root, rays = scene(rng)
    found, covariance = place_root(poses, rays, np.ones((50, 17)), np.full((50, 17), 0.03))
    np.testing.assert_allclose(found, root, atol=1e-6)
    assert (np.linalg.eigvalsh(covariance) > 0).all()
    assert (covariance[:, 2, 2] > covariance[:, 0, 0]).all()


def test_outliers_and_missing_joints_hardly_move_it(rng):
    poses, root, rays = scene(rng)
    rays[:, 3] += 0.2
    rays[:, 7] = np.nan
    confidence = np.ones((50, 17))
    confidence[:, 9] = 0
    rays[:, 9] = 1e3
    found, _ = place_root(poses, rays, confidence, np.full((50, 17), 0.03))
    plain = np.median(np.linalg.norm(found - root, axis=1))
    least_squares = []
    for pose, ray, true in zip(poses, rays, root, strict=True):
        keep = [j for j in range(17) if j not in (7, 9)]
        A = np.concatenate([[[1, 0, -ray[j, 0]], [0, 1, -ray[j, 1]]] for j in keep])
        b = np.concatenate([ray[j] * pose[j, 2] - pose[j, :2] for j in keep])
        least_squares.append(np.linalg.norm(np.linalg.lstsq(A, b, rcond=None)[0] - true))
    assert plain < 0.25 * np.median(least_squares)


def test_covariance_says_how_far_off_noise_puts_it(rng):
    poses, root, rays = scene(rng, 2000)
    noisy = rays + rng.normal(0, 0.004, rays.shape)
    found, covariance = place_root(poses, noisy, np.ones((2000, 17)), np.zeros((2000, 17)))
    distance = np.einsum("ni,nij,nj->n", found - root, np.linalg.inv(covariance), found - root)
    assert 2.5 < distance.mean() < 3.6  # chi squared with 3 degrees of freedom; Huber costs a little


def test_two_rays_say_nothing(rng):
    poses, _, rays = scene(rng)
    confidence = np.zeros((50, 17))
    confidence[:, :2] = 1
    found, _ = place_root(poses, rays, confidence, np.full((50, 17), 0.03))
    assert np.isnan(found).all()
