"""Crowds with known identities: floors, causality, decisions by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibration.projection import Lenses, project
from mocap.errors import DataError, SettingsError
from mocap.matching import MatchingSettings, match_people
from mocap.matching.observations import gather
from mocap.matching.settings import AssignmentMethod, MatchMode, MatchOverride
from mocap.metrics.association import association_score
from mocap.metrics.identity import identity_score, person_distances
from mocap.skeleton import COCO_17
from mocap.synthetic.crowd import CROWD_NOISE, CrowdKind, make_crowd
from mocap.triangulation import triangulate

FRAMES = 100


@pytest.fixture(scope="module")
def crossing():
    return make_crowd(3, 5, CrowdKind.CROSSING, frames=FRAMES, seed=1)


def scores(crowd, settings=None):
    matches = match_people(crowd.observation.keypoints, crowd.rig, settings)
    X = triangulate(matches, crowd.rig).positions
    present = np.isfinite(crowd.truth).any((2, 3))
    identity = identity_score(person_distances(X, crowd.truth), present, np.isfinite(X).any((2, 3)))
    return identity, association_score(matches.slot, crowd.observation.person)


@pytest.mark.parametrize("kind", [CrowdKind.CROSSING, CrowdKind.HUGGING])
@pytest.mark.parametrize("method", list(AssignmentMethod))
def test_people_who_meet_are_kept_apart(kind, method):
    identity, pairs = scores(make_crowd(3, 5, kind, frames=FRAMES, seed=1), MatchingSettings(method=method))
    assert identity.idf1 > 0.97
    assert identity.mota > 0.95
    assert pairs.precision > 0.97
    assert pairs.recall > 0.97


@pytest.mark.parametrize("kind", [CrowdKind.LEAVING, CrowdKind.MIXED])
def test_nobody_lives_on_after_leaving(kind):
    """Tracks of those who left must not live on noise or on those who stay."""
    identity, pairs = scores(make_crowd(3, 5, kind, frames=150, seed=1))
    assert identity.mota > 0.95
    assert pairs.precision > 0.97


def test_who_comes_back_is_known_by_the_body():
    identity, _ = scores(make_crowd(2, 4, CrowdKind.LEAVING, frames=120, seed=1))
    assert identity.idf1 > 0.97


def test_who_comes_in_where_another_vanished_is_not_him():
    """Four leave in the crowd and come back elsewhere: tracks must not go over from one to the other."""
    crowd = make_crowd(4, 5, CrowdKind.LEAVING, frames=250, seed=1, theft_rate=0.0)
    identity, pairs = scores(crowd)
    assert identity.idf1 > 0.97
    assert pairs.precision > 0.97


def test_causal_decisions_never_change(crossing):
    """What a prefix of the take gives is what the whole take gives there."""
    settings = MatchingSettings(mode=MatchMode.CAUSAL)
    k = crossing.observation.keypoints
    whole = match_people(k, crossing.rig, settings)
    for stop in (30, 71):
        part = replace(
            k, keypoints=k.keypoints[:, :stop], confidence=k.confidence[:, :stop],
            uncertainty=k.uncertainty[:, :stop], frames=k.frames[:stop],
        )  # fmt: skip
        early = match_people(part, crossing.rig, settings)
        P = len(early.person_ids)
        np.testing.assert_array_equal(early.slot, whole.slot[:, :stop, :P])
        np.testing.assert_array_equal(early.observation, whole.observation[:, :stop, :P])
        assert (whole.slot[:, :stop, P:] == -1).all()


def test_causal_mode_is_nearly_as_good(crossing):
    identity, pairs = scores(crossing, MatchingSettings(mode=MatchMode.CAUSAL))
    assert identity.idf1 > 0.95
    assert pairs.precision > 0.97


def test_limbs_of_the_neighbour_are_given_back():
    """Arms and legs that the detector exchanged between people who overlap end where they belong."""
    noise = replace(CROWD_NOISE, outlier_rate=0.0, flip_rate=0.0)
    crowd = make_crowd(3, 6, CrowdKind.CROSSING, frames=FRAMES, seed=4, theft_rate=0.5, noise=noise)
    exact = project(Lenses.of(crowd.rig), crowd.truth)
    ends = [COCO_17.index(f"{s}_{n}") for s in "lr" for n in ("wrist", "ankle")]

    def wrong(settings: MatchingSettings) -> float:
        """Share of the wrists and ankles taken that lie more than 40 px from where their person has them."""
        matches = match_people(crowd.observation.keypoints, crowd.rig, settings)
        who = np.take_along_axis(crowd.observation.person, np.maximum(matches.slot, 0).astype(int), 2)
        owner = [np.bincount(who[:, :, p][matches.slot[:, :, p] >= 0] + 1).argmax() - 1 for p in range(3)]
        assert sorted(owner) == [0, 1, 2]
        error = np.linalg.norm(matches.keypoints - exact[:, :, owner], axis=-1)[..., ends]
        return float((error > 40).sum() / np.isfinite(error).sum())

    before = wrong(MatchingSettings(repair_limbs=False))
    assert before > 0.005
    assert wrong(MatchingSettings()) < 0.4 * before
    # Frames whose limbs changed hands are read again with the kernel that is there, not one compiled for strides.
    layouts = {array.layout for signature in gather.signatures for array in signature if hasattr(array, "layout")}
    assert layouts == {"C"}


def test_a_slot_ignored_by_hand_is_nobodys(crossing):
    k = crossing.observation.keypoints
    override = MatchOverride(frames=(10, 20), camera=k.cameras[2], slot=1, ignore=True)
    matches = match_people(k, crossing.rig, MatchingSettings(override=(override,)))
    assert not (matches.slot[2, 10:21] == 1).any()
    J = k.confidence.shape[3]
    assert not (matches.observation[2, 10:21] // J == 1).any()


def test_a_slot_given_by_hand_is_taken(crossing):
    k = crossing.observation.keypoints
    before = match_people(k, crossing.rig)
    s = int(before.slot[1, 30, 0])
    other = MatchOverride(frames=(30, 30), camera=k.cameras[1], slot=s, person=2)
    after = match_people(k, crossing.rig, MatchingSettings(override=(other,)))
    assert after.slot[1, 30, 2] == s
    assert after.slot[1, 30, 0] == -1
    rest = np.ones(before.slot.shape, bool)
    rest[1, 30] = False
    np.testing.assert_array_equal(before.slot[rest], after.slot[rest])


def test_an_empty_slot_given_by_hand_takes_nothing_away(crossing):
    k = crossing.observation.keypoints
    before = match_people(k, crossing.rig)
    empty = ~(k.confidence > 0).any(-1)
    v, t, s = next((v, t, s) for v, t, s in np.argwhere(empty) if before.slot[v, t, 0] >= 0)
    frame = int(k.frames[t])
    override = MatchOverride(frames=(frame, frame), camera=k.cameras[v], slot=int(s), person=0)
    after = match_people(k, crossing.rig, MatchingSettings(override=(override,)))
    np.testing.assert_array_equal(before.slot, after.slot)


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ({"camera": "nowhere"}, "camera"),
        ({"slot": 99}, "slot"),
        ({"frames": (5000, 6000)}, "frames"),
        ({"ignore": False, "person": 9}, "person"),
    ],
)
def test_overrides_that_name_what_there_is_not(crossing, override, what):
    good = MatchOverride(frames=(1, 2), camera="cam_0", slot=0, ignore=True)
    settings = MatchingSettings(override=(replace(good, **override),))
    with pytest.raises(DataError, match=what):
        match_people(crossing.observation.keypoints, crossing.rig, settings)


def test_overrides_that_say_nothing_or_two_things():
    for ignore, person in ((True, 1), (False, -1)):
        with pytest.raises(SettingsError, match="two things"):
            MatchOverride(frames=(1, 2), camera="cam_0", slot=0, ignore=ignore, person=person)
    with pytest.raises(SettingsError, match="override"):
        MatchOverride(frames=(3, 2), camera="cam_0", slot=0, ignore=True)


def test_association_score_by_hand():
    person = np.array([[[0, 1]], [[0, 1]], [[1, 0]]])  # three views, one frame, two slots
    perfect = np.array([[[0, 1]], [[0, 1]], [[1, 0]]])
    assert association_score(perfect, person).precision == 1.0
    assert association_score(perfect, person).recall == 1.0
    swapped = np.array([[[0, 1]], [[0, 1]], [[0, 1]]])  # the third view has them exchanged
    score = association_score(swapped, person)
    assert score.precision == pytest.approx(2 / 6)
    assert score.recall == pytest.approx(2 / 6)
