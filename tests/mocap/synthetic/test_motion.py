from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mocap.errors import DataError
from mocap.skeleton import H36M_17, SKELETONS, apply_joint_map, joint_map
from mocap.synthetic import Body, MotionKind, named_positions, procedural_motion, truth_positions
from mocap.synthetic.body import JOINTS, PARENTS, SOLE

FPS = 50.0


@pytest.fixture(scope="module", params=list(MotionKind))
def motion(request):
    return procedural_motion(400, FPS, seed=3, kind=request.param)


def test_bones_keep_their_length_and_sides_are_alike(motion):
    positions, _ = motion.world
    bones = positions[:, :, 1:] - positions[:, :, PARENTS[1:]]
    lengths = np.linalg.norm(bones, axis=-1)
    assert np.ptp(lengths, axis=0).max() < 1e-9
    by_name = dict(zip(JOINTS[1:], lengths[0, 0], strict=True))
    for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
        assert by_name[f"l_{joint}"] == pytest.approx(by_name[f"r_{joint}"], abs=1e-12)


def test_rotations_are_rotations(motion):
    R = motion.rotations
    assert np.abs(R @ R.swapaxes(-1, -2) - np.eye(3)).max() < 1e-9
    assert np.linalg.det(R).min() > 0.999


def test_lowest_foot_is_on_the_floor(motion):
    lowest = named_positions(motion, SOLE)[..., 2].min(-1)
    assert lowest.min() > -1e-6
    standing = motion.planted.any(-1)
    assert standing.any()
    assert lowest[standing].max() < 1e-6


def test_planted_feet_do_not_slide(motion):
    points = named_positions(motion, SOLE).reshape(motion.n_frames, -1, 2, 3, 3)
    # A foot rolls over its heel or toe: one of its points stays.
    speed = np.linalg.norm(np.diff(points, axis=0), axis=-1).min(-1) * FPS
    both = motion.planted[1:] & motion.planted[:-1]
    if motion.bodies and both.any():
        assert np.percentile(speed[both], 99) < 0.02


def test_knees_and_elbows_bend_the_right_way(motion):
    local = motion.rotations
    knees = local[:, :, [JOINTS.index("l_knee"), JOINTS.index("r_knee")]]
    # Flexion turns the shin backwards: a positive turn about +x (left).
    flexion = np.arctan2(knees[..., 2, 1], knees[..., 1, 1])
    assert np.degrees(flexion.min()) > -0.5
    assert np.degrees(flexion.max()) < 150
    positions, orientations = motion.world
    knee, ankle = JOINTS.index("l_knee"), JOINTS.index("l_ankle")
    shin = np.einsum(
        "tpji,tpj->tpi", orientations[:, :, JOINTS.index("l_hip")], positions[:, :, ankle] - positions[:, :, knee]
    )
    assert shin[..., 1].min() > -1e-6  # behind the thigh's axis; the body faces -y
    for side, sign in (("l", -1), ("r", 1)):
        elbow = Rotation.from_matrix(local[:, 0, JOINTS.index(f"{side}_elbow")]).as_rotvec()[:, 2]
        assert (sign * elbow).min() > 0


def test_face_and_toes_point_forward(motion):
    eyes = named_positions(motion, ("l_eye", "r_eye", "l_ear", "r_ear", "l_big_toe", "l_heel", "l_hip", "r_hip"))
    left = eyes[..., 6, :] - eyes[..., 7, :]
    forward = np.cross(left, (0.0, 0.0, 1.0))  # left x up = forward
    face = eyes[..., 0, :] + eyes[..., 1, :] - eyes[..., 2, :] - eyes[..., 3, :]
    assert (np.einsum("tpi,tpi->tp", face, forward) > 0).mean() > 0.95
    assert (np.einsum("tpi,tpi->tp", eyes[..., 4, :] - eyes[..., 5, :], forward) > 0).mean() > 0.95
    assert (np.einsum("tpi,tpi->tp", eyes[..., 0, :] - eyes[..., 1, :], left) > 0).mean() > 0.95


