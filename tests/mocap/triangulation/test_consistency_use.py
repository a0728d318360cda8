"""The consistency loss at work: confidence calibrated without truth, and as a term of the refinement."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from calibration.projection import Lenses, project
from mocap.synthetic.rig import ring_rig
from mocap.triangulation import triangulate
from mocap.triangulation.confidence import disagreement, learn_confidence
from mocap.triangulation.dlt import refine, weighted_dlt


def scene(rng, sigma, confidence, n=800, cameras=4):
    """Pixels [V, n, 2] with noise sigma [V, n] px, and truth."""
    rig = ring_rig(cameras, seed=11)
    X = rng.uniform([-1, -1, 0], [1, 1, 1.8], (n, 3))
    pixels = project(Lenses.of(rig), X) + sigma[..., None] * rng.normal(size=(cameras, n, 2))
    return Lenses.of(rig).to_torch(), X, torch.as_tensor(pixels), torch.as_tensor(confidence)


def test_every_cameras_noise_is_found_without_truth(rng):
    true = np.array([1.0, 2.0, 4.0, 8.0])
    confidence = np.full((4, 4000), 0.9)
    lenses, _, pixels, c = scene(rng, np.repeat(true[:, None], 4000, 1), confidence, 4000)
    found = learn_confidence(lenses, pixels, c)
    np.testing.assert_allclose(found.sigma_of(confidence)[:, 0], true, rtol=0.15)


def test_what_confidence_means_is_found_and_outliers_do_not_matter(rng):
    confidence = rng.uniform(0.2, 1.0, (5, 1500))
    exponent = np.array([0.0, 0.5, 1.0, 1.5, 1.0])
    sigma = 2.0 * confidence ** -exponent[:, None]
    lenses, _, pixels, c = scene(rng, sigma, confidence, 1500, 5)
    pixels[torch.as_tensor(rng.random((5, 1500)) < 0.03)] += 150.0
    pixels[2, ::7] = float("nan")
    c[2, ::7] = 0
    found = learn_confidence(lenses, pixels, c)
    np.testing.assert_allclose(found.exponent, exponent, atol=0.25)
    np.testing.assert_allclose(found.sigma, 2.0, rtol=0.3)


def test_calibrated_weights_bring_points_nearer_to_the_truth(rng):
    true = np.array([1.0, 1.0, 6.0, 6.0])
    lenses, X, pixels, c = scene(rng, np.repeat(true[:, None], 600, 1), np.ones((4, 600)), 600)
    learnt = torch.as_tensor(learn_confidence(lenses, pixels, c).weights(c.numpy()))
    error = [
        np.linalg.norm(refine(lenses, pixels, w, weighted_dlt(lenses, pixels, w))[0].numpy() - X, axis=-1).mean()
        for w in (torch.ones_like(c), learnt)
    ]
    assert error[1] < 0.75 * error[0]


def test_the_loss_has_a_gradient_for_a_detector(rng):
    lenses, _, pixels, c = scene(rng, np.full((3, 4), 2.0), np.full((3, 4), 0.8), 4, 3)
    log_sigma, exponent = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    inputs = (pixels.requires_grad_(), log_sigma.requires_grad_(), exponent.requires_grad_())
    assert torch.autograd.gradcheck(lambda p, s, e: disagreement(lenses, p, c, s, e), inputs, atol=1e-5)


def test_consistency_term_draws_to_what_the_pairs_say_and_is_off_by_default(rng):
    lenses, X, pixels, _ = scene(rng, np.full((4, 50), 3.0), np.ones((4, 50)), 50)
    w = torch.full((4, 50), 1 / 9.0, dtype=torch.float64)
    start = weighted_dlt(lenses, pixels, w)
    plain, same, drawn = (refine(lenses, pixels, w, start, 5, k)[0].numpy() for k in (0.0, 1e-12, 1e6))
    np.testing.assert_allclose(plain, same, atol=1e-9)
    from mocap.triangulation.consistency import pair_mean, view_pairs

    mean = pair_mean(view_pairs(lenses, pixels, w))[0].numpy()
    np.testing.assert_allclose(drawn, mean, atol=1e-4)
    assert np.linalg.norm(mean - X, axis=-1).mean() < 0.02


@pytest.mark.parametrize("views", [1, 4])
def test_the_log_says_why_joints_are_missing(make_take, caplog, views):
    from dataclasses import replace

    take = make_take(frames=40)
    confidence = take.matches.confidence.copy()
    confidence[views:, :10] = 0
    keypoints = np.where(confidence[..., None] > 0, take.matches.keypoints, np.nan)
    with caplog.at_level(logging.INFO, logger="mocap.triangulation.estimate"):
        triangulate(replace(take.matches, confidence=confidence, keypoints=keypoints), take.rig)
    assert ("170 too few views" in caplog.text) == (views == 1)
    assert "found" in caplog.text
