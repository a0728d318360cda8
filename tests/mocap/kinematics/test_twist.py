"""Turn of limbs about themselves: knees do not flip, hands do not wring."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from mocap.kinematics import SolveSettings, solve_motion
from mocap.kinematics.hands import FOREARM_SHARE, hand_turn
from mocap.kinematics.hinges import ARM_TURN_STD, LEG_TURN_STD, bending_axis, with_foot
from mocap.kinematics.humanoid import NAMES
from mocap.skeleton import BLAZEPOSE_33
from mocap.types import Trajectories3D

T = 120
X, Y, Z = np.eye(3)
WHOLE = [slice(0, T)]

STANDING = {
    "nose": (0, -0.174, 1.58), "l_ear": (0.07, -0.0536, 1.60), "l_shoulder": (0.18, 0, 1.40),
    "l_elbow": (0.20, 0.03, 1.13), "l_wrist": (0.20, 0, 0.88), "l_index": (0.20, -0.06, 0.80),
    "l_pinky": (0.20, 0.01, 0.80), "l_hip": (0.1, 0, 0.9), "l_knee": (0.1, 0, 0.48), "l_ankle": (0.1, 0, 0.08),
    "l_heel": (0.1, 0.05, 0.02), "l_big_toe": (0.1, -0.15, 0.02),
}  # fmt: skip


def standing(**changed):
    """Points [33, 3] of somebody who stands and faces -y; `changed` are places of left joints."""
    pose = np.full((len(BLAZEPOSE_33.joints), 3), np.nan)
    for name, place in {**STANDING, **changed}.items():
        pose[BLAZEPOSE_33.index(name)] = place
        if name.startswith("l_"):
            pose[BLAZEPOSE_33.index("r_" + name[2:])] = np.array(place) * (-1, 1, 1)
    return pose


def noise(sigma, *shape):
    """Errors that change slowly, as those of filtered joints do."""
    raw = gaussian_filter1d(np.random.default_rng(0).normal(size=(T, *shape)), 3, axis=0)
    return sigma * raw / raw.std()


def solve(positions):
    present = np.isfinite(positions).all(-1)
    blank = np.where(present, 1.0, np.nan)
    take = Trajectories3D(
        positions=positions, covariance=np.where(present[..., None, None], 1e-4 * np.eye(3), np.nan),
        source=present.astype(np.uint8), reprojection_error=blank, consistency=blank,
        views_used=np.zeros(present.shape), person_ids=[0], frames=np.arange(T),
        joint_names=BLAZEPOSE_33.joints, fps=30.0,
    )  # fmt: skip
    return solve_motion(take, SolveSettings())


def turn(motion, bone, axis):
    """Turn [T] of a bone about its own rest axis, degrees."""
    q = motion.rotations[:, 0, NAMES.index(bone)].astype(float)
    return (np.degrees(2 * np.arctan2(q[:, :3] @ axis, q[:, 3])) + 180) % 360 - 180


def speed(motion, bone):
    """Degrees per frame [T - 1]."""
    r = Rotation.from_quat(motion.rotations[:, 0, NAMES.index(bone)])
    return np.degrees((r[:-1].inv() * r[1:]).magnitude())


@pytest.mark.parametrize("back", [0.0, 0.02, 0.06])
def test_straight_and_overstretched_legs_do_not_turn_round(back):
    pose = standing(l_knee=(0.1, back, 0.48))
    motion = solve(pose + noise(0.005, 1, *pose.shape))
    for side in ("Left", "Right"):
        assert np.abs(turn(motion, f"{side}UpLeg", -Z)).max() < 25
        assert speed(motion, f"{side}UpLeg").max() < 4


def test_a_bent_leg_turns_as_it_is_seen():
    """Knee bent by 70 degrees in a plane turned by 35 degrees about the thigh."""
    plane = Rotation.from_euler("z", 35, degrees=True).as_matrix()
    shank = plane @ Rotation.from_euler("x", 70, degrees=True).as_matrix() @ -Z
    upper, lower = (np.broadcast_to(v, (T, 3)) for v in (-Z, shank))
    axis = bending_axis(upper, lower, np.broadcast_to(X, (T, 3)), LEG_TURN_STD, WHOLE, 5.0)[0]
    assert np.degrees(np.arctan2(axis[1], axis[0])) == pytest.approx(35, abs=4)


def test_an_arm_far_turned_is_believed_when_it_is_bent():
    upper, lower = np.broadcast_to(X, (T, 3)), np.broadcast_to(-Z, (T, 3))
    axis = bending_axis(upper, lower, np.broadcast_to(-Y, (T, 3)), ARM_TURN_STD, WHOLE, 5.0)[0]
    assert np.degrees(np.arccos(axis @ np.cross(X, -Z) / np.linalg.norm(axis))) < 2


def test_the_mean_turns_with_the_body():
    """Somebody spins by 10 degrees a frame with a bent leg: the hinge does not lag behind."""
    spin = Rotation.from_euler("z", 10.0 * np.arange(T)[:, None], degrees=True).as_matrix()
    thigh, shank = -Z, Rotation.from_euler("x", 40, degrees=True).as_matrix() @ -Z
    axis = bending_axis(spin @ thigh, spin @ shank, spin @ X, LEG_TURN_STD, WHOLE, 5.0)
    cosine = (axis * (spin @ X)).sum(-1) / np.linalg.norm(axis, axis=-1)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.1


def test_a_straight_knee_faces_where_the_foot_points():
    foot, shank = np.broadcast_to(Rotation.from_euler("z", 30, degrees=True).as_matrix() @ -Y, (T, 3)), -Z
    hinge = with_foot(np.broadcast_to(X, (T, 3)), foot, np.broadcast_to(shank, (T, 3)), WHOLE, 5.0)[0]
    assert np.degrees(np.arctan2(hinge[1], hinge[0])) == pytest.approx(15, abs=0.1)


def test_nothing_seen_leaves_what_is_expected():
    lost = np.full((T, 3), np.nan)
    axis = bending_axis(lost, lost, np.broadcast_to(Y, (T, 3)), ARM_TURN_STD, WHOLE, 5.0)
    np.testing.assert_allclose(axis / np.linalg.norm(axis, axis=-1, keepdims=True), np.broadcast_to(Y, (T, 3)))


@pytest.mark.parametrize("degrees", [-60, -20, 0, 45])
def test_hand_and_forearm_share_the_turn(degrees):
    about = Rotation.from_euler("z", -degrees, degrees=True).as_matrix()  # the left hand's axis is -z here
    centre = np.array([0.18, 0, 0.80])
    knuckle = 0.04 * about @ -Y
    arm = {
        "l_elbow": (0.18, 0, 1.13),
        "l_wrist": (0.18, 0, 0.88),
        "l_index": centre + knuckle,
        "l_pinky": centre - knuckle,
    }
    motion = solve(np.broadcast_to(standing(**arm), (T, 1, 33, 3)))
    hand, fore = turn(motion, "LeftHand", X), turn(motion, "LeftForeArm", X)
    np.testing.assert_allclose(hand, fore, atol=0.5)
    assert 2 * FOREARM_SHARE == 1
    # A straight arm can turn the hand too, but gives it the lesser part.
    arm = turn(motion, "LeftArm", X)
    assert np.abs(arm).max() < 0.4 * abs(degrees) + 1
    np.testing.assert_allclose(hand + fore + arm, degrees, atol=7)


def test_knuckles_that_tell_nothing_turn_nothing():
    """Knuckles 20 mm apart, each wrong by 30 mm: taken as they are, the hand would spin."""
    across = 0.02 * -Y + noise(0.03, 3)
    found = np.degrees(hand_turn(across, -Y, X, WHOLE, 4.5))
    raw = np.degrees(np.unwrap(np.arctan2(-across[:, 2], -across[:, 1])))
    assert np.abs(raw).max() > 120
    assert np.abs(found).max() < 75
    assert np.abs(np.diff(found)).max() < 0.2 * np.abs(np.diff(raw)).max()


def test_a_hand_that_is_never_seen_goes_with_its_forearm():
    pose = standing()
    for name in ("index", "pinky"):
        for s in "lr":
            pose[BLAZEPOSE_33.index(f"{s}_{name}")] = np.nan
    motion = solve(np.broadcast_to(pose, (T, 1, 33, 3)))
    assert np.abs(turn(motion, "LeftHand", X)).max() < 1e-3
    assert np.abs(turn(motion, "LeftForeArm", X)).max() < 1
