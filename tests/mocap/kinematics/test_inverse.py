"""Inverse kinematics over all frames: derivatives, known rotations, ranges, chunks, noise."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from mocap.kinematics import SolveSettings, fit_error, inverse, joint_positions, joint_rotations, solve_motion
from mocap.kinematics.chain import NODES, make_chain, to_bones, to_nodes
from mocap.kinematics.equations import advance, points
from mocap.kinematics.humanoid import NAMES
from mocap.kinematics.inverse import Pose, Targets, solve_chunks
from mocap.kinematics.ranges import neutral_arm
from mocap.skeleton import BLAZEPOSE_33, H36M_17
from mocap.synthetic import procedural_motion, truth_positions

FPS = 30.0
SIDES = (("l", "Left", 1.0), ("r", "Right", -1.0))


def chain_and_pose(frames, seed=0, limits=True):
    """A chain of random bones in smooth random motion within the joints' ranges."""
    rng = np.random.default_rng(seed)
    chain = make_chain(rng.normal(scale=0.2, size=(len(NAMES), 3)), np.ones(len(NODES), bool), limits=limits)
    raw = gaussian_filter1d(rng.normal(size=(frames, len(NODES), 3)), 8, axis=0, mode="wrap")
    turn = 0.1 * raw / raw.std() + np.clip(0.0, np.maximum(chain.low, -3) + 0.4, np.minimum(chain.high, 3) - 0.4)
    turn[:, chain.unknown < 0] = 0
    quats = Rotation.from_rotvec(turn.reshape(-1, 3)).as_quat().reshape(frames, len(NODES), 4)
    root = np.cumsum(gaussian_filter1d(rng.normal(size=(frames, 3)), 8, axis=0), 0) * 0.01
    return chain, Pose(root, quats), rng


def targets_of(chain, pose, rng, markers=60, noise=0.0, precision=1e6):
    node = np.arange(markers) % len(NODES)
    local = rng.normal(scale=0.1, size=(markers, 3))
    seen = points(pose.root, pose.quats, chain.parents, chain.offsets, node, local)
    T = len(seen)
    neutral = np.zeros((T, len(NODES), 4))
    neutral[..., 3] = 1
    information = np.broadcast_to(precision * np.eye(3), (T, markers, 3, 3)).copy()
    seen = seen + noise * rng.normal(size=seen.shape)
    return Targets(node, local, np.zeros(markers, bool), seen, information, neutral)


def moved(chain, pose, step):
    root, quats = np.empty_like(pose.root), np.empty_like(pose.quats)
    advance(pose.root, pose.quats, chain.node, chain.axis, chain.unknown, -step, 10.0, root, quats)
    return Pose(root, quats)


@pytest.mark.parametrize("tail", [False, True])
def test_derivatives_are_those_of_the_cost(tail):
    chain, pose, rng = chain_and_pose(4)
    targets = targets_of(chain, pose, rng, noise=0.02)
    targets = Targets(targets.node, targets.local, np.full(60, tail), targets.seen, targets.information / 100,
                      Rotation.random(4 * len(NODES), rng=1).as_quat().reshape(4, len(NODES), 4))  # fmt: skip

    def terms(at):
        D = chain.size
        return inverse._frame_terms(chain, targets, at, np.zeros((4 * D, 2 * D + 1)), np.zeros((0, D, D)))

    gradient, _ = terms(pose)
    for i in rng.choice(len(gradient), 40, replace=False):
        step = np.zeros(len(gradient))
        step[i] = 1e-6
        numeric = (terms(moved(chain, pose, step))[1].sum() - terms(moved(chain, pose, -step))[1].sum()) / 2e-6
        assert gradient[i] == pytest.approx(numeric, rel=1e-4, abs=0.05)


