"""Fitting poses to rays and bones, and smoothing rays."""

from __future__ import annotations

import numpy as np
import pytest

from mocap.lifting.refine import refine
from mocap.lifting.smoothing import smooth_window
from mocap.skeleton import H36M_17

COUPLING = np.tile(np.eye(48), (2, 1, 1))


def scene(windows, rng, std=0.05):
    truth, root = windows["positions"], windows["root"]
    points = truth + root[:, None]
    rays = points[..., :2] / points[..., 2:]
    predicted = truth + rng.normal(0, std, truth.shape)
    predicted[:, 0] = 0
    return truth, root, rays, predicted, np.full((*truth.shape[:2], 2), std)


def test_rays_and_bones_correct_a_prediction(windows, rng):
    truth, root, rays, predicted, spread = scene(windows, rng)
    ray_std = np.full(rays.shape[:2], 1e-3)
    unknown = np.full_like(windows["bone_lengths"], np.nan)
    before = np.linalg.norm(predicted - truth, axis=-1).mean()
    with_bones = refine(predicted, spread, COUPLING, root + [0, 0, 0.1], rays, ray_std, windows["bone_lengths"])
    without = refine(predicted, spread, COUPLING, root + [0, 0, 0.1], rays, ray_std, unknown)
    error = np.linalg.norm(with_bones.positions - truth, axis=-1).mean()
    assert error < 0.6 * before
    assert error < np.linalg.norm(without.positions - truth, axis=-1).mean() < 0.85 * before
    assert np.linalg.norm(with_bones.root - root, axis=-1).mean() < 0.06
    bones = np.linalg.norm(
        with_bones.positions[:, H36M_17.bone_index[:, 1]] - with_bones.positions[:, H36M_17.bone_index[:, 0]], axis=-1
    )
    assert np.abs(bones / windows["bone_lengths"] - 1).mean() < 0.03
    assert (with_bones.positions[:, 0] == 0).all()
    assert (np.linalg.eigvalsh(with_bones.covariance[:, 1:]) > 0).all()
    assert (with_bones.covariance[:, 0] == 0).all()  # the pelvis is the origin


def test_the_truth_stays_where_it_is(windows, rng):
    truth, root, rays, _, spread = scene(windows, rng)
    bones = np.linalg.norm(truth[:, H36M_17.bone_index[:, 1]] - truth[:, H36M_17.bone_index[:, 0]], axis=-1)
    bones = 0.5 * (bones + bones[:, H36M_17.mirror[1:] - 1])
    fit = refine(truth, spread, COUPLING, root, rays, np.full(rays.shape[:2], 1e-3), bones)
    assert np.linalg.norm(fit.positions - truth, axis=-1).max() < 0.01
    np.testing.assert_allclose(fit.root, root, atol=0.05)


def test_without_rays_only_bones_count(windows, rng):
    truth, root, rays, predicted, spread = scene(windows, rng)
    nothing = np.full(rays.shape[:2], np.inf)
    fit = refine(predicted, spread, COUPLING, root, rays, nothing, windows["bone_lengths"])
    assert np.linalg.norm(fit.positions - truth, axis=-1).mean() < np.linalg.norm(predicted - truth, axis=-1).mean()
    np.testing.assert_allclose(fit.root, root, atol=1e-6)


def arm_depths(windows, rng, draws):
    """Fits that take errors of one arm's depths for independent, or know that they are the same, and the truth."""
    truth, root, rays, bones = (
        np.concatenate([a] * draws) for a in (*scene(windows, rng)[:3], windows["bone_lengths"])
    )
    spread = np.full((*truth.shape[:2], 2), 0.02)
    spread[:, 14:, 1] = 0.1
    predicted = truth + rng.normal(0, 0.02, truth.shape)
    predicted[:, 14:, 2] = truth[:, 14:, 2] + rng.normal(0, 0.1, (len(truth), 1)) + rng.normal(0, 0.02, (len(truth), 3))
    predicted[:, 0] = 0
    arm = 3 * np.arange(13, 16) + 2
    correlation = np.eye(48)
    correlation[np.ix_(arm, arm)] = 0.1**2 / (0.1**2 + 0.02**2)
    correlation[arm, arm] = 1
    together = np.tile(np.linalg.inv(correlation), (2, 1, 1))
    given = root, rays, np.full(rays.shape[:2], 1e-3), bones
    return truth, [refine(predicted, spread, c, *given) for c in (COUPLING, together)]


def test_errors_that_hang_together_are_corrected_together(windows, rng):
    """Depths of an arm err by the same amount; knowing that halves what the rays and bones leave."""
    truth, fits = arm_depths(windows, rng, 1)
    error = [np.linalg.norm(f.positions - truth, axis=-1)[:, 14:].mean() for f in fits]
    assert error[1] < 0.75 * error[0]


def test_what_is_said_of_errors_that_hang_together_is_right(windows, rng):
    truth, fits = arm_depths(windows, rng, 40)
    z = [np.abs(f.positions - truth)[:, 15, 2] / np.sqrt(f.covariance[:, 15, 2, 2]) for f in fits]
    assert abs((z[1] < 1).mean() - 0.683) < abs((z[0] < 1).mean() - 0.683)


def test_covariance_is_the_inverse_of_the_normal_matrix(windows, rng):
    """Without rays and with bones that nearly say nothing, what is left is the prediction's own covariance."""
    _, root, rays, predicted, spread = scene(windows, rng, 0.001)
    A = rng.normal(size=(48, 60))
    C = A @ A.T
    C /= np.sqrt(np.outer(np.diag(C), np.diag(C)))
    given = root, rays, np.full(rays.shape[:2], np.inf), np.full_like(windows["bone_lengths"], np.nan)
    fit = refine(predicted, spread, np.tile(np.linalg.inv(C), (2, 1, 1)), *given)
    own = 0.001**2 * C.reshape(16, 3, 16, 3)[np.arange(16), :, np.arange(16)]
    np.testing.assert_allclose(fit.covariance[:, 1:], np.broadcast_to(own, fit.covariance[:, 1:].shape), atol=2e-7)


def test_empty_batch():
    fit = refine(
        np.zeros((0, 17, 3)), np.zeros((0, 17, 2)), COUPLING, np.zeros((0, 3)), np.zeros((0, 17, 2)), np.zeros((0, 17)),
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
