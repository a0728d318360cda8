"""The stage as a whole: learnt noise, covariance, flags, and bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mocap.errors import CalibrationError, DataError, SettingsError
from mocap.synthetic.noise import PERFECT, NoiseSettings
from mocap.triangulation import TriangulationSettings, triangulate
from mocap.triangulation.estimate import learn_noise
from mocap.types import Source

ROUGH = NoiseSettings(
    sigma_px=2.5, sigma_spread=0.4, outlier_rate=0.06, outlier_px=60.0, miss_rate=0.08, person_miss_rate=0.0,
    shuffle=False, confidence_noise=0.03,
)  # fmt: skip


def errors(result, truth) -> np.ndarray:
    return np.linalg.norm(result.positions - truth, axis=-1)


def test_noise_of_the_take_is_learnt(make_take):
    take = make_take(replace(ROUGH, sigma_spread=0.0, confidence_noise=0.0, sigma_px=3.0), frames=300)
    model = learn_noise(take.matches, take.rig, TriangulationSettings())
    confidence = take.matches.confidence.astype(float)
    sigma, inlier = model.of(confidence, np.full(confidence.shape, np.nan))
    good = (confidence > 0) & ~take.observation.outlier
    assert np.median(sigma[good]) == pytest.approx(3.0, rel=0.06)
    assert inlier[good].mean() > 0.95
    assert inlier[(confidence > 0) & take.observation.outlier].mean() < 0.2


def test_covariance_holds_the_truth_as_often_as_it_says(make_take):
    take = make_take(ROUGH, frames=400)
    result = triangulate(take.matches, take.rig)
    found = result.source == Source.TRIANGULATED
    d = (result.positions - take.truth)[found].astype(float)
    mahalanobis = np.einsum("ni,nij,nj->n", d, np.linalg.inv(result.covariance[found].astype(float)), d)
    assert 0.93 < (mahalanobis < 7.815).mean() < 0.975


def test_robust_beats_plain_and_confidence_helps(make_take):
    take = make_take(ROUGH, frames=300)
    full, blind, plain = (
        np.nanmean(errors(triangulate(take.matches, take.rig, TriangulationSettings(**s)), take.truth))
        for s in ({}, {"use_confidence": False}, {"robust": False})
    )
    assert full < blind < plain
    assert full < 0.4 * plain


def test_detector_uncertainty_is_used(make_take):
    noise = replace(ROUGH, outlier_rate=0.0, sigma_spread=0.9, confidence_noise=0.5, report_uncertainty=True)
    take = make_take(noise, frames=200)
    unsaid = replace(take.matches, uncertainty=np.full(take.matches.uncertainty.shape, np.nan))
    known = np.nanmean(errors(triangulate(take.matches, take.rig), take.truth))
    unknown = np.nanmean(errors(triangulate(unsaid, take.rig), take.truth))
    assert known < 0.85 * unknown


def test_flags_and_nothing_invented(make_take):
    take = make_take(frames=60)
    confidence = take.matches.confidence.copy()
    confidence[1:, 10:20, 0, 3] = 0
    confidence[:, 30] = 0
    matches = replace(
        take.matches,
        confidence=confidence,
        keypoints=np.where(confidence[..., None] > 0, take.matches.keypoints, np.nan),
    )
    result = triangulate(matches, take.rig)
    missing = result.source == Source.MISSING
    assert missing[10:20, 0, 3].all()
    assert missing[30].all()
    assert missing.sum() == 10 + 17
    assert np.isnan(result.covariance[missing]).all()
    assert np.isnan(result.reprojection_error[missing]).all()
    assert (result.views_used[missing] == 0).all()
    # Quiet noise: nearly every view that saw the joint is used.
    bits = np.array([int(b).bit_count() for b in result.views_used[~missing]])
    assert bits.mean() > 3.95


def test_bad_view_is_left_out_of_views_used(make_take):
    take = make_take(frames=80)
    keypoints = take.matches.keypoints.copy()
    keypoints[2, 20:40] += 70.0
    result = triangulate(replace(take.matches, keypoints=keypoints), take.rig)
    used = (result.views_used[20:40] >> np.uint64(2)) & np.uint64(1)
    assert used.mean() < 0.02
    assert np.nanmedian(result.reprojection_error[20:40]) < 4.0


def test_chunks_do_not_change_the_result(make_take):
    take = make_take(ROUGH, frames=101)
    whole = triangulate(take.matches, take.rig)
    parts = triangulate(take.matches, take.rig, TriangulationSettings(chunk_frames=13))
    for name in ("positions", "covariance", "source", "reprojection_error", "consistency", "views_used"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name), err_msg=name)


def test_rig_is_taken_by_name(make_take):
    take = make_take(frames=40)
    turned = take.rig.select(reversed(take.rig.names))
    a, b = triangulate(take.matches, take.rig), triangulate(take.matches, turned)
    np.testing.assert_array_equal(a.positions, b.positions)
    with pytest.raises(CalibrationError, match="cam_3"):
        triangulate(take.matches, take.rig.select(take.rig.names[:3]))


PER_VIEW = ("keypoints", "confidence", "uncertainty", "observation", "slot", "score", "runner_up")


def test_nobody_and_one_camera(make_take):
    take = make_take(frames=40)
    nobody = {name: getattr(take.matches, name)[:, :, :0] for name in PER_VIEW}
    empty = replace(take.matches, **nobody, person_ids=np.zeros(0))
    assert triangulate(empty, take.rig).positions.shape == (40, 0, 17, 3)
    one_view = {name: getattr(take.matches, name)[:1] for name in PER_VIEW}
    one = replace(take.matches, **one_view, cameras=take.matches.cameras[:1])
    with pytest.raises(DataError, match="2 to 64"):
        triangulate(one, take.rig)


@pytest.mark.parametrize(
    "wrong", [{"min_views": 1}, {"max_std_m": 0.0}, {"min_angle_deg": 90.0}, {"chunk_frames": 0}, {"max_doubt": 0.0}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        TriangulationSettings(**wrong)


def test_exact_keypoints_give_exact_points(make_take):
    """Noise that is learnt to be nothing must not turn every view into an outlier."""
    take = make_take(replace(PERFECT, shuffle=False), frames=120)
    result = triangulate(take.matches, take.rig)
    assert (result.source == Source.TRIANGULATED).all()
    assert errors(result, take.truth).max() < 1e-6
