"""Who is who: over views, over time, and who is nobody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mocap.errors import CalibrationError, SettingsError
from mocap.matching import MatchingSettings, match_people
from mocap.synthetic.noise import NoiseSettings
from mocap.types import Keypoints2D


def crossing(truth: np.ndarray) -> np.ndarray:
    """Two people who walk past each other at arm's length."""
    along = np.linspace(-1.6, 1.6, len(truth))
    place = np.zeros((len(truth), 2, 3))
    place[:, 0, 0], place[:, 1, 0] = along, -along
    place[:, 0, 1], place[:, 1, 1] = 0.3, -0.3
    return truth - truth[:, :, :1] * [1, 1, 0] + place[:, :, None]


def unseen(keypoints: Keypoints2D, where) -> Keypoints2D:
    confidence = keypoints.confidence.copy()
    confidence[where] = 0
    return replace(keypoints, confidence=confidence)


def check_identities(crowd, matches, people: int, recall: float = 0.97) -> None:
    """One person index per true person, no wrong slot, and nearly all slots taken."""
    who = crowd.who(matches)
    assert len(matches.person_ids) == people
    owners = []
    for p in range(people):
        shown = who[:, :, p][who[:, :, p] >= 0]
        owner = np.bincount(shown).argmax()
        owners.append(owner)
        assert (shown == owner).mean() > 0.995
    assert sorted(owners) == list(range(people))
    assert (matches.slot >= 0).sum() > recall * (crowd.observation.person >= 0).sum()


@pytest.mark.parametrize(("people", "cameras"), [(1, 3), (2, 4), (4, 5), (6, 8)])
def test_shuffled_slots_are_sorted(make_crowd, people, cameras):
    crowd = make_crowd(people, cameras=cameras)
    check_identities(crowd, match_people(crowd.keypoints, crowd.rig), people)


def test_two_people_who_cross(make_crowd):
    crowd = make_crowd(2, cameras=4, change=crossing)
    check_identities(crowd, match_people(crowd.keypoints, crowd.rig), 2)


def test_people_who_are_not_there_do_not_become_people(make_crowd):
    crowd = make_crowd(2, noise=NoiseSettings(false_positives=1.0))
    check_identities(crowd, match_people(crowd.keypoints, crowd.rig), 2)


def test_flipped_people_keep_their_identity(make_crowd):
    crowd = make_crowd(3, noise=NoiseSettings(flip_rate=0.2))
    check_identities(crowd, match_people(crowd.keypoints, crowd.rig), 3, recall=0.95)


def test_a_camera_that_fails_half_way(make_crowd):
    crowd = make_crowd(2, cameras=4)
    keypoints = unseen(crowd.keypoints, np.s_[1, 70:])
    matches = match_people(keypoints, crowd.rig)
    assert len(matches.person_ids) == 2
    assert (matches.slot[1, 70:] == -1).all()
    assert (matches.slot[[0, 2, 3], 70:] >= 0).mean() > 0.95


def test_bystander_of_one_camera_is_nobody(make_crowd):
    crowd = make_crowd(2, noise=NoiseSettings(shuffle=False))
    keypoints = unseen(crowd.keypoints, np.s_[1:, :, 1])
    matches = match_people(keypoints, crowd.rig)
    assert len(matches.person_ids) == 1
    assert (matches.slot[:, :, 0] <= 0).all()


def test_bystander_of_two_cameras_counts_only_if_asked(make_crowd):
    crowd = make_crowd(2, noise=NoiseSettings(shuffle=False), cameras=5)
    keypoints = unseen(crowd.keypoints, np.s_[2:, :, 1])
    assert len(match_people(keypoints, crowd.rig).person_ids) == 1
    assert len(match_people(keypoints, crowd.rig, MatchingSettings(min_views=2)).person_ids) == 2


def test_occlusion_and_return_keep_the_identity(make_crowd):
    crowd = make_crowd(2, frames=240, noise=NoiseSettings(shuffle=False))
    for gap in (20, 120):
        keypoints = unseen(crowd.keypoints, np.s_[:, 60 : 60 + gap, 1])
        matches = match_people(keypoints, crowd.rig)
        assert len(matches.person_ids) == 2
        second = int(np.argmax([(matches.slot[:, :50, p] == 1).sum() for p in range(2)]))
        assert (matches.slot[:, 60 : 60 + gap, second] == -1).all()
        assert (matches.slot[:, 60 + gap + 5 :, second] == 1).mean() > 0.95


