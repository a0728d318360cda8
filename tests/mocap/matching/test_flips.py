"""Left/right flips: found where they are, left alone where they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mocap.matching import MatchingSettings, match_people
from mocap.matching.flip_path import flip_possible, joint_viterbi, view_viterbi
from mocap.matching.flips import PairGroups
from mocap.skeleton import BLAZEPOSE_33, COCO_17, H36M_17, LIMBS_12
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, observe_labelled
from mocap.synthetic.rig import ring_rig
from mocap.triangulation import TriangulationSettings, triangulate

QUIET = NoiseSettings(sigma_px=3.0, outlier_rate=0.02, miss_rate=0.03, shuffle=False)
PAIRED = H36M_17.mirror != np.arange(17)


def still_flipped(crowd, matches) -> np.ndarray:
    """Bool [V, T, J]: joints of the one person that are the partner's after the repair."""
    joint = matches.observation[:, :, 0] % 17
    was = np.take_along_axis(crowd.observation.flipped[:, :, 0], np.maximum(joint, 0), axis=2)
    moved = joint != np.arange(17)
    return (was ^ moved) & (matches.observation[:, :, 0] >= 0) & PAIRED


@pytest.mark.parametrize("cameras", [3, 4, 6, 10])
def test_whole_body_flips_are_undone(make_crowd, cameras):
    crowd = make_crowd(1, noise=replace(QUIET, flip_rate=0.1), frames=300, cameras=cameras)
    before = crowd.observation.flipped[:, :, 0].any(-1).mean()
    wrong = still_flipped(crowd, match_people(crowd.keypoints, crowd.rig))
    assert before > 0.04
    # With three cameras two may be flipped at once, which the third cannot outvote.
    assert wrong.any(-1).mean() < (0.25 if cameras == 3 else 0.1) * before


def test_arms_and_legs_alone(make_crowd):
    crowd = make_crowd(1, noise=replace(QUIET, limb_flip_rate=0.08), frames=300, cameras=5)
    before = crowd.observation.flipped[:, :, 0][..., PAIRED].mean()
    wrong = still_flipped(crowd, match_people(crowd.keypoints, crowd.rig))[..., PAIRED].mean()
    assert wrong < 0.15 * before


def test_a_camera_that_is_flipped_a_quarter_of_the_time(make_crowd):
    crowd = make_crowd(1, noise=QUIET, frames=200, cameras=4)
    mirror = H36M_17.mirror
    keypoints, confidence = crowd.keypoints.keypoints.copy(), crowd.keypoints.confidence.copy()
    for span in (slice(20, 45), slice(120, 145)):
        keypoints[1, span], confidence[1, span] = keypoints[1, span][:, :, mirror], confidence[1, span][:, :, mirror]
    matches = match_people(replace(crowd.keypoints, keypoints=keypoints, confidence=confidence), crowd.rig)
    moved = (matches.observation[:, :, 0] != np.arange(17)) & (matches.observation[:, :, 0] >= 0)
    flipped = moved[..., PAIRED].mean(-1) > 0.3
    expected = np.zeros_like(flipped)
    expected[1, 20:45] = expected[1, 120:145] = True
    assert (flipped != expected).mean() < 0.005


def test_nothing_is_flipped_without_need(make_crowd):
    crowd = make_crowd(1, noise=replace(QUIET, outlier_rate=0.06, miss_rate=0.1), frames=400, cameras=4)
    matches = match_people(crowd.keypoints, crowd.rig)
    moved = (matches.observation[:, :, 0] != np.arange(17)) & (matches.observation[:, :, 0] >= 0)
    assert moved.mean() < 0.002