def test_known_rotations_are_found_from_a_poor_start(monkeypatch):
    monkeypatch.setattr(inverse, "_LEAST_GAIN", 1e-9)
    chain, truth, rng = chain_and_pose(80)
    targets = targets_of(chain, truth, rng, precision=1e10)  # what is usual does not count then
    start = moved(chain, truth, 0.2 * rng.normal(size=80 * chain.size))
    found = solve_chunks(chain, targets, start, np.arange(80) / FPS, 30)
    apart = Rotation.from_quat(found.quats.reshape(-1, 4)).inv() * Rotation.from_quat(truth.quats.reshape(-1, 4))
    assert np.degrees(apart.magnitude()).max() < 0.5
    np.testing.assert_allclose(found.root, truth.root, atol=1e-3)


def test_chunks_join_without_a_seam(monkeypatch):
    monkeypatch.setattr(inverse, "_LEAST_GAIN", 1e-9)
    chain, truth, rng = chain_and_pose(200)
    targets = targets_of(chain, truth, rng, noise=0.01)
    times = np.arange(200) / FPS
    whole = solve_chunks(chain, targets, truth, times, 20)
    monkeypatch.setattr(inverse, "_CHUNK_FRAMES", 60)
    parted = solve_chunks(chain, targets, truth, times, 20)
    apart = Rotation.from_quat(whole.quats.reshape(-1, 4)).inv() * Rotation.from_quat(parted.quats.reshape(-1, 4))
    assert np.degrees(apart.magnitude()).max() < 0.05
    np.testing.assert_allclose(whole.root, parted.root, atol=1e-4)


def test_bones_and_nodes_are_the_same_rotations():
    _, pose, _ = chain_and_pose(5)
    np.testing.assert_allclose(to_nodes(to_bones(pose.quats)), pose.quats, atol=1e-9)


def test_elbows_knees_and_lengths_at_studio_noise(studio):
    """Done when: 2 degrees at the median, bones within 3 mm; and joints not worse than filtered."""
    motion, found = studio
    result = solve_motion(found, SolveSettings())
    world, truth = joint_rotations(result)[:, 0], motion.world[0][:, 0]
    length = np.linalg.norm(result.offsets[0], axis=-1)
    errors = {"elbow": [], "knee": []}
    for s, side, sign in SIDES:
        for joint, bones, axis, names in (
            ("elbow", ("Arm", "ForeArm", "Hand"), [sign, 0, 0], ("shoulder", "elbow", "wrist")),
            ("knee", ("UpLeg", "Leg", "Foot"), [0, 0, -1.0], ("hip", "knee", "ankle")),
        ):
            a, b, c = (truth[:, H36M_17.index(f"{s}_{n}")] for n in names)
            u, v = b - a, c - b
            true = np.arccos((u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1))
            d = [world[:, NAMES.index(side + n)] @ np.array(axis) for n in bones[:2]]
            errors[joint].append(np.abs(np.arccos(np.clip((d[0] * d[1]).sum(-1), -1, 1)) - true))
            for bone, w in zip(bones[1:], (u, v), strict=True):
                assert length[NAMES.index(side + bone)] == pytest.approx(np.linalg.norm(w[0]), abs=0.003)
    for joint, error in errors.items():
        assert np.degrees(np.median(error)) < 2, joint
    assert np.nanmean(fit_error(result, found)) < 0.010
    assert np.nanmedian(result.rotation_std[:, 0, NAMES.index("LeftForeArm")]) < np.radians(10)


def test_joints_come_nearer_to_the_truth_than_filtered_ones(studio):
    motion, found = studio
    reached = joint_positions(solve_motion(found, SolveSettings()))[:, 0]
    joints = (("hip", "UpLeg"), ("knee", "Leg"), ("ankle", "Foot"), ("elbow", "ForeArm"), ("wrist", "Hand"))
    pairs = [(f"{s}_{j}", side + b) for s, side, _ in SIDES for j, b in joints]
    truth = motion.world[0][:, 0]
    solved, filtered = [], []
    for joint, bone in pairs:
        true = truth[:, H36M_17.index(joint)]
        solved.append(np.linalg.norm(reached[:, NAMES.index(bone)] - true, axis=-1).mean())
        filtered.append(
            np.nanmean(np.linalg.norm(found.positions[:, 0, found.joint_names.index(joint)] - true, axis=-1))
        )
    assert np.mean(solved) < np.mean(filtered) + 0.0005


