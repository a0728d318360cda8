from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.projection import Lenses, project
from mocap.errors import DataError, SettingsError
from mocap.skeleton import BLAZEPOSE_33, COCO_17, H36M_17
from mocap.synthetic import (
    PERFECT,
    NoiseSettings,
    look_at,
    observe,
    observe_labelled,
    procedural_motion,
    ring_rig,
    truth_positions,
)

QUIET = replace(PERFECT, sigma_px=2.0)


@pytest.fixture(scope="module")
def rig():
    return ring_rig(4, seed=1)


@pytest.fixture(scope="module")
def truth():
    return truth_positions(procedural_motion(300, 30, seed=1, n_people=2, spacing=1.2), H36M_17)


def _observe(truth, rig, noise, seed=0):
    return observe_labelled(truth, rig, noise, seed, joint_names=H36M_17.joints, fps=30)


def test_cameras_look_at_the_target_upright(rig):
    target = np.array([0.0, 0.0, 1.0])
    for camera in rig.cameras:
        assert np.linalg.norm(camera.centre[:2]) == pytest.approx(4.0, abs=1e-9)
        assert 1.5 <= camera.centre[2] <= 2.5
        down = camera.R @ np.array([0.0, 0.0, -1.0])
        assert down[1] > 0.8  # image y points down
    middle = project(Lenses.of(rig), target)
    assert np.abs(middle - 539.5).max() < 60
    assert np.abs(rig.distortion).max() > 0.05


def test_rig_is_seeded_and_sees_the_person():
    assert np.array_equal(ring_rig(3, seed=4).R, ring_rig(3, seed=4).R)
    assert not np.allclose(ring_rig(3, seed=4).R, ring_rig(3, seed=5).R)
    X = truth_positions(procedural_motion(300, 30, seed=2), BLAZEPOSE_33)
    seen = observe(X, ring_rig(4, seed=0), PERFECT, joint_names=BLAZEPOSE_33.joints)
    assert (seen.confidence > 0).mean() > 0.999


def test_look_at_refuses_straight_down():
    with pytest.raises(DataError):
        look_at([0, 0, 3], [0, 0, 0])


def test_perfect_detector_gives_the_projections(truth, rig):
    seen = _observe(truth, rig, PERFECT).keypoints
    exact = project(Lenses.of(rig), truth)
    there = seen.confidence > 0
    assert there.mean() > 0.95
    assert np.abs(seen.keypoints - exact)[there].max() < 1e-3


def test_noise_has_the_size_asked_for(truth, rig):
    seen = _observe(truth, rig, QUIET).keypoints
    error = (seen.keypoints - project(Lenses.of(rig), truth))[seen.confidence > 0]
    assert error.std() == pytest.approx(2.0, rel=0.02)
    assert abs(error.mean()) < 0.05


def test_correlated_noise_has_the_correlation_asked_for(truth, rig):
    seen = _observe(truth, rig, replace(QUIET, correlation_s=0.2)).keypoints
    error = seen.keypoints - project(Lenses.of(rig), truth)
    good = np.isfinite(error)
    assert error[good].std() == pytest.approx(2.0, rel=0.05)
    lag = 6  # frames = 0.2 s
    both = good[:, lag:] & good[:, :-lag]
    assert np.corrcoef(error[:, lag:][both], error[:, :-lag][both])[0, 1] == pytest.approx(np.exp(-1), abs=0.05)


def test_confidence_tells_good_from_bad(truth, rig):
    noise = NoiseSettings(shuffle=False, sigma_px=3, outlier_rate=0.1)
    seen = _observe(truth, rig, noise)
    error = np.linalg.norm(seen.keypoints.keypoints - project(Lenses.of(rig), truth), axis=-1)
    there = seen.keypoints.confidence > 0
    assert np.corrcoef(error[there], seen.keypoints.confidence[there])[0, 1] < -0.4
    low = seen.keypoints.confidence[there & seen.outlier].mean()
    assert low < 0.4 < seen.keypoints.confidence[there & ~seen.outlier].mean()