def test_repair_restores_the_limbs():
    rig, noise = ring_rig(4, seed=2), replace(QUIET, flip_rate=0.08, outlier_rate=0.0)
    truth = truth_positions(procedural_motion(250, 30.0, 2), BLAZEPOSE_33)
    observed = observe_labelled(truth, rig, noise, 2, joint_names=BLAZEPOSE_33.joints)
    names = BLAZEPOSE_33.joints

    def spread(repair: bool) -> float:
        matches = match_people(observed.keypoints, rig, MatchingSettings(repair_flips=repair))
        # Every view counts, so that no robust weight hides a flip that is left.
        X = triangulate(matches, rig, TriangulationSettings(robust=False)).positions[:, 0]
        length = np.stack([np.linalg.norm(X[:, names.index(a)] - X[:, names.index(b)], axis=-1) for a, b in LIMBS_12])
        return float(np.mean(np.nanstd(length, 1) / np.nanmean(length, 1)))

    assert spread(True) < 0.05
    assert spread(True) < 0.5 * spread(False)


def test_turned_off_nothing_changes(make_crowd):
    crowd = make_crowd(1, noise=replace(QUIET, flip_rate=0.2), cameras=4)
    matches = match_people(crowd.keypoints, crowd.rig, MatchingSettings(repair_flips=False))
    found = matches.observation[:, :, 0] >= 0
    assert (matches.observation[:, :, 0][found] == np.broadcast_to(np.arange(17), found.shape)[found]).all()


def test_groups_of_pairs():
    """Arms, legs and face share the pairs out; the rest are parts of arms and legs."""
    for skeleton in (H36M_17, COCO_17, BLAZEPOSE_33):
        table = PairGroups.of(skeleton)
        groups = dict(table.groups)
        assert len(table.pairs) == len(skeleton.pairs) == len(groups["body"])
        shared = np.concatenate([groups[name] for name in ("arms", "legs", "face") if name in groups])
        assert sorted(shared) == sorted(groups["body"])
        for name, whole in (("forearms", "arms"), ("hands", "forearms"), ("shins", "legs"), ("feet", "shins")):
            assert set(groups[name]) < set(groups[whole])


def best_path(cost, starts, flip_cost, change_cost):
    """All paths tried: the dynamic programme's answer for a tiny case."""
    T, V = cost.shape[:2]
    states = np.array([[(s >> v) & 1 for v in range(V)] for s in range(2**V)], bool)
    best, found = np.inf, None
    for path in np.ndindex(*(2**V,) * T):
        f = states[list(path)]
        total = (f * flip_cost).sum()
        total += sum((cost[t] * (f[t][:, None] != f[t][None])).sum() / 2 for t in range(T))
        total += change_cost * sum((f[t] != f[t - 1]).sum() for t in range(1, T) if not starts[t])
        if total < best:
            best, found = total, f
    return found


def test_dynamic_programme_finds_the_best_path(rng):
    for _ in range(10):
        cost = rng.normal(0, 2, (4, 3, 3))
        cost = cost + np.swapaxes(cost, 1, 2)
        starts, flip_cost = np.array([True, False, True, False]), rng.uniform(0.1, 1.0, 3)
        found = np.zeros((4, 3), bool)
        often, frames = np.tile(flip_cost, (4, 1)), np.empty(4, bool)
        flip_possible(cost, often, np.arange(3), starts, 0.8, frames)
        joint_viterbi(cost, starts, often, 0.8, found, frames)
        np.testing.assert_array_equal(found, best_path(cost, starts, flip_cost, 0.8))


def test_chain_of_one_view_is_the_special_case(rng):
    advantage = rng.normal(0, 2, 40)
    starts = np.zeros(40, bool)
    starts[[0, 17]] = True
    alone = np.zeros(40, bool)
    view_viterbi(advantage, starts, np.full(40, 0.3), 1.2, alone)
    # A second view that can never be flipped, and pairs with the first.
    cost = np.zeros((40, 2, 2))
    cost[:, 0, 1] = cost[:, 1, 0] = advantage
    both = np.zeros((40, 2), bool)
    joint_viterbi(cost, starts, np.tile([0.3, 1e6], (40, 1)), 1.2, both, np.ones(40, bool))
    np.testing.assert_array_equal(alone, both[:, 0])