def test_knees_that_seem_to_bend_backwards_are_straight(exact):
    motion = procedural_motion(60, FPS, seed=5, kind="stand")
    positions = truth_positions(motion, BLAZEPOSE_33).copy()
    for s in "lr":  # 4 cm back: 18 degrees of overstretch
        positions[:, 0, BLAZEPOSE_33.index(f"{s}_knee")] -= 0.06 * motion.world[1][:, 0, 0] @ [0, -1.0, 0]
    result = solve_motion(exact(positions, BLAZEPOSE_33.joints), SolveSettings())
    for side in ("Left", "Right"):
        bend = Rotation.from_quat(result.rotations[:, 0, NAMES.index(f"{side}Leg")]).as_rotvec()
        assert np.degrees(bend[:, 0]).min() > -6
        np.testing.assert_allclose(bend[:, 1:], 0, atol=1e-3)  # a knee is a hinge
        turn = Rotation.from_quat(result.rotations[:, 0, NAMES.index(f"{side}UpLeg")]).as_rotvec()[:, 2]
        assert np.degrees(np.abs(turn)).max() < 40


def test_ranges_are_kept_softly_and_can_be_left_out(exact):
    """A head turned by 120 degrees."""
    motion = procedural_motion(40, FPS, seed=5, kind="stand")
    positions = truth_positions(motion, BLAZEPOSE_33).copy()
    names = [i for i, n in enumerate(BLAZEPOSE_33.joints) if any(k in n for k in ("nose", "eye", "ear", "mouth"))]
    centre = positions[:, :, [BLAZEPOSE_33.index("l_ear"), BLAZEPOSE_33.index("r_ear")]].mean(2, keepdims=True)
    spin = Rotation.from_euler("z", 150, degrees=True).as_matrix()
    positions[:, :, names] = (positions[:, :, names] - centre) @ spin.T + centre
    turned = []
    for limits in (True, False):
        world = joint_rotations(solve_motion(exact(positions, BLAZEPOSE_33.joints), SolveSettings(limits=limits)))
        chest, head = world[:, 0, NAMES.index("Spine1")], world[:, 0, NAMES.index("Head")]
        turned.append(np.degrees(Rotation.from_matrix(np.swapaxes(chest, -1, -2) @ head).magnitude()).mean())
    assert turned[0] < 125 < turned[1]


@pytest.mark.parametrize("side", [1, -1])
def test_neutral_arms(side):
    """A T-pose, an arm that hangs and one raised forward are turned neither in nor out."""
    out, hinge = np.array([side, 0.0, 0.0]), np.array([0.0, 0.0, -side])
    for direction, bends in (((side, 0, 0), (0, -1, 0)), ((0, 0, -1), (0, -1, 0)), ((0, -1, 0), (0, 0, 1))):
        R = neutral_arm(np.array([direction], float), side)[0]
        np.testing.assert_allclose(R @ out, direction, atol=1e-9)
        np.testing.assert_allclose(np.cross(R @ hinge, R @ out), bends, atol=1e-9)


def test_without_inverse_kinematics_nothing_is_claimed(studio):
    _, found = studio
    result = solve_motion(found, SolveSettings(ik=False))
    assert not result.contacts.any()
    assert np.isnan(result.rotation_std).all()
    assert np.isnan(result.slide_after).all()


def test_points_that_coincide_are_no_error(exact):
    positions = np.ones((20, 1, 33, 3))
    result = solve_motion(exact(positions, BLAZEPOSE_33.joints), SolveSettings())
    assert np.isfinite(result.rotations).all()
    assert np.isfinite(result.root_positions).all()


def test_a_single_frame_is_solved(exact):
    positions = truth_positions(procedural_motion(1, FPS, seed=5), BLAZEPOSE_33)
    result = solve_motion(exact(positions, BLAZEPOSE_33.joints), SolveSettings(min_frames=1))
    assert np.nanmean(fit_error(result, exact(positions, BLAZEPOSE_33.joints))) < 0.01


def test_same_input_same_bytes(studio):
    _, found = studio
    one, two = (solve_motion(found, SolveSettings()) for _ in range(2))
    assert one.rotations.tobytes() == two.rotations.tobytes()
