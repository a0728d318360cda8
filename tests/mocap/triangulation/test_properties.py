"""What must hold of any triangulation, whatever the scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration.camera import Camera, CameraRig, Lens
from calibration.projection import Lenses, project
from mocap.synthetic.rig import look_at, ring_rig
from mocap.triangulation import TriangulationSettings
from mocap.triangulation.estimate import Observations, Reason, triangulate_points
from mocap.triangulation.noise import NoiseModel

SETTINGS = TriangulationSettings()


def observations(rig: CameraRig, X: np.ndarray, noise: float, rng: np.random.Generator) -> Observations:
    pixels = project(Lenses.of(rig), X)
    pixels = pixels + noise * rng.normal(size=pixels.shape)
    confidence = np.where(np.isfinite(pixels[..., 0]), 0.9, 0.0)
    return Observations(pixels, confidence, np.full(confidence.shape, np.nan))


def solve(rig: CameraRig, batch: Observations, sigma: float = 2.0):
    model = NoiseModel.start(len(rig), batch.confidence, True, sigma=sigma)
    return triangulate_points(batch, rig, model, SETTINGS)


def body_points(rng: np.random.Generator, n: int = 60) -> np.ndarray:
    return rng.uniform([-1, -1, 0], [1, 1, 1.8], (n, 3))


@pytest.mark.parametrize("cameras", [2, 3, 5, 12, 64])
def test_exact_pixels_give_exact_points(cameras, rng):
    rig, X = ring_rig(cameras, seed=1), body_points(rng)
    points = solve(rig, observations(rig, X, 0.0, rng))
    assert (points.reason == Reason.FOUND).all()
    assert np.abs(points.positions - X).max() < 1e-6
    assert points.reprojection_error.max() < 1e-4
    assert points.consistency.max() < 1e-6


def test_fisheye_and_brown_conrady_lenses_mix(rng):
    rig, X = ring_rig(4, seed=2), body_points(rng)
    bent = [replace(c, lens=Lens.FISHEYE, distortion=[0.05, -0.01, 0.003, -0.001, 0]) for c in rig.cameras[:2]]
    rig = CameraRig((*bent, *rig.cameras[2:]))
    points = solve(rig, observations(rig, X, 0.0, rng))
    assert np.abs(points.positions - X).max() < 1e-6


def test_rigid_motion_of_the_world_moves_the_result(rng):
    rig = ring_rig(4, seed=3)
    batch = observations(rig, body_points(rng), 2.0, rng)
    turn, shift = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix(), np.array([3.0, -20.0, 1.5])
    moved = CameraRig(tuple(replace(c, R=c.R @ turn.T, t=c.t - c.R @ turn.T @ shift) for c in rig.cameras))
    here, there = solve(rig, batch), solve(moved, batch)
    np.testing.assert_allclose(there.positions, here.positions @ turn.T + shift, atol=1e-7)
    np.testing.assert_allclose(there.covariance, turn @ here.covariance @ turn.T, atol=1e-9)
    np.testing.assert_array_equal(there.reason, here.reason)


def test_scaling_the_rig_scales_the_result(rng):
    rig = ring_rig(4, seed=3)
    batch = observations(rig, body_points(rng), 2.0, rng)
    large = CameraRig(tuple(replace(c, t=1.7 * c.t) for c in rig.cameras))
    here, there = solve(rig, batch), solve(large, batch)
    np.testing.assert_allclose(there.positions, 1.7 * here.positions, atol=1e-7)
    np.testing.assert_allclose(there.consistency, 1.7 * here.consistency, atol=1e-9)


def test_order_of_cameras_does_not_matter(rng):
    rig = ring_rig(5, seed=4)
    batch = observations(rig, body_points(rng), 2.0, rng)
    batch.pixels[1, ::3] += 150.0
    order = [3, 0, 4, 2, 1]
    shuffled = CameraRig(tuple(rig.cameras[i] for i in order))
    other = Observations(batch.pixels[order], batch.confidence[order], batch.uncertainty[order])
    here, there = solve(rig, batch), solve(shuffled, other)
    np.testing.assert_allclose(there.positions, here.positions, atol=1e-6)
    np.testing.assert_allclose(there.inlier, here.inlier[:, order], atol=1e-6)


def test_one_bad_view_does_not_move_the_point(rng):
    rig, X = ring_rig(4, seed=6), body_points(rng, 400)
    batch = observations(rig, X, 2.0, rng)
    bad = rng.integers(0, 4, len(X))
    wrong = batch.pixels.copy()
    wrong[bad, np.arange(len(X))] += 60.0 * rng.choice([-1, 1], (len(X), 2))
    clean = np.linalg.norm(solve(rig, batch).positions - X, axis=-1)
    points = solve(rig, replace(batch, pixels=wrong))
    error = np.linalg.norm(points.positions - X, axis=-1)
    assert (points.reason == Reason.FOUND).all()
    assert (points.inlier[np.arange(len(X)), bad] < 0.5).mean() > 0.99
    # Three views instead of four: the error may grow by that, not by the 60 px.
    assert error.mean() < 1.6 * clean.mean()


def test_wrong_views_among_many_are_as_if_they_were_not_there(rng):
    rig, X = ring_rig(16, seed=6), body_points(rng)
    batch = observations(rig, X, 2.0, rng)
    order = rng.permuted(np.tile(np.arange(16), (len(X), 1)), axis=1).T
    off, joint = order[:3], np.arange(len(X))
    pixels = batch.pixels.copy()
    pixels[off, joint] += rng.choice([-150.0, 150.0], (3, len(X), 2))
    confidence = batch.confidence.copy()
    confidence[off, joint] = 0.0
    wrong = solve(rig, Observations(pixels, batch.confidence, batch.uncertainty))
    without = solve(rig, Observations(batch.pixels, confidence, batch.uncertainty))
    np.testing.assert_allclose(wrong.positions, without.positions, atol=1e-5)
    np.testing.assert_allclose(wrong.covariance, without.covariance, rtol=1e-2, atol=1e-8)


def test_many_views_that_agree_on_another_point_do_not_win(rng):
    """Six of sixteen views see somebody else's joint: a rival that all of them support."""
    rig, X = ring_rig(16, seed=7), body_points(rng)
    batch, other = observations(rig, X, 2.0, rng), observations(rig, X + [0.5, 0.4, 0.0], 2.0, rng)
    pixels = batch.pixels.copy()
    pixels[::3] = other.pixels[::3]
    points = solve(rig, Observations(pixels, batch.confidence, batch.uncertainty))
    assert (points.reason == Reason.FOUND).all()
    assert np.linalg.norm(points.positions - X, axis=1).max() < 0.02
    assert points.inlier[:, ::3].max() < 0.5