def test_motion_is_humanly_possible(motion):
    positions, _ = motion.world
    speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1) * FPS
    acceleration = np.linalg.norm(np.diff(positions, 2, axis=0), axis=-1) * FPS**2
    assert speed.max() < 12
    assert acceleration.max() < 250
    assert np.abs(positions[..., :2]).max() < 2.0  # stays in the capture volume


def test_root_orientation_follows_the_convention_of_the_rest_pose():
    motion = procedural_motion(60, FPS, seed=0, kind=MotionKind.STAND)
    positions, orientations = motion.world
    left = positions[:, 0, H36M_17.index("l_hip")] - positions[:, 0, H36M_17.index("r_hip")]
    left /= np.linalg.norm(left, axis=-1, keepdims=True)
    assert np.abs(left - orientations[:, 0, 0, :, 0]).max() < 1e-9


def test_walking_steps_forward():
    motion = procedural_motion(200, FPS, seed=1, kind=MotionKind.WALK)
    positions, orientations = motion.world
    velocity = np.gradient(positions[:, 0, 0], axis=0) * FPS
    forward = -orientations[:, 0, 0, :, 1]
    assert 0.8 < np.einsum("ti,ti->t", velocity, forward).mean() < 1.5
    assert 0.5 < motion.planted.mean() < 0.7


def test_same_seed_same_motion_other_seed_other_motion():
    a, b, c = (procedural_motion(50, FPS, seed=s, n_people=2) for s in (5, 5, 6))
    assert np.array_equal(a.rotations, b.rotations)
    assert np.array_equal(a.root, b.root)
    assert not np.allclose(a.root, c.root)


def test_people_keep_apart():
    motion = procedural_motion(900, 30, seed=2, n_people=4)
    pelvis = motion.root[..., :2]
    apart = np.linalg.norm(pelvis[:, :, None] - pelvis[:, None], axis=-1) + 10 * np.eye(4)
    assert apart.min() > 0.5


@pytest.mark.parametrize("skeleton", list(SKELETONS.values()), ids=lambda s: s.name)
def test_truth_in_every_skeleton_agrees_with_the_maps(skeleton):
    motion = procedural_motion(40, FPS, seed=1)
    own, other = truth_positions(motion, H36M_17), truth_positions(motion, skeleton)
    assert np.isfinite(other).all()
    mapped = apply_joint_map(joint_map(skeleton, H36M_17), other)
    limbs = [H36M_17.index(f"{s}_{j}") for s in "lr" for j in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]
    assert np.abs(mapped - own)[:, :, limbs].max() < 1e-9
    made_up = [H36M_17.index(j) for j in ("neck", "head", "spine", "thorax")]
    if skeleton.name == "halpe26":  # its head is the top of the head
        made_up.remove(H36M_17.index("head"))
    assert np.linalg.norm(mapped - own, axis=-1)[..., made_up].max() < 0.09


def test_skeletal_record_has_the_same_positions():
    motion = procedural_motion(30, FPS, seed=4, n_people=2)
    record = motion.skeletal()
    R = Rotation.from_quat(record.rotations.reshape(-1, 4)).as_matrix().reshape(*record.rotations.shape[:3], 3, 3)
    position, world = {0: record.root_positions.astype(float)}, {0: R[:, :, 0]}
    for b in range(1, len(record.joint_names)):
        a = int(record.parents[b])
        world[b] = world[a] @ R[:, :, b]
        position[b] = position[a] + np.einsum("tpij,pj->tpi", world[a], record.offsets[:, b])
    rebuilt = np.stack([position[b] for b in range(17)], 2)
    assert np.abs(rebuilt - motion.world[0]).max() < 1e-5


def test_bad_requests_are_refused():
    with pytest.raises(DataError):
        procedural_motion(0)
    with pytest.raises(DataError):
        procedural_motion(10, fps=0)
    with pytest.raises(DataError):
        Body(stature=17.5)
    with pytest.raises(DataError, match="tail"):
        named_positions(procedural_motion(2), ("tail",))
