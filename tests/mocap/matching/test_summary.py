"""What the audit says about takes that go wrong, and that results stay sane there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mocap.matching import MatchingSettings, match_people
from mocap.matching.summary import repairs, summarise
from mocap.synthetic.noise import NoiseSettings
from mocap.triangulation import triangulate


def silent(keypoints, where):
    confidence = keypoints.confidence.copy()
    confidence[where] = 0
    return replace(keypoints, confidence=confidence)


def warnings_of(crowd, keypoints, settings=None) -> str:
    return "\n".join(summarise(match_people(keypoints, crowd.rig, settings)).warnings)


def test_a_good_take_is_nothing_to_warn_of(make_crowd):
    crowd = make_crowd(2, frames=90)
    assert warnings_of(crowd, crowd.keypoints) == ""


def test_nobody(make_crowd):
    crowd = make_crowd(2, frames=40)
    assert "no person" in warnings_of(crowd, silent(crowd.keypoints, np.s_[:]))


def test_a_camera_that_drops_out_half_way(make_crowd):
    crowd = make_crowd(2, frames=120, cameras=4)
    text = warnings_of(crowd, silent(crowd.keypoints, np.s_[2, 60:]))
    assert "camera cam_2 shows nobody after frame 59" in text
    assert "cam_1" not in text


def test_a_camera_that_shows_nobody(make_crowd):
    crowd = make_crowd(2, frames=90, cameras=5)
    assert "cam_0 shows none" in warnings_of(crowd, silent(crowd.keypoints, np.s_[0]))


def test_one_view_only_for_a_while(make_crowd):
    crowd = make_crowd(1, frames=120, cameras=4)
    text = warnings_of(crowd, silent(crowd.keypoints, np.s_[1:, 60:]))
    assert "seen by a single camera" in text


def test_somebody_found_twice(make_crowd):
    crowd = make_crowd(1, noise=NoiseSettings(shuffle=False), frames=60, cameras=4)
    k, c = crowd.keypoints.keypoints, crowd.keypoints.confidence
    near = k + np.random.default_rng(0).normal(0, 2, k.shape)
    doubled = replace(
        crowd.keypoints, keypoints=np.concatenate([k, near], 2), confidence=np.concatenate([c, 0.8 * c], 2),
        uncertainty=np.full((*c.shape[:2], 2, c.shape[3]), np.nan),
    )  # fmt: skip
    matches = match_people(doubled, crowd.rig)
    assert len(matches.person_ids) == 1
    assert "found twice" in "\n".join(summarise(matches).warnings)


@pytest.mark.parametrize("settings", [MatchingSettings(), MatchingSettings(mode="causal")])
def test_holes_and_confidence_zero_change_nothing_else(make_crowd, settings):
    """A joint is missing, whether it is said by NaN or by confidence 0; what is left is finite."""
    crowd = make_crowd(2, frames=60, cameras=4)
    gone = np.random.default_rng(3).random(crowd.keypoints.confidence.shape) < 0.2
    by_confidence = silent(crowd.keypoints, gone)
    by_nan = replace(
        crowd.keypoints, keypoints=np.where(gone[..., None], np.nan, crowd.keypoints.keypoints)
    )  # fmt: skip
    a, b = (match_people(k, crowd.rig, settings) for k in (by_confidence, by_nan))
    np.testing.assert_array_equal(a.slot, b.slot)
    np.testing.assert_array_equal(a.observation, b.observation)
    assert len(a.person_ids) == 2
    taken = a.observation >= 0
    assert np.isfinite(a.keypoints[taken]).all()
    X = triangulate(a, crowd.rig)
    assert np.isfinite(X.positions[X.source == 1]).all()


def test_repairs_are_told_joint_by_joint(make_crowd):
    crowd = make_crowd(1, noise=NoiseSettings(flip_rate=0.1, shuffle=False), frames=200, cameras=5)
    matches = match_people(crowd.keypoints, crowd.rig)
    flipped, moved = repairs(matches)
    assert flipped.any()
    assert not moved.any()
    summary = summarise(matches)
    assert sum(v.flipped for v in summary.views) > 0
    assert {v.camera for v in summary.views} == set(crowd.rig.names)
    assert all(v.seen > 0.9 and v.score_px < 15 for v in summary.views)