def test_rates_are_kept(truth, rig):
    noise = replace(QUIET, outlier_rate=0.05, miss_rate=0.1, flip_rate=0.2, flip_s=0.3)
    seen = _observe(np.repeat(truth, 3, 1), rig, noise)
    assert seen.outlier.mean() == pytest.approx(0.05, abs=0.005)
    sided = H36M_17.mirror != np.arange(17)
    assert seen.flipped[..., sided].mean() == pytest.approx(0.2, abs=0.05)
    assert not seen.flipped[..., ~sided].any()
    runs = np.diff(seen.flipped[..., 1].astype(int), axis=1) == 1
    mean_run = seen.flipped[..., 1].sum() / runs.sum() / 30
    assert 0.15 < mean_run < 0.6


def test_flips_swap_partners(truth, rig):
    seen = _observe(truth, rig, replace(PERFECT, flip_rate=0.3))
    exact = project(Lenses.of(rig), truth)
    there = (seen.keypoints.confidence > 0) & seen.flipped
    assert there.any()
    assert np.abs(seen.keypoints.keypoints - exact[..., H36M_17.mirror, :])[there].max() < 1e-3


def test_dropouts_hide_everybody(truth, rig):
    seen = _observe(truth, rig, replace(PERFECT, dropout_rate=0.3)).keypoints
    dark = ~(seen.confidence > 0).any((-1, -2))
    assert 0.1 < dark.mean() < 0.5


def test_slots_are_shuffled_and_labelled(truth, rig):
    noise = replace(PERFECT, shuffle=True, false_positives=0.7)
    seen = _observe(truth, rig, noise)
    exact = project(Lenses.of(rig), truth)
    person = seen.person
    assert (np.diff(person[:, :, 0], axis=1) != 0).mean() > 0.2
    for p in range(2):
        v, t, slot = np.nonzero(person == p)
        difference = np.abs(seen.keypoints.keypoints[v, t, slot] - exact[v, t, p])
        assert np.nanmax(difference) < 1e-3
    ghosts = (person < 0) & (seen.keypoints.confidence > 0).any(-1)
    assert 0.3 < ghosts.sum(-1).mean() < 0.8


def test_everything_seen_is_inside_the_image(truth, rig):
    noise = NoiseSettings(outlier_rate=0.3, outlier_px=400, false_positives=1)
    seen = _observe(truth, rig, noise).keypoints
    there = seen.confidence > 0
    assert (seen.keypoints[there] > -0.5).all()
    assert (seen.keypoints[there] < 1079.5).all()
    assert np.isnan(seen.keypoints[~there]).all()


def test_same_seed_same_keypoints(truth, rig):
    noise = NoiseSettings(flip_rate=0.1, dropout_rate=0.1, false_positives=0.3)
    a, b, c = (_observe(truth, rig, noise, seed).keypoints for seed in (1, 1, 2))
    assert np.array_equal(a.keypoints, b.keypoints, equal_nan=True)
    assert not np.array_equal(a.keypoints, c.keypoints, equal_nan=True)


def test_uncertainty_is_told_only_when_asked(truth, rig):
    assert np.isnan(_observe(truth, rig, QUIET).keypoints.uncertainty).all()
    told = _observe(truth, rig, replace(QUIET, report_uncertainty=True)).keypoints
    assert np.isfinite(told.uncertainty[told.confidence > 0]).all()


def test_bad_input_is_refused(truth, rig):
    with pytest.raises(SettingsError, match="flip_rate"):
        NoiseSettings(flip_rate=1.5)
    with pytest.raises(SettingsError, match="sigma_px"):
        NoiseSettings(sigma_px=float("nan"))
    with pytest.raises(DataError):
        observe(truth, rig, joint_names=BLAZEPOSE_33.joints)
    with pytest.raises(DataError):
        observe(truth[..., :2], rig, joint_names=COCO_17.joints)
    with pytest.raises(DataError):
        ring_rig(0)
