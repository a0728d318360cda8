"""Solve stage: constant bones, rotations, gaps; truth from synthetic motion."""

import logging

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mocap.errors import DataError, StageError
from mocap.kinematics import SolveSettings, fit_error, joint_positions, joint_rotations, solve_motion
from mocap.kinematics.humanoid import NAMES
from mocap.kinematics.rotations import continuous_quaternions, fill_rotations, swing
from mocap.skeleton import BLAZEPOSE_33, COCO_17, H36M_17, HALPE_26, SKELETONS
from mocap.synthetic import procedural_motion, truth_positions
from mocap.types import SkeletalMotion, Source, Trajectories3D

FPS = 30.0


def trajectories(positions, joint_names, frames=None):
    T, P, J, _ = positions.shape
    present = np.isfinite(positions).all(-1)
    blank = np.where(present, 1.0, np.nan)
    return Trajectories3D(
        positions=positions,
        covariance=np.where(present[..., None, None], 1e-4 * np.eye(3), np.nan),
        source=present.astype(np.uint8),
        reprojection_error=blank,
        consistency=blank,
        views_used=np.zeros((T, P, J)),
        person_ids=10 + np.arange(P),
        frames=np.arange(T) if frames is None else frames,
        joint_names=joint_names,
        fps=FPS,
    )


@pytest.fixture(scope="module")
def motion():
    return procedural_motion(300, FPS, seed=2, n_people=2)


def solve(positions, skeleton, **settings):
    data = trajectories(positions, skeleton.joints)
    return solve_motion(data, SolveSettings(**settings)), data


