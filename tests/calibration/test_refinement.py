"""Nudged cameras are found; well-standing ones are left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration.camera import CameraRig
from calibration.projection import Lenses, project
from calibration.refinement import RigCorrection, refine_rotations
from mocap.synthetic.rig import ring_rig


def nudged(rig: CameraRig, turns: np.ndarray) -> CameraRig:
    return RigCorrection(turns, turns, turns[:, 0], turns[:, 0]).apply(rig)


def view_of(rig: CameraRig, rng: np.random.Generator, sigma_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Points in a person's space and their noisy pixels."""
    points = rng.normal(size=(800, 3)) * [0.8, 0.8, 0.5] + [0, 0, 1.0]
    pixels = project(Lenses.of(rig), points)
    return points, pixels + rng.normal(size=pixels.shape) * sigma_px


def angle_between(a: CameraRig, b: CameraRig) -> np.ndarray:
    relative = [Rotation.from_matrix(p.R @ q.R.T).magnitude() for p, q in zip(a.cameras, b.cameras, strict=True)]
    return np.degrees(relative)


def turn_errors(correction: RigCorrection, calibrated: CameraRig, true: CameraRig) -> np.ndarray:
    """Error of each camera's turn in standard deviations."""
    pairs = zip(true.cameras, correction.apply(calibrated).cameras, strict=True)
    left = np.stack([Rotation.from_matrix(p.R @ q.R.T).as_rotvec() for p, q in pairs])
    return np.abs(left) / correction.std


def test_a_nudge_is_found(rng):
    """One camera of five turned by 0.6 degrees: found within its stated uncertainty, the views agree again."""
    true = ring_rig(n_cameras=5, seed=2)
    turns = np.zeros((5, 3))
    turns[2] = np.radians([0.4, -0.4, 0.2])
    calibrated = nudged(true, -turns)
    points, pixels = view_of(true, rng, 2.0)
    correction = refine_rotations(calibrated, pixels, points + rng.normal(size=points.shape) * 0.02)
    assert angle_between(calibrated, true)[2] == pytest.approx(0.6, abs=1e-6)
    assert turn_errors(correction, calibrated, true).max() < 3
    assert angle_between(correction.apply(calibrated), true)[2] < 0.2
    assert correction.offset_before[2] > 4 > 1 > correction.offset_after.max()


def test_a_good_rig_is_left_alone_within_its_uncertainty(rng):
    rig = ring_rig(n_cameras=4, seed=3)
    points, pixels = view_of(rig, rng, 4.0)
    pixels[rng.random(pixels.shape[:2]) < 0.2] = np.nan
    correction = refine_rotations(rig, pixels, points)
    assert turn_errors(correction, rig, rig).max() < 2
    assert np.degrees(correction.std).max() < 0.15


def test_outliers_do_not_turn_cameras(rng):
    rig = ring_rig(n_cameras=4, seed=3)
    points, pixels = view_of(rig, rng, 3.0)
    wrong = rng.random(pixels.shape[:2]) < 0.1
    pixels[wrong] += rng.normal(size=(wrong.sum(), 2)) * 80
    assert turn_errors(refine_rotations(rig, pixels, points), rig, rig).max() < 2


def test_too_little_evidence_changes_nothing(rng):
    rig = ring_rig(n_cameras=3, seed=3)
    points, pixels = view_of(rig, rng, 3.0)
    correction = refine_rotations(rig, pixels[:, :20], points[:20])
    assert not correction.rotation.any()
    assert correction.apply(rig) is rig
    turned = replace(correction, rotation=np.full((3, 3), 0.01)).apply(rig)
    np.testing.assert_allclose(turned.centres, rig.centres, atol=1e-12)
