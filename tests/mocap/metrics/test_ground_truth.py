"""Every ground truth format, from a small file of the same structure made here."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from calibration.camera import Camera
from mocap.errors import DataError
from mocap.metrics import SHELF_JOINTS, Alignment, EvaluationSettings, Poses3D, evaluate, read_ground_truth
from mocap.metrics.ground_truth.human36m import JOINTS_17_OF_32, in_camera
from mocap.metrics.joint_sets import MPII3D_17, MPII3D_28, PANOPTIC_19
from mocap.skeleton import BODY_25, COCO_17, H36M_17
from mocap.synthetic import procedural_motion, truth_positions


@pytest.fixture(scope="module")
def motion():
    return procedural_motion(12, 30.0, seed=4)


@pytest.fixture(scope="module")
def full32(motion):
    """[T, 32, 3] m: H36M-17 at its places among the 32, the rest somewhere else."""
    positions = np.random.default_rng(0).normal(size=(12, 32, 3)) + 50
    positions[:, JOINTS_17_OF_32] = truth_positions(motion, H36M_17)[:, 0]
    return positions


def h36m(motion, **changes):
    fields = {"positions": truth_positions(motion, H36M_17), "person_ids": [0], "frames": np.arange(12),
              "joint_names": H36M_17.joints, **changes}  # fmt: skip
    return Poses3D(**fields)


def test_videopose3d(tmp_path, motion, full32):
    path = tmp_path / "data_3d_h36m.npz"
    np.savez_compressed(path, positions_3d={"S9": {"Walking 1": full32.astype(np.float32)}, "S11": {}})
    poses = read_ground_truth(path, "S9/Walking 1")
    assert poses.fps == 50
    assert evaluate(h36m(motion), poses).mpjpe < 1e-6
    with pytest.raises(DataError, match=r"SUBJECT/ACTION with one of S11, S9"):
        read_ground_truth(path)
    with pytest.raises(DataError, match="Walking 1"):
        read_ground_truth(path, "S9/Walking")


class _Call:
    def __reduce__(self):
        return (print, ("a file must not be able to run code",))


def test_a_pickle_that_calls_something_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.npz"
    np.savez(path, positions_3d=np.array({"S9": _Call()}, dtype=object))
    with pytest.raises(DataError, match=r"not a readable Human3\.6M file"):
        read_ground_truth(path, "S9/x")
    assert capsys.readouterr().out == ""


def test_camera_axes(motion):
    R = Rotation.from_rotvec([1, 2, 0.5]).as_matrix()
    camera = Camera("c", (100, 100), np.array([[90.0, 0, 50], [0, 90, 50], [0, 0, 1]]), np.zeros(5), R, np.ones(3))
    poses = h36m(motion)
    actions = ("walk",) * len(poses.frames)
    seen = in_camera(replace(poses, actions=actions), camera)
    assert seen.actions == actions
    np.testing.assert_allclose(seen.positions[3, 0, 2], R @ truth_positions(motion, H36M_17)[3, 0, 2] + 1)


def test_baseline_h5(tmp_path, motion, full32):
    path = tmp_path / "Walking 1.h5"
    with h5py.File(path, "w") as file:
        file["3D_positions"] = 1000 * full32.reshape(12, 96).T
    assert evaluate(h36m(motion), read_ground_truth(path)).mpjpe < 1e-6
    with h5py.File(path, "w") as file:
        file["other"] = np.zeros(3)
    with pytest.raises(DataError, match=r"no Human3\.6M positions"):
        read_ground_truth(path)


def test_panoptic(tmp_path, motion):
    X = np.zeros((12, 19, 3))
    body = truth_positions(motion, BODY_25)[:, 0]
    for j, name in enumerate(PANOPTIC_19.joints):
        X[:, j] = body[:, BODY_25.index(name)]
    for t in range(12):
        values = np.concatenate([100 * X[t], np.ones((19, 1))], 1)
        if t == 5:
            values[3] = [0, 0, 0, -1]
        bodies = [{"id": 7, "joints19": values.ravel().tolist()}] if t != 8 else []
        scene = {"version": 0.7, "univTime": 1.0, "fpsType": "hd_29_97", "bodies": bodies}
        (tmp_path / f"body3DScene_{t + 100:08d}.json").write_text(json.dumps(scene))
    poses = read_ground_truth(tmp_path)
    assert poses.person_ids.tolist() == [7]
    assert poses.frames.tolist() == list(range(100, 112))
    assert poses.fps == pytest.approx(29.97)
    assert np.isnan(poses.positions[5, 0, 3]).all()
    assert np.isnan(poses.positions[8]).all()
    np.testing.assert_allclose(poses.positions[2, 0], X[2], atol=1e-9)
    prediction = Poses3D(truth_positions(motion, BODY_25), [0], np.arange(100, 112), BODY_25.joints)
    result = evaluate(prediction, poses)
    assert result.mpjpe < 1e-6
    assert len(result.joint_names) == 19
    (tmp_path / "body3DScene_00000100.json").write_text('{"bodies": [{"id": 1}]}')
    with pytest.raises(DataError, match="a body of another form"):
        read_ground_truth(tmp_path)


def test_mpi_inf_3dhp(tmp_path, motion):
    """Positions are in camera axes: a rigid alignment takes them back to the world."""
    X = np.random.default_rng(0).normal(size=(12, 28, 3))
    for j, name in enumerate(MPII3D_28.joints):
        if name in H36M_17.joints:
            X[:, j] = truth_positions(motion, H36M_17)[:, 0, H36M_17.index(name)]
    R = Rotation.from_rotvec([0.3, 1, 0.2]).as_matrix()
    cells = np.empty((2, 1), object)
    cells[0, 0], cells[1, 0] = np.zeros((12, 84)), 1000 * (X @ R.T + 2).reshape(12, 84)
    path = tmp_path / "annot.mat"
    savemat(path, {"annot3": cells, "frames": np.arange(12)[:, None], "cameras": np.arange(2)[:, None]})
    result = evaluate(h36m(motion), read_ground_truth(path, "1"), EvaluationSettings(alignment=Alignment.RIGID))
    assert result.mpjpe < 1e-6
    assert "neck" not in result.joint_names  # another place than Human3.6M's
    assert "neck" in result.joints_left_out
    with pytest.raises(DataError, match="no such camera"):
        read_ground_truth(path, "5")


def test_mpi_inf_3dhp_test_set(tmp_path):
    path = tmp_path / "annot_data.mat"
    X = np.random.default_rng(0).normal(size=(4, 1, 17, 3))
    with h5py.File(path, "w", userblock_size=512) as file:
        file["annot3"] = 1000 * X
        file["valid_frame"] = np.array([[1.0], [1], [0], [1]])
    poses = read_ground_truth(path)
    assert poses.joint_names == MPII3D_17.joints
    np.testing.assert_allclose(poses.positions[3], X[3])
    assert np.isnan(poses.positions[2]).all()


def test_actors_mat(tmp_path, motion):
    pose = np.random.default_rng(0).normal(size=(3, 14, 3))
    actors = np.empty((1, 2), object)
    for a in range(2):
        frames = np.empty((4, 1), object)
        for t in range(4):
            frames[t, 0] = pose[t] + a if t < 3 else np.zeros((0, 0))
        actors[0, a] = frames
    wrapped = np.empty((1, 1), object)
    wrapped[0, 0] = actors
    for content in (actors, wrapped):
        savemat(tmp_path / "actorsGT.mat", {"actor3D": content})
        poses = read_ground_truth(tmp_path / "actorsGT.mat")
        assert poses.joint_names == SHELF_JOINTS
        np.testing.assert_allclose(poses.positions[2, 1, :14], pose[2] + 1)
        np.testing.assert_allclose(poses.positions[2, 0, 14], (pose[2, 2] + pose[2, 3]) / 2)
        assert np.isnan(poses.positions[3]).all()
        assert poses.frames.tolist() == [0, 1, 2, 3]
    savemat(tmp_path / "other.mat", {"x": np.zeros(3)})
    with pytest.raises(DataError, match="without ground truth"):
        read_ground_truth(tmp_path / "other.mat")


def test_shelf_npz(tmp_path):
    joints = np.random.default_rng(0).normal(size=(3, 2, 15, 3))
    np.savez(tmp_path / "t.npz", joints=joints, frames=[300, 301, 302], actors=[1, 2])
    poses = read_ground_truth(tmp_path / "t.npz")
    assert poses.frames.tolist() == [300, 301, 302]
    np.testing.assert_allclose(poses.positions[:, :, :14], joints[:, :, :14])


def trc(path, X, names, unit="mm", factor=1000.0):
    """World z up -> the file's y up: x, z, -y."""
    Y = factor * np.stack([X[..., 0], X[..., 2], -X[..., 1]], -1)
    lines = [f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
             "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
             f"30\t30\t{len(X)}\t{len(names)}\t{unit}\t30\t1\t{len(X)}",
             "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
             "\t\t" + "\t".join(f"{c}{i + 1}" for i in range(len(names)) for c in "XYZ")]  # fmt: skip
    for t, pose in enumerate(Y):
        cells = ["" if np.isnan(v) else f"{v:.6f}" for v in pose.ravel()]
        lines.append("\t".join([str(t + 1), f"{t / 30:.4f}", *cells]))
    path.write_text("\n".join(lines) + "\n")


