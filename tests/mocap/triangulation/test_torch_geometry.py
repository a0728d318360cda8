"""DLT, refinement and consistency loss in torch: right, differentiable, and the same as the compiled path."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calibration.projection import Lenses, project, rays
from mocap.synthetic.rig import ring_rig
from mocap.triangulation.consistency import consistency_loss, pair_spread
from mocap.triangulation.dlt import refine, weighted_dlt
from mocap.triangulation.estimate import Observations, triangulate_points
from mocap.triangulation.noise import NoiseModel
from mocap.triangulation.settings import TriangulationSettings


@pytest.fixture
def scene(rng):
    rig = ring_rig(4, seed=11)
    X = rng.uniform([-1, -1, 0], [1, 1, 1.8], (12, 3))
    pixels = project(Lenses.of(rig), X)
    return rig, X, pixels, pixels + rng.normal(0, 2.0, pixels.shape)


def test_dlt_is_exact_and_skips_what_is_not_seen(scene):
    rig, X, exact, _ = scene
    lenses, pixels = Lenses.of(rig).to_torch(), torch.as_tensor(exact)
    weights = torch.ones(4, 12, dtype=torch.float64)
    np.testing.assert_allclose(weighted_dlt(lenses, pixels, weights).numpy(), X, atol=1e-9)
    pixels[2, 3] = float("nan")
    weights[:2, 5] = 0
    weights[1:, 7] = 0
    points = weighted_dlt(lenses, pixels, weights).numpy()
    assert np.isnan(points[7]).all()
    np.testing.assert_allclose(np.delete(points, 7, 0), np.delete(X, 7, 0), atol=1e-9)


def test_refinement_agrees_with_the_compiled_estimate(scene):
    rig, _, _, noisy = scene
    settings = TriangulationSettings(robust=False)
    sigma = 2.0
    batch = Observations(noisy, np.full(noisy.shape[:2], 0.9), np.full(noisy.shape[:2], np.nan))
    compiled = triangulate_points(batch, rig, NoiseModel.start(4, batch.confidence, True, sigma=sigma), settings)
    lenses, pixels = Lenses.of(rig).to_torch(), torch.as_tensor(noisy)
    weights = torch.full(noisy.shape[:2], sigma**-2, dtype=torch.float64)
    points, covariance = refine(lenses, pixels, weights, weighted_dlt(lenses, pixels, weights), steps=6)
    np.testing.assert_allclose(compiled.positions, points.numpy(), atol=1e-6)
    np.testing.assert_allclose(compiled.covariance, covariance.numpy(), rtol=0.02, atol=1e-8)


def test_gradients(scene):
    rig, _, _, noisy = scene
    lenses = Lenses.of(rig).to_torch()
    pixels = torch.as_tensor(noisy[:, :3]).requires_grad_()
    weights = torch.linspace(0.5, 1.0, 12, dtype=torch.float64).reshape(4, 3).requires_grad_()

    def dlt(p, w):
        return weighted_dlt(lenses, p, w)

    def refined(p, w):
        return refine(lenses, p, w, weighted_dlt(lenses, p, w), steps=2)

    assert torch.autograd.gradcheck(dlt, (pixels, weights))
    assert torch.autograd.gradcheck(refined, (pixels, weights), atol=1e-4)
    assert torch.autograd.gradcheck(lambda p, w: consistency_loss(lenses, p, w), (pixels, weights), atol=1e-4)


def test_consistency_loss_is_the_mean_pair_spread(scene):
    rig, _, _, noisy = scene
    _, d = rays(Lenses.of(rig), noisy)
    spread = np.empty(12)
    pair_spread(rig.centres, np.ascontiguousarray(np.swapaxes(d, 0, 1)), np.ones((12, 4), bool), 8, spread)
    weights = torch.ones(4, 12, dtype=torch.float64)
    loss = consistency_loss(Lenses.of(rig).to_torch(), torch.as_tensor(noisy), weights, smoothing=0.0)
    assert float(loss) == pytest.approx(spread.mean(), rel=1e-9)


def test_consistency_loss_is_zero_for_agreement_and_finds_the_bad_view(scene):
    rig, _, exact, _ = scene
    lenses = Lenses.of(rig).to_torch()
    good = torch.as_tensor(exact)
    confidence = torch.full((4, 12), 0.5, dtype=torch.float64).requires_grad_()
    assert consistency_loss(lenses, good, confidence).item() < 1e-5
    wrong = good.clone()
    wrong[1] += 25.0
    consistency_loss(lenses, wrong, confidence).backward()
    # Trusting the bad view more raises the loss, trusting the others lowers it.
    gradient = confidence.grad.sum(1)
    assert gradient[1] > 0
    assert gradient.argmax() == 1
    assert gradient[[0, 2, 3]].sum() < 0


def test_consistency_loss_with_nothing_to_compare(scene):
    rig, _, _, noisy = scene
    confidence = torch.zeros(4, 12, dtype=torch.float64)
    confidence[0] = 1
    assert float(consistency_loss(Lenses.of(rig).to_torch(), torch.as_tensor(noisy), confidence)) == 0