def whole(result):
    for name in ("offsets", "rotations", "root_positions"):
        assert np.isfinite(getattr(result, name)).all(), name
    np.testing.assert_allclose(np.linalg.norm(result.rotations, axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", sorted(SKELETONS))
def test_joints_are_met_on_exact_motion(motion, name):
    skeleton = SKELETONS[name]
    result, data = solve(truth_positions(motion, skeleton), skeleton)
    whole(result)
    error = fit_error(result, data)
    limbs = [NAMES.index(f"{s}{b}") for s in ("Left", "Right") for b in ("ForeArm", "Hand", "Leg", "Foot")]
    assert np.nanmean(error) < 0.006
    assert np.nanmean(error[..., limbs]) < 0.004
    assert result.person_ids.tolist() == [10, 11]


def test_bone_lengths_are_those_of_the_bodies(motion):
    positions = truth_positions(motion, H36M_17)
    rng = np.random.default_rng(0)
    result, _ = solve(positions + 0.005 * rng.normal(size=positions.shape), H36M_17)
    length = np.linalg.norm(result.offsets, axis=-1)
    for bone, a, b in (
        ("LeftForeArm", "l_shoulder", "l_elbow"), ("LeftHand", "l_elbow", "l_wrist"),
        ("LeftLeg", "l_hip", "l_knee"), ("LeftFoot", "l_knee", "l_ankle"),
    ):  # fmt: skip
        d = positions[:, :, H36M_17.index(a)] - positions[:, :, H36M_17.index(b)]
        true = np.linalg.norm(d, axis=-1).mean(0)
        np.testing.assert_allclose(length[:, NAMES.index(bone)], true, atol=0.003)
        np.testing.assert_array_equal(
            length[:, NAMES.index(bone)], length[:, NAMES.index(bone.replace("Left", "Right"))]
        )


def test_elbow_and_knee_angles_at_studio_noise(motion):
    """The angle between upper and lower bone, against the truth's, at 5 mm noise after filtering."""
    positions = truth_positions(motion, H36M_17)
    rng = np.random.default_rng(1)
    result, _ = solve(positions + 0.005 * rng.normal(size=positions.shape), H36M_17)
    world = joint_rotations(result)
    for upper, lower, axis, names in (
        ("LeftArm", "LeftForeArm", [1.0, 0, 0], ("l_shoulder", "l_elbow", "l_wrist")),
        ("RightUpLeg", "RightLeg", [0, 0, -1.0], ("r_hip", "r_knee", "r_ankle")),
    ):
        a, b, c = (positions[:, :, H36M_17.index(n)] for n in names)
        u, v = b - a, c - b
        true = np.arccos((u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1))
        d = [world[:, :, NAMES.index(n)] @ np.array(axis) for n in (upper, lower)]
        found = np.arccos(np.clip((d[0] * d[1]).sum(-1), -1, 1))
        assert np.degrees(np.median(np.abs(found - true))) < 2


def test_known_rotations_come_back(motion):
    """Positions made from a solved motion by our own forward kinematics solve to the same rotations."""
    result, _ = solve(truth_positions(motion, H36M_17)[:, :1], H36M_17)
    reached = joint_positions(result)
    bones = {"pelvis": "Hips", "spine": "Spine1", "thorax": "Neck", "neck": "Head", "l_hip": "LeftUpLeg",
             "l_knee": "LeftLeg", "l_ankle": "LeftFoot", "r_hip": "RightUpLeg", "r_knee": "RightLeg",
             "r_ankle": "RightFoot", "l_shoulder": "LeftArm", "l_elbow": "LeftForeArm", "l_wrist": "LeftHand",
             "r_shoulder": "RightArm", "r_elbow": "RightForeArm", "r_wrist": "RightHand"}  # fmt: skip
    positions = truth_positions(motion, H36M_17)[:, :1].copy()
    for joint, bone in bones.items():
        positions[:, :, H36M_17.index(joint)] = reached[:, :, NAMES.index(bone)]
    again, _ = solve(positions, H36M_17)
    apart = []
    for b, name in enumerate(NAMES):
        if name in {"Head", "Hips", "LeftUpLeg", "LeftLeg", "RightUpLeg", "RightLeg", "LeftForeArm"}:
            one, two = (Rotation.from_quat(m.rotations[:, 0, b]) for m in (result, again))
            apart.append(np.degrees((one.inv() * two).magnitude()))
    assert np.median(apart) < 0.5
    assert np.percentile(apart, 95) < 5


def test_rest_pose_is_a_t_pose_that_faces_minus_y(motion):
    result, _ = solve(truth_positions(motion, HALPE_26), HALPE_26)
    P, B = result.rotations.shape[1:3]
    rest = SkeletalMotion(
        offsets=result.offsets, rotations=np.broadcast_to([0, 0, 0, 1.0], (1, P, B, 4)),
        root_positions=np.zeros((1, P, 3)), source=result.source[:1], parents=result.parents,
        person_ids=result.person_ids, frames=[0], joint_names=result.joint_names, fps=FPS,
    )  # fmt: skip
    at = {n: joint_positions(rest)[0, 0, b] for b, n in enumerate(result.joint_names)}
    assert at["LeftHand"][0] > at["LeftForeArm"][0] > at["LeftArm"][0] > 0 > at["RightArm"][0] > at["RightHand"][0]
    assert np.ptp([at[f"Left{n}"][2] for n in ("Arm", "ForeArm", "Hand")]) < 1e-6
    assert at["Head"][2] > at["Neck"][2] > at["Hips"][2] > at["LeftLeg"][2] > at["LeftFoot"][2]
    assert at["LeftToeBase"][1] < at["LeftFoot"][1]
    assert at["LeftToeBase"][2] < at["LeftFoot"][2]


def test_a_person_in_rest_pose_has_no_rotation(motion):
    """Facing, sides and twist: a T-pose put in world axes must solve to identity everywhere."""
    skeleton = BLAZEPOSE_33
    still = {
        "nose": (0, -0.174, 1.58), "l_ear": (0.07, -0.0536, 1.60), "r_ear": (-0.07, -0.0536, 1.60),
        "l_shoulder": (0.18, 0, 1.40), "l_elbow": (0.45, 0, 1.40), "l_wrist": (0.70, 0, 1.40),
        "l_index": (0.80, -0.03, 1.40), "l_pinky": (0.80, 0.03, 1.40), "l_hip": (0.1, 0, 0.9),
        "l_knee": (0.1, 0, 0.48), "l_ankle": (0.1, 0, 0.08), "l_heel": (0.1, 0.05, 0.02),
        "l_big_toe": (0.1, -0.15, 0.02),
    }  # fmt: skip
    for k in [k for k in still if k.startswith("l_")]:
        x, y, z = still[k]
        still["r_" + k[2:]] = (-x, y, z)
    pose = np.full((len(skeleton.joints), 3), np.nan)
    for k, v in still.items():
        pose[skeleton.index(k)] = v
    yaw = Rotation.from_euler("z", 0.7).as_matrix()
    result, _ = solve(np.broadcast_to(pose @ yaw.T, (5, 1, *pose.shape)), skeleton)
    angle = np.degrees(Rotation.from_quat(result.rotations[:, 0].reshape(-1, 4)).magnitude()).reshape(5, -1)
    assert angle[:, 0] == pytest.approx(np.degrees(0.7), abs=0.01)
    for b, name in enumerate(NAMES[1:], 1):
        assert angle[:, b].max() < (3 if name == "Head" else 0.5), name


def test_quaternions_do_not_flip_sign(motion):
    result, _ = solve(truth_positions(motion, COCO_17), COCO_17)
    assert ((result.rotations[1:] * result.rotations[:-1]).sum(-1) > 0).all()


def test_turning_the_world_turns_only_the_root(motion):
    positions = truth_positions(motion, HALPE_26)
    R = Rotation.from_euler("z", 1.1).as_matrix()
    one, _ = solve(positions, HALPE_26)
    two, _ = solve(positions @ R.T + [1, 2, 0], HALPE_26)
    dot = np.abs((one.rotations[:, :, 1:] * two.rotations[:, :, 1:]).sum(-1))
    assert dot.min() > 1 - 1e-5
    np.testing.assert_allclose(one.offsets, two.offsets, atol=1e-6)


def test_gaps_are_bridged_and_flagged(motion):
    positions = truth_positions(motion, COCO_17).copy()
    wrist = COCO_17.index("l_wrist")
    positions[50:60, 0, wrist] = np.nan
    positions[:20, 0] = np.nan
    positions[-10:, 0] = np.nan
    result, _ = solve(positions, COCO_17)
    whole(result)
    fore = NAMES.index("LeftForeArm")
    assert (result.source[50:60, 0, fore] == Source.INTERPOLATED).all()
    assert result.source[49, 0, fore] == Source.TRIANGULATED
    assert (result.source[:20, 0, 0] == Source.INTERPOLATED).all()
    np.testing.assert_array_equal(result.root_positions[0, 0], result.root_positions[20, 0])
    elbow = positions[50:60, 0, COCO_17.index("l_elbow")]
    hand = joint_positions(result)[50:60, 0, NAMES.index("LeftHand")]
    np.testing.assert_allclose(np.linalg.norm(hand - elbow, axis=-1),
                               np.linalg.norm(result.offsets[0, NAMES.index("LeftHand")]), atol=0.01)  # fmt: skip


def test_only_the_upper_body_is_seen(motion, caplog):
    positions = truth_positions(motion, COCO_17)[:, :1].copy()
    for s in "lr":
        for joint in ("hip", "knee", "ankle"):
            positions[:, :, COCO_17.index(f"{s}_{joint}")] = np.nan
    with caplog.at_level(logging.WARNING):
        result, data = solve(positions, COCO_17)
    assert "rest pose: LeftUpLeg, LeftLeg, RightUpLeg, RightLeg" in caplog.text
    whole(result)
    assert (result.source[:, 0, NAMES.index("LeftLeg")] == Source.MISSING).all()
    assert np.nanmean(fit_error(result, data)[..., NAMES.index("LeftHand")]) < 0.01
    below = joint_positions(result)[:, 0]
    assert (below[:, NAMES.index("LeftFoot"), 2] < below[:, 0, 2]).all()


@pytest.mark.parametrize(("skeleton", "side"), [(COCO_17, "l"), (BLAZEPOSE_33, "l"), (H36M_17, "r")])
def test_only_one_side_is_ever_seen(motion, caplog, skeleton, side):
    """The other side's hip and shoulder are made up about where they are, flagged and told."""
    truth = truth_positions(motion, skeleton)
    positions = truth.copy()
    lost = [j for j, name in enumerate(skeleton.joints) if name.startswith(f"{side}_")]
    if skeleton is H36M_17:
        lost += [skeleton.index(j) for j in ("pelvis", "thorax", "spine")]
    positions[:, 1, lost] = np.nan
    with caplog.at_level(logging.WARNING):
        result, data = solve(positions, skeleton)
    whole(result)
    assert result.person_ids.tolist() == [10, 11]
    name = {"l": "Left", "r": "Right"}[side]
    assert f"person 11: never seen and left in the rest pose: {name}Arm" in caplog.text
    assert (result.source[:, 1, 0] == Source.INTERPOLATED).mean() > 0.9
    assert (result.source[:, 1, NAMES.index(f"{name}Leg")] == Source.MISSING).all()
    hip = joint_positions(result)[:, 1, NAMES.index(f"{name}UpLeg")]
    away = np.linalg.norm(hip - truth[:, 1, skeleton.index(f"{side}_hip")], axis=-1)
    assert np.median(away) < 0.06
    assert np.nanmedian(fit_error(result, data)[:, 1]) < 0.02


def test_a_person_hardly_seen_is_left_out_with_a_warning(motion, caplog):
    positions = truth_positions(motion, COCO_17).copy()
    positions[2:, 1] = np.nan
    with caplog.at_level(logging.WARNING):
        result, _ = solve(positions, COCO_17)
    assert result.person_ids.tolist() == [10]
    assert "person 11" in caplog.text


def test_nobody_seen_is_an_error(motion):
    positions = np.full_like(truth_positions(motion, COCO_17), np.nan)
    with pytest.raises(StageError, match="nobody"):
        solve(positions, COCO_17)


def test_unknown_joint_names_are_an_error(motion):
    positions = truth_positions(motion, COCO_17)[:, :, :4]
    with pytest.raises(DataError, match="no known skeleton"):
        solve_motion(trajectories(positions, ("a", "b", "c", "d")), SolveSettings())


def test_three_frames_are_enough(motion):
    result, data = solve(truth_positions(motion, H36M_17)[:3], H36M_17)
    whole(result)
    assert np.nanmean(fit_error(result, data)) < 0.01


def test_nothing_is_interpolated_across_a_jump(motion):
    """What comes after a jump does not change what was before, nor the other way round."""
    positions = truth_positions(motion, COCO_17)[:, :1].copy()
    positions[148:152, 0, COCO_17.index("l_wrist")] = np.nan
    frames = np.concatenate([np.arange(150), np.arange(5150, 5300)])
    moved = positions.copy()
    moved[150:] = moved[150:] @ Rotation.from_euler("z", 2.0).as_matrix().T + [3.0, -1.0, 0.0]
    one, two = (solve_motion(trajectories(p, COCO_17.joints, frames), SolveSettings()) for p in (positions, moved))
    np.testing.assert_allclose(one.rotations[:150], two.rotations[:150], atol=1e-5)
    np.testing.assert_allclose(np.abs((one.rotations[150:, :, 1:] * two.rotations[150:, :, 1:]).sum(-1)), 1, atol=1e-5)
    np.testing.assert_allclose(one.root_positions[:150], two.root_positions[:150], atol=1e-5)


def test_fill_rotations_slerps():
    R = Rotation.from_euler("x", np.radians([[0], [99], [99], [90]])).as_matrix()
    filled, within = fill_rotations(R, np.array([True, False, False, True]), np.zeros(4, int))
    angles = Rotation.from_matrix(filled).as_euler("xyz", degrees=True)[:, 0]
    np.testing.assert_allclose(angles, [0, 30, 60, 90], atol=1e-9)
    assert within.all()


def test_swing_is_the_smallest_turn_even_to_the_opposite():
    R = np.broadcast_to(np.eye(3), (2, 3, 3))
    out = swing(R, np.array([1.0, 0, 0]), np.array([[0, 1.0, 0], [-1.0, 0, 0]]))
    np.testing.assert_allclose(out @ [1.0, 0, 0], [[0, 1, 0], [-1, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(out[0] @ [0, 0, 1.0], [0, 0, 1], atol=1e-12)


def test_continuous_quaternions_through_a_full_turn():
    R = Rotation.from_rotvec(np.linspace(0, 4 * np.pi, 50)[:, None] * [0, 0, 1.0]).as_matrix()
    q = continuous_quaternions(R)
    assert ((q[1:] * q[:-1]).sum(-1) > 0).all()
    np.testing.assert_allclose(Rotation.from_quat(q).as_matrix(), R, atol=1e-12)