def test_trc(tmp_path, motion):
    X = truth_positions(motion, COCO_17)[:, 0]
    X[4, 16] = np.nan  # the last marker: its line ends early
    names = ["".join(p.capitalize() for p in j.split("_")) for j in COCO_17.joints]
    trc(tmp_path / "t.trc", X, names)
    poses = read_ground_truth(tmp_path / "t.trc")
    assert poses.fps == 30
    np.testing.assert_allclose(poses.positions[:, 0], X, atol=1e-8)
    prediction = Poses3D(truth_positions(motion, BODY_25), [0], np.arange(1, 13), BODY_25.joints, 30.0)
    assert evaluate(prediction, poses).mpjpe < 1e-6
    trc(tmp_path / "t.trc", X, names, unit="furlong")
    with pytest.raises(DataError, match="unknown unit"):
        read_ground_truth(tmp_path / "t.trc")
    (tmp_path / "t.trc").write_text("nothing")
    with pytest.raises(DataError, match="not a readable TRC"):
        read_ground_truth(tmp_path / "t.trc")


def test_bvh_by_hand(tmp_path):
    path = tmp_path / "t.bvh"
    text = """HIERARCHY
ROOT mixamorig:Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT mixamorig:LeftUpLeg
  {
    OFFSET 10 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT mixamorig:LeftLeg
    {
      OFFSET 0 -80 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {
        OFFSET 0 -40 0
      }
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.02
0 100 0 0 0 0 0 0 0 0 0 0
5 100 0 90 0 0 0 90 0 0 0 0
"""
    path.write_text(text)
    poses = read_ground_truth(path)
    assert poses.joint_names == ("pelvis", "l_hip", "l_knee")
    assert poses.fps == pytest.approx(50)
    # centimetres, y up -> metres, z up: (x, y, z) -> (x, -z, y)
    np.testing.assert_allclose(poses.positions[0, 0], [[0, 0, 1], [0.1, 0, 1], [0.1, 0, 0.2]], atol=1e-9)
    # turned a quarter about z the hip is above the root; then a quarter about x turns the thigh
    # (0, -80, 0) into (0, 0, -80), which the root's turn leaves
    np.testing.assert_allclose(poses.positions[1, 0], [[0.05, 0, 1], [0.05, 0, 1.1], [0.05, 0.8, 1.1]], atol=1e-9)
    path.write_text(text.replace("0 -80 0", "0 -80000 0"))
    with pytest.raises(DataError, match="unit cannot be told"):
        read_ground_truth(path)
    path.write_text(text[:-10])
    with pytest.raises(DataError, match="not a readable BVH"):
        read_ground_truth(path)


