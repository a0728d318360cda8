"""Errors that last over frames: their equations, and what counting them as such is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from mocap.filtering import filter_trajectories
from mocap.filtering.observations import correlated_equations, roots
from mocap.filtering.settings import FilterSettings
from mocap.filtering.stage import view_overlap
from mocap.skeleton import H36M_17
from mocap.synthetic import procedural_motion, truth_positions
from mocap.types import Source, Trajectories3D

FPS = 50.0


def random_information(rng, n):
    root = rng.normal(size=(n, 3, 3))
    return root @ np.swapaxes(root, -1, -2) + 0.1 * np.eye(3)


@pytest.mark.parametrize("missing", [None, 5])
def test_equations_against_the_dense_inverse_of_an_autoregression(rng, missing):
    n, rho = 9, 0.8
    information, y = random_information(rng, n), rng.normal(size=(n, 3))
    seen = np.arange(n) != missing
    root = np.where(seen[:, None, None], roots(information), 0)
    blocks, right = np.zeros((n, 3, 3, 3)), np.zeros((n, 3))
    correlated_equations(root, y, np.ones(n), np.ones((n, 2)), (0, n), rho, rho**2, blocks, right)
    half = np.linalg.inv(roots(information))
    t = np.arange(n)
    covariance = np.einsum("ab,aij,bkj->aibk", rho ** abs(t[:, None] - t), half, half)
    covariance = covariance[seen][:, :, seen].reshape(3 * seen.sum(), -1)
    precision = np.zeros((n, 3, n, 3))
    kept = np.linalg.inv(covariance).reshape(seen.sum(), 3, seen.sum(), 3)
    precision[np.ix_(seen, range(3), seen, range(3))] = kept
    for k in range(3):
        for row in range(k, n):
            np.testing.assert_allclose(blocks[row, k], precision[row, :, row - k], atol=1e-9)
    np.testing.assert_allclose(right, np.einsum("aibj,bj->ai", precision, np.where(seen[:, None], y, 0)), atol=1e-9)


def test_an_outlier_takes_no_part_in_its_neighbours_errors(rng):
    n = 7
    root, y = roots(random_information(rng, n)), rng.normal(size=(n, 3))
    weight = np.where(np.arange(n) == 3, 1e-9, 1.0)
    out = []
    for r in (root, np.where((np.arange(n) == 3)[:, None, None], 0, root)):
        blocks, right = np.zeros((n, 3, 3, 3)), np.zeros((n, 3))
        correlated_equations(r, y, weight, np.ones((n, 2)), (0, n), 0.8, 0.64, blocks, right)
        out.append((blocks, right))
    np.testing.assert_allclose(out[0][0], out[1][0], atol=1e-3)
    np.testing.assert_allclose(out[0][1], out[1][1], atol=1e-3)


def test_overlap_counts_views_in_common():
    views = np.array([[0b1111], [0b0011], [0b1100], [0b1111], [0]], np.uint64)
    alone = np.zeros(views.shape, bool)
    alone[3] = True
    found = view_overlap(views, alone)[:, 0]
    np.testing.assert_allclose(found, [[0, 0], [0.5**0.5, 0], [0, 0.5**0.5], [0, 0], [0, 1]])


def record(positions, std, **persistence) -> Trajectories3D:
    shape = positions.shape[:3]
    return Trajectories3D(
        positions=positions, covariance=np.broadcast_to(std**2 * np.eye(3), (*shape, 3, 3)),
        source=np.full(shape, Source.TRIANGULATED), reprojection_error=np.ones(shape), consistency=np.zeros(shape),
        views_used=np.full(shape, 15), person_ids=np.arange(shape[1]), frames=np.arange(shape[0]),
        joint_names=H36M_17.joints, fps=FPS, **persistence,
    )  # fmt: skip


def inside(result: Trajectories3D, truth) -> float:
    d = (result.positions - truth).astype(float)
    inverse = np.linalg.inv(result.covariance.astype(float))
    return float((np.einsum("tpji,tpjik,tpjk->tpj", d, inverse, d) < 7.815).mean())


@pytest.mark.parametrize(("share", "seconds"), [(0.95, 0.1), (0.7, 0.2)])
def test_known_persistence_is_nearer_to_the_truth_and_covers_it(rng, share, seconds):
    truth = truth_positions(procedural_motion(600, FPS, seed=4), H36M_17)
    white = rng.normal(size=(2, *truth.shape))
    decay = np.exp(-1 / FPS / seconds)
    white[0, 1:] *= np.sqrt(1 - decay**2)
    noise = np.sqrt(share) * lfilter([1], [1, -decay], white[0], axis=0) + np.sqrt(1 - share) * white[1]
    blind = record(truth + 0.02 * noise, 0.02)
    knowing = replace(blind, lasting_share=share, lasting_s=seconds)
    settings = FilterSettings(bones=False)
    a, b = (filter_trajectories(r, settings) for r in (blind, knowing))
    assert (
        np.linalg.norm(b.positions - truth, axis=-1).mean() < 0.93 * np.linalg.norm(a.positions - truth, axis=-1).mean()
    )
    assert 0.90 < inside(b, truth) < 0.985
    assert inside(a, truth) < 0.7


def test_a_constant_error_is_no_noise_but_stays_in_the_covariance(rng):
    truth = truth_positions(procedural_motion(200, FPS, seed=5), H36M_17)
    bias = 0.02 * rng.normal(size=(1, *truth.shape[1:]))
    noisy = record(truth + bias + 0.005 * rng.normal(size=truth.shape), float(np.hypot(0.02, 0.005)))
    result = filter_trajectories(replace(noisy, constant_share=16 / 17), FilterSettings(bones=False))
    # Smoothed as samples of 5 mm are, not as samples of 20 mm: the movement stays.
    assert np.linalg.norm(result.positions - truth - bias, axis=-1).mean() < 0.0055
    std = np.sqrt(np.trace(result.covariance.astype(float), axis1=-2, axis2=-1) / 3)
    assert np.median(std) == pytest.approx(0.02, rel=0.1)
