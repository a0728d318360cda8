"""Fitting poses to rays and bones, and smoothing rays."""

from __future__ import annotations

import numpy as np
import pytest

from mocap.lifting.refine import refine
from mocap.lifting.smoothing import smooth_window
from mocap.skeleton import H36M_17


def scene(windows, rng, std=0.05):
    truth, root = windows["positions"], windows["root"]
    points = truth + root[:, None]
    rays = points[..., :2] / points[..., 2:]
    predicted = truth + rng.normal(0, std, truth.shape)
    predicted[:, 0] = 0
    covariance = np.tile(np.eye(3) * std**2, (*truth.shape[:2], 1, 1))
    return truth, root, rays, predicted, covariance


def test_rays_and_bones_correct_a_prediction(windows, rng):
    truth, root, rays, predicted, covariance = scene(windows, rng)
    ray_std = np.full(rays.shape[:2], 1e-3)
    unknown = np.full_like(windows["bone_lengths"], np.nan)
    before = np.linalg.norm(predicted - truth, axis=-1).mean()
    with_bones = refine(predicted, covariance, root + [0, 0, 0.1], rays, ray_std, windows["bone_lengths"])
    without = refine(predicted, covariance, root + [0, 0, 0.1], rays, ray_std, unknown)
    error = np.linalg.norm(with_bones.positions - truth, axis=-1).mean()
    assert error < 0.6 * before
    assert error < np.linalg.norm(without.positions - truth, axis=-1).mean() < 0.85 * before
    assert np.linalg.norm(with_bones.root - root, axis=-1).mean() < 0.06
    bones = np.linalg.norm(
        with_bones.positions[:, H36M_17.bone_index[:, 1]] - with_bones.positions[:, H36M_17.bone_index[:, 0]], axis=-1
    )
    assert np.abs(bones / windows["bone_lengths"] - 1).mean() < 0.03
    assert (with_bones.positions[:, 0] == 0).all()
    assert (np.linalg.eigvalsh(with_bones.covariance) > 0).all()


def test_the_truth_stays_where_it_is(windows, rng):
    truth, root, rays, _, covariance = scene(windows, rng)
    bones = np.linalg.norm(truth[:, H36M_17.bone_index[:, 1]] - truth[:, H36M_17.bone_index[:, 0]], axis=-1)
    bones = 0.5 * (bones + bones[:, H36M_17.mirror[1:] - 1])
    fit = refine(truth, covariance, root, rays, np.full(rays.shape[:2], 1e-3), bones)
    assert np.linalg.norm(fit.positions - truth, axis=-1).max() < 0.01
    np.testing.assert_allclose(fit.root, root, atol=0.05)


def test_without_rays_only_bones_count(windows, rng):
    truth, root, rays, predicted, covariance = scene(windows, rng)
    nothing = np.full(rays.shape[:2], np.inf)
    fit = refine(predicted, covariance, root, rays, nothing, windows["bone_lengths"])
    assert np.linalg.norm(fit.positions - truth, axis=-1).mean() < np.linalg.norm(predicted - truth, axis=-1).mean()
    np.testing.assert_allclose(fit.root, root, atol=1e-6)


def test_empty_batch():
    fit = refine(
        np.zeros((0, 17, 3)), np.zeros((0, 17, 3, 3)), np.zeros((0, 3)), np.zeros((0, 17, 2)), np.zeros((0, 17)),
        np.zeros((0, 16)),
    )  # fmt: skip
    assert fit.positions.shape == (0, 17, 3)


@pytest.mark.parametrize("outliers", [0.0, 0.1])
def test_smoothing_takes_noise_away_and_knows_how_much_is_left(rng, outliers):
    t = np.arange(27) - 13
    path = 0.1 + 2e-3 * t + 3e-5 * t**2
    truth = np.tile(path[None, :, None, None], (300, 1, 17, 2))
    noisy = truth + rng.normal(0, 0.004, truth.shape)
    far = rng.random(truth.shape[:3]) < outliers
    noisy[far] += rng.normal(0, 0.1, (far.sum(), 2))
    smooth = smooth_window(noisy, np.ones(noisy.shape[:3]))
    error = smooth.middle - truth[:, 13]
    np.testing.assert_array_equal(smooth.middle.astype(np.float32), smooth.rays[:, 13])
    # A quadratic known to be one would leave 0.29 of the noise at the middle of 27 frames.
    assert np.median(np.abs(error)) < 0.45 * np.median(np.abs(noisy - truth)[:, 13])
    assert np.square(error).mean() < 0.25 * np.square((noisy - truth)[:, 13]).mean()
    # 0.6745 of a standard deviation is the median of a Gaussian's absolute value.
    assert 0.6 < np.median(np.abs(error)) / 0.6745 / smooth.std.mean() < 1.2


@pytest.mark.parametrize("noise", [0.0, 0.004])
def test_smoothing_follows_fast_motion_beside_still_joints(rng, noise):
    """A hand shaken three times a second, 0.1 of the focal length to and fro, and a body that stands."""
    t = (np.arange(27) - 13) / 50
    phase = rng.uniform(0, 2 * np.pi, (200, 1))
    truth = np.zeros((200, 27, 17, 2))
    truth[:, :, 16, 0] = 0.05 * np.sin(2 * np.pi * 3 * t + phase)
    noisy = truth + rng.normal(0, 1, truth.shape) * noise
    smooth = smooth_window(noisy, np.ones(truth.shape[:3]))
    error = np.abs(smooth.middle - truth[:, 13])
    assert np.median(error[:, 16]) < 0.7 * 0.6745 * noise + 3e-4
    assert np.median(error[:, :16]) < 0.4 * 0.6745 * noise + 1e-5
    assert (smooth.std[:, 16] > smooth.std[:, :16].mean(1)).mean() > 0.9


def test_unseen_joints_have_no_ray_and_seen_neighbours_stand_in(rng):
    rays = np.full((5, 27, 17, 2), 0.1)
    confidence = np.ones((5, 27, 17))
    confidence[:, :, 3] = 0
    confidence[:, 13, 4] = 0
    smooth = smooth_window(rays, confidence)
    found, std = smooth.middle, smooth.std
    assert np.isinf(std[:, 3]).all()
    np.testing.assert_allclose(found[:, 4], 0.1, atol=1e-3)
    assert (std[:, 4] >= std[:, 5]).all()


def test_a_single_frame_is_trusted_little():
    alone = smooth_window(np.full((2, 1, 17, 2), 0.1), np.ones((2, 1, 17)))
    np.testing.assert_allclose(alone.rays, 0.1, atol=1e-6)
    assert (alone.std > 0.003).all()
    confidence = np.zeros((2, 27, 17))
    confidence[:, 13] = 1
    among = smooth_window(np.full((2, 27, 17, 2), 0.1), confidence)
    np.testing.assert_allclose(among.middle, 0.1, atol=1e-6)
    assert (among.std > 0.003).all()
