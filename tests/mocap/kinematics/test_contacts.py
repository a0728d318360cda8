"""Feet that stand: found, locked, without pops."""

import numpy as np
import pytest

from mocap.kinematics import SolveSettings, joint_positions, solve_motion
from mocap.kinematics.contacts import find_contacts
from mocap.kinematics.humanoid import NAMES
from mocap.skeleton import COCO_17, HALPE_26
from mocap.synthetic import named_positions, procedural_motion, truth_positions

FPS = 30.0
POINTS = [[f"{s}_heel", f"{s}_big_toe"] for s in "lr"]
RATE = 50.0


def feet(motion):
    """True heels and toes [T, 2, 2, 3]."""
    return np.stack([named_positions(motion, names, HALPE_26)[:, 0] for names in POINTS], 1)


def runs(mask):
    edges = np.flatnonzero(np.diff(np.r_[0, mask.astype(int), 0]))
    return list(zip(edges[::2], edges[1::2], strict=True))


def stepping(heights, still=40, swing=15):
    """One point that stands at each height for a while and swings to the next: [T, 2, 2, 3], true mask [T]."""
    z, x, stands = [], [], []
    for i, h in enumerate(heights):
        z += [h] * still
        x += [0.4 * i] * still
        stands += [True] * still
        if i + 1 < len(heights):
            u = (np.arange(swing) + 1) / (swing + 1)
            z += (h + u * (heights[i + 1] - h) + 0.15 * np.sin(np.pi * u)).tolist()
            x += (0.4 * (i + u)).tolist()
            stands += [False] * swing
    path = np.stack([x, np.zeros(len(x)), z], -1)
    return np.broadcast_to(path[:, None, None], (len(x), 2, 2, 3)), np.array(stands)


@pytest.mark.parametrize("heights", [(0, 0, 0), (0, 0.18, 0.36, 0.54), (0.8, 0.4, 0.0), (-0.3, -0.3, -0.1)])
def test_contacts_on_the_floor_on_stairs_and_beams(heights):
    places, stands = stepping(heights)
    found = np.zeros(len(places), bool)
    for c in find_contacts(places, np.ones((len(places), 2, 2), bool), RATE):
        if (c.foot, c.point) == (0, 0):
            found[c.rows] = True
    assert (found == stands).mean() > 0.94
    assert len(runs(found)) == len(heights)


def test_a_foot_held_up_that_sways_does_not_stand():
    places, _ = stepping((0, 0.5, 0), still=60)
    places = places.copy()
    t = np.arange(len(places)) / RATE
    places[75:135, ..., 0] += 0.04 * np.sin(2 * np.pi * 0.8 * t[75:135])[:, None, None]
    spans = [c for c in find_contacts(places, np.ones((len(places), 2, 2), bool), RATE) if (c.foot, c.point) == (0, 0)]
    assert all(c.stop <= 70 or c.start >= 130 for c in spans)


def test_the_top_of_a_jump_is_no_contact():
    t = np.arange(60) / RATE
    z = np.where(np.abs(t - 0.6) < 0.25, 4.9 * (0.25**2 - (t - 0.6) ** 2), 0.0)
    places = np.zeros((60, 2, 2, 3))
    places[..., 2] = z[:, None, None]
    for c in find_contacts(places, np.ones((60, 2, 2), bool), RATE):
        assert z[c.rows].max() < 0.08


def test_nothing_seen_nothing_stands():
    assert find_contacts(np.zeros((50, 2, 2, 3)), np.zeros((50, 2, 2), bool), RATE) == []
    assert find_contacts(np.zeros((2, 2, 2, 3)), np.ones((2, 2, 2), bool), RATE) == []


def test_contacts_of_a_performance_are_the_true_ones(studio):
    motion, found = studio
    contacts = solve_motion(found, SolveSettings()).contacts[:, 0].any(-1)
    planted = motion.planted[:, 0]
    assert (contacts & planted).sum() / contacts.sum() > 0.85
    assert (contacts & planted).sum() / planted.sum() > 0.85