def test_our_own_bvh(tmp_path, motion):
    from mocap.export.animation import make_animation
    from mocap.export.bvh import write_bvh
    from mocap.export.presets import Conventions
    from mocap.export.settings import LengthUnit

    skeletal = motion.skeletal()
    for unit in LengthUnit:
        write_bvh(tmp_path / "t.bvh", make_animation(skeletal, 0, Conventions(unit=unit), 0, True))
        poses = read_ground_truth(tmp_path / "t.bvh")
        for name in ("pelvis", "l_knee", "l_ankle", "r_knee", "l_wrist"):
            got = poses.positions[:, 0, poses.joint_names.index(name)]
            np.testing.assert_allclose(got, truth_positions(motion, H36M_17)[:, 0, H36M_17.index(name)], atol=2e-4)


def test_c3d(tmp_path, motion):
    ezc3d = pytest.importorskip("ezc3d")
    X = truth_positions(motion, COCO_17)[:, 0]
    file = ezc3d.c3d()
    file["parameters"]["POINT"]["RATE"]["value"] = [30]
    file["parameters"]["POINT"]["LABELS"]["value"] = list(COCO_17.joints)
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["data"]["points"] = np.concatenate([1000 * X, np.ones((12, 17, 1))], -1).transpose(2, 1, 0)
    file.write(str(tmp_path / "t.c3d"))
    poses = read_ground_truth(tmp_path / "t.c3d")
    np.testing.assert_allclose(poses.positions[:, 0], X, atol=1e-5)
    assert poses.fps == 30
    (tmp_path / "bad.c3d").write_bytes(b"no")
    with pytest.raises(DataError, match="not a readable C3D"):
        read_ground_truth(tmp_path / "bad.c3d")