def test_double_detection_is_one_person(make_crowd):
    crowd = make_crowd(1, noise=NoiseSettings(shuffle=False), cameras=4)
    rng = np.random.default_rng(0)
    k, c = crowd.keypoints.keypoints, crowd.keypoints.confidence
    doubled = replace(
        crowd.keypoints,
        keypoints=np.concatenate([k, k + rng.normal(0, 4, k.shape)], 2),
        confidence=np.concatenate([c, 0.8 * c], 2),
        uncertainty=np.full((*c.shape[:2], 2, c.shape[3]), np.nan),
    )
    matches = match_people(doubled, crowd.rig)
    assert len(matches.person_ids) == 1
    assert (matches.slot >= 0).mean() > 0.97


def test_jump_of_frames_keeps_the_number_of_people(make_crowd):
    crowd = make_crowd(2, frames=200)
    frames = np.arange(200)
    frames[100:] += 5000
    matches = match_people(replace(crowd.keypoints, frames=frames), crowd.rig)
    assert len(matches.person_ids) == 2
    assert (matches.slot >= 0).sum() > 0.96 * (crowd.observation.person >= 0).sum()


def test_one_person_in_one_slot_needs_no_tracking(make_crowd):
    crowd = make_crowd(1, frames=120, cameras=3)
    frames = np.arange(120)
    frames[50:] += 1000
    matches = match_people(replace(unseen(crowd.keypoints, np.s_[0, 10:30]), frames=frames), crowd.rig)
    assert matches.person_ids.tolist() == [0]
    assert (matches.slot[0, 10:30] == -1).all()
    assert (matches.confidence[0, 10:30] == 0).all()
    assert np.nanmedian(matches.score) < 10


def test_nobody(make_crowd):
    crowd = make_crowd(2, frames=40)
    matches = match_people(unseen(crowd.keypoints, np.s_[:]), crowd.rig)
    assert matches.keypoints.shape == (5, 40, 0, 17, 2)
    single = make_crowd(1, frames=40)
    assert len(match_people(unseen(single.keypoints, np.s_[1:]), single.rig).person_ids) == 0


def test_audit_names_the_slot_and_the_alternative(make_crowd):
    crowd = make_crowd(3, cameras=4)
    matches = match_people(crowd.keypoints, crowd.rig, MatchingSettings(repair_flips=False))
    J = crowd.keypoints.confidence.shape[3]
    taken = matches.observation >= 0
    v, t, p, j = np.nonzero(taken)
    slot, joint = np.divmod(matches.observation[taken], J)
    np.testing.assert_array_equal(slot, matches.slot[v, t, p])
    np.testing.assert_array_equal(joint, j)
    np.testing.assert_array_equal(matches.keypoints[taken], crowd.keypoints.keypoints[v, t, slot, joint])
    assert (taken == (matches.confidence > 0)).all()
    seen = matches.slot >= 0
    assert np.isnan(matches.score[~seen]).all()
    assert np.nanmedian(matches.score) < 8
    assert np.nanmedian(matches.runner_up) > 40


def test_chunks_do_not_change_the_result(make_crowd):
    crowd = make_crowd(3, frames=90)
    whole = match_people(crowd.keypoints, crowd.rig)
    parts = match_people(crowd.keypoints, crowd.rig, MatchingSettings(chunk_frames=11))
    np.testing.assert_array_equal(whole.slot, parts.slot)
    np.testing.assert_array_equal(whole.observation, parts.observation)


def test_bad_input(make_crowd):
    crowd = make_crowd(1, frames=20, cameras=3)
    with pytest.raises(CalibrationError, match="cam_2"):
        match_people(crowd.keypoints, crowd.rig.select(crowd.rig.names[:2]))
    with pytest.raises(SettingsError, match="min_views"):
        MatchingSettings(min_views=1)
    with pytest.raises(SettingsError, match="flip_rate"):
        MatchingSettings(flip_rate=0.0)


def test_unknown_joints_are_matched_without_flip_repair(make_crowd, caplog):
    crowd = make_crowd(2, frames=60)
    named = replace(crowd.keypoints, joint_names=tuple(f"marker_{j}" for j in range(17)))
    matches = match_people(named, crowd.rig)
    assert len(matches.person_ids) == 2
    assert "flips are not repaired" in caplog.text