def test_single_view_and_nothing_seen(rng):
    rig = ring_rig(3, seed=1)
    batch = observations(rig, body_points(rng, 3), 0.0, rng)
    batch.confidence[1:, 0] = 0.0
    batch.confidence[:, 1] = 0.0
    points = solve(rig, batch)
    assert points.reason.tolist() == [Reason.TOO_FEW_VIEWS, Reason.TOO_FEW_VIEWS, Reason.FOUND]
    assert np.isnan(points.positions[:2]).all()
    assert np.isnan(points.consistency[:2]).all()


def camera_at(centre, target, name: str) -> Camera:
    R, t = look_at(centre, target)
    return Camera(name, (1000, 1000), [[1000, 0, 500], [0, 1000, 500], [0, 0, 1]], np.zeros(5), R, t)


def test_coincident_cameras_have_no_depth(rng):
    a = camera_at([4, 0, 1], [0, 0, 1], "a")
    rig = CameraRig((a, camera_at([4, 0, 1], [0, 0.3, 1], "b")))
    points = solve(rig, observations(rig, body_points(rng, 20), 1.0, rng))
    assert (points.reason == Reason.PARALLEL_RAYS).all()
    assert np.isnan(points.positions).all()


def test_parallel_rays_have_no_depth():
    rig = CameraRig((camera_at([4, 0, 1], [0, 0, 1], "a"), camera_at([4, 1, 1], [0, 1, 1], "b")))
    pixels = np.full((2, 1, 2), 480.0)  # the same direction from both
    points = solve(rig, Observations(pixels, np.ones((2, 1)), np.full((2, 1), np.nan)))
    assert points.reason[0] == Reason.PARALLEL_RAYS
    assert np.isnan(points.positions).all()


def test_rays_that_meet_behind_the_cameras():
    rig = CameraRig((camera_at([4, 0, 1], [0, 0, 1], "a"), camera_at([4, 1, 1], [0, 1, 1], "b")))
    # Rays that part in front of the cameras meet behind them.
    left, right = [300.0, 500.0], [700.0, 500.0]
    apart = np.array([[left], [right]])
    together = np.array([[right], [left]])
    nan = np.full((2, 1), np.nan)
    results = [solve(rig, Observations(p, np.ones((2, 1)), nan)).reason[0] for p in (apart, together)]
    assert sorted(results) == [Reason.FOUND, Reason.BEHIND_CAMERA]


def test_two_views_that_contradict_each_other_give_nothing(rng):
    rig = CameraRig(ring_rig(4, seed=8).cameras[:2])  # at a right angle
    X = body_points(rng, 50)
    batch = observations(rig, X, 1.0, rng)
    batch.pixels[0, :, 1] += 150.0
    points = solve(rig, batch)
    assert (points.reason == Reason.VIEWS_DISAGREE).mean() > 0.95


def test_a_far_point_seen_by_near_cameras_is_too_uncertain(rng):
    rig = CameraRig((camera_at([4, 0, 1], [0, 0, 1], "a"), camera_at([4, 0.3, 1], [0, 0, 1], "b")))
    X = np.array([[-6.0, 0.1, 1.0]])
    points = solve(rig, observations(rig, X, 0.0, rng), sigma=5.0)
    assert points.reason[0] == Reason.TOO_UNCERTAIN
    assert np.isnan(points.positions).all()


def test_pixels_beyond_the_lens_do_not_count(rng):
    rig, X = ring_rig(4, seed=9), body_points(rng, 5)
    strong = replace(rig.cameras[0], distortion=[-0.5, 0, 0, 0, 0])
    rig = CameraRig((strong, *rig.cameras[1:]))
    batch = observations(rig, X, 0.0, rng)
    batch.pixels[0] = 1e5
    points = solve(rig, batch)
    assert np.abs(points.positions - X).max() < 1e-6
    assert (points.inlier[:, 0] == 0).all()