def test_what_is_no_ground_truth_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_ground_truth(tmp_path / "none.npz")
    (tmp_path / "t.doc").write_text("x")
    with pytest.raises(DataError, match="no known format"):
        read_ground_truth(tmp_path / "t.doc")
    with pytest.raises(DataError, match="no poses in the folder"):
        read_ground_truth(tmp_path)
    (tmp_path / "t.mat").write_text("no")
    with pytest.raises(DataError, match="not a readable MATLAB file"):
        read_ground_truth(tmp_path / "t.mat")


def multiview_labels(motion, camera):
    """The dict of human36m-multiview-labels: two subjects, two actions; MPII's order, mm."""
    X = truth_positions(motion, H36M_17)[:, 0]
    rows = {
        "r_ankle": 0, "r_knee": 1, "r_hip": 2, "l_hip": 3, "l_knee": 4, "l_ankle": 5, "pelvis": 6, "spine": 7,
        "thorax": 8, "head": 9, "r_wrist": 10, "r_elbow": 11, "r_shoulder": 12, "l_shoulder": 13, "l_elbow": 14,
        "l_wrist": 15, "neck": 16,
    }  # fmt: skip
    keypoints = np.zeros((12, 17, 3), np.float32)
    for name, row in rows.items():
        keypoints[:, row] = 1000 * X[:, H36M_17.index(name)]
    kind = [("subject_idx", np.int8), ("action_idx", np.int8), ("frame_idx", np.int16),
            ("keypoints", np.float32, (17, 3)), ("bbox_by_camera_tlbr", np.int16, (1, 4))]  # fmt: skip
    table = np.zeros(24, kind)
    table["subject_idx"], table["action_idx"] = 1, np.repeat([0, 1], 12)
    table["frame_idx"] = np.tile(5 * np.arange(12), 2)
    table["keypoints"][12:] = keypoints
    cameras = np.zeros((2, 1), [("R", np.float32, (3, 3)), ("t", np.float32, (3, 1)), ("K", np.float32, (3, 3)),
                                ("dist", np.float32, 5)])  # fmt: skip
    cameras[1, 0] = (camera.R, 1000 * camera.t[:, None], camera.K, camera.distortion)
    return {"subject_names": ["S1", "S9"], "action_names": ["Eating-1", "Walking-1"], "camera_names": ["54138969"],
            "cameras": cameras, "table": table}  # fmt: skip


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_multiview_labels(tmp_path, motion, ending):
    R = Rotation.from_rotvec([1, 2, 0.5]).as_matrix()
    camera = Camera("c", (100, 100), np.array([[90.0, 0, 50], [0, 90, 50], [0, 0, 1]]), np.zeros(5), R, np.ones(3))
    path = tmp_path / f"human36m-multiview-labels-GTbboxes.{ending}"
    labels = np.array(multiview_labels(motion, camera), dtype=object)
    np.save(path, labels, allow_pickle=True) if ending == "npy" else np.savez(path, labels)
    poses = read_ground_truth(path, "S9/Walking-1")
    assert poses.frames.tolist() == list(range(0, 60, 5))
    result = h36m(motion, frames=np.arange(0, 60, 5))
    assert evaluate(result, poses).mpjpe < 1e-6
    seen = read_ground_truth(path, "S9/Walking-1@54138969")
    assert evaluate(in_camera(result, camera), seen).mpjpe < 1e-5
    for wrong, message in (("S9", "no such action"), ("S2/Walking-1", "no such subject"), ("S1/Eating-1", "no frames"),
                           ("S9/Walking-1@1", "no such camera")):  # fmt: skip
        with pytest.raises(DataError, match=message):
            read_ground_truth(path, wrong)
    np.save(tmp_path / "other.npy", np.array({"a": 1}, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="no multi-view labels"):
        read_ground_truth(tmp_path / "other.npy", "S9/Walking-1")
    np.save(tmp_path / "evil.npy", np.array({"table": _Call()}, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"not a readable Human3\.6M file"):
        read_ground_truth(tmp_path / "evil.npy", "S9/Walking-1")


def test_universal_poses_of_mpi_inf_3dhp(tmp_path):
    """Each pose stands twice in the file, as it is and scaled to one height; which is read is said."""
    X = np.random.default_rng(0).normal(size=(4, 1, 17, 3))
    with h5py.File(tmp_path / "annot_data.mat", "w", userblock_size=512) as file:
        file["annot3"], file["univ_annot3"] = 1000 * X, 1100 * X
    own, universal = (read_ground_truth(tmp_path / "annot_data.mat", s).positions for s in ("", "universal"))
    np.testing.assert_allclose(universal, 1.1 * own)
    cells = np.empty((2, 1), object)
    cells[0, 0], cells[1, 0] = np.zeros((4, 84)), np.ones((4, 84))
    scaled = np.empty((2, 1), object)
    scaled[0, 0], scaled[1, 0] = np.zeros((4, 84)), np.full((4, 84), 2.0)
    savemat(tmp_path / "annot.mat", {"annot3": cells, "univ_annot3": scaled})
    assert read_ground_truth(tmp_path / "annot.mat", "1").positions.max() == pytest.approx(0.001)
    assert read_ground_truth(tmp_path / "annot.mat", "1 universal").positions.max() == pytest.approx(0.002)


def test_actions_of_our_own_files(tmp_path, motion):
    X = truth_positions(motion, H36M_17)
    common = {"positions": X, "joint_names": np.array(H36M_17.joints), "frames": np.arange(12)}
    np.savez(tmp_path / "t.npz", **common, clip=np.repeat([3, 7], 6))
    assert set(read_ground_truth(tmp_path / "t.npz").actions) == {"3", "7"}
    np.savez(tmp_path / "t.npz", **common, actions=np.array(["a"]))
    with pytest.raises(DataError, match="wrong shape of actions"):
        read_ground_truth(tmp_path / "t.npz")


def test_lifted_poses_are_scored_against_the_truth_in_the_camera(tmp_path, motion):
    """What `mocap lift` writes has no names: its joints are H36M-17, camera axes, relative to the pelvis."""
    from mocap.metrics import read_result_npz

    R = Rotation.from_rotvec([1, 2, 0.5]).as_matrix()
    camera = Camera("c", (100, 100), np.array([[90.0, 0, 50], [0, 90, 50], [0, 0, 1]]), np.zeros(5), R, np.ones(3))
    truth = in_camera(h36m(motion), camera)
    X = truth.positions[:, 0] - truth.positions[:, 0, :1]
    np.savez(tmp_path / "lifted.npz", positions=X, std=np.ones((12, 17)), root=np.ones((12, 3)))
    assert evaluate(read_result_npz(tmp_path / "lifted.npz"), truth).root_mpjpe < 1e-9
    np.savez(tmp_path / "other.npz", positions=X, std=np.ones((12, 17)))
    with pytest.raises(DataError, match="arrays are missing"):
        read_result_npz(tmp_path / "other.npz")