def test_feet_that_stand_do_not_slide(studio):
    """Done when: at most 3 mm during contact, in what is measured and in what is reported."""
    _, found = studio
    free, locked = (solve_motion(found, SolveSettings(contacts=c)) for c in (False, True))
    assert not free.contacts.any()
    assert (locked.slide_after < 0.003).all()
    assert (locked.slide_before > 2 * locked.slide_after).all()
    toes, before = (joint_positions(m)[:, 0, NAMES.index("LeftToeBase")] for m in (locked, free))
    worst = [np.linalg.norm(toes[a:b] - toes[a:b].mean(0), axis=-1).max() for a, b in runs(locked.contacts[:, 0, 0, 1])]
    was = [
        np.linalg.norm(before[a:b] - before[a:b].mean(0), axis=-1).max() for a, b in runs(locked.contacts[:, 0, 0, 1])
    ]
    assert len(worst) > 3
    assert max(worst) < 0.003 < max(was)


def test_no_pops_where_contacts_begin_and_end(studio):
    """Near borders knees, ankles and toes accelerate no more than in the true motion, or without locking."""
    motion, found = studio
    free, locked = (solve_motion(found, SolveSettings(contacts=c)) for c in (False, True))

    def size(path):
        return np.linalg.norm(np.diff(path, 2, axis=0), axis=-1) * FPS**2

    for foot, side in enumerate(("Left", "Right")):
        border = np.zeros(len(found.frames), bool)
        for point in (0, 1):
            for row in np.flatnonzero(np.diff(locked.contacts[:, 0, foot, point].astype(int))):
                border[max(0, row - 3) : row + 4] = True
        near = border[1:-1]
        for bone, joint in (("Leg", "knee"), ("Foot", "ankle"), ("ToeBase", "big_toe")):
            b = NAMES.index(side + bone)
            before, after = (size(joint_positions(m)[:, 0, b]) for m in (free, locked))
            true = size(named_positions(motion, [f"{'lr'[foot]}_{joint}"], HALPE_26)[:, 0, 0])
            assert after[near].max() < max(1.2 * before[near].max(), true[near].max()), (side, bone)


def test_ankles_stand_in_where_there_are_no_toes(exact):
    motion = procedural_motion(200, RATE, seed=8, kind="walk")
    result = solve_motion(exact(truth_positions(motion, COCO_17), COCO_17.joints, fps=RATE), SolveSettings())
    assert not result.contacts[..., 1].any()
    standing = result.contacts[:, 0, :, 0]
    assert (standing & motion.planted[:, 0]).sum() / standing.sum() > 0.9
    assert (result.slide_after < 0.003).all()


def test_a_perfect_walk_is_left_as_it_is(exact):
    """Locking what does not slide changes nothing."""
    motion = procedural_motion(200, RATE, seed=8, kind="walk")
    found = exact(truth_positions(motion, HALPE_26), HALPE_26.joints, fps=RATE)
    free, locked = (joint_positions(solve_motion(found, SolveSettings(contacts=c))) for c in (False, True))
    assert np.linalg.norm(free - locked, axis=-1).mean() < 0.002


def test_contacts_of_two_people_are_their_own(exact):
    motion = procedural_motion(150, RATE, seed=9, n_people=2)
    positions = truth_positions(motion, HALPE_26).copy()
    legs = [j for j, n in enumerate(HALPE_26.joints) if any(k in n for k in ("knee", "ankle", "toe", "heel"))]
    positions[:, 1, legs] = np.nan
    result = solve_motion(exact(positions, HALPE_26.joints, fps=RATE), SolveSettings())
    assert result.contacts[:, 0].any()
    assert not result.contacts[:, 1].any()
    assert np.isnan(result.slide_after[1]).all()
    assert np.isfinite(result.rotations).all()
