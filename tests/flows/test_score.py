"""`mocap evaluate` as programs and people call it."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from flows.cli import app
from mocap.errors import DataError, MocapError, SettingsError
from mocap.skeleton import COCO_17, H36M_17
from mocap.synthetic import procedural_motion, truth_positions


def save(path, positions, names=H36M_17.joints, **more):
    np.savez(path, positions=positions, joint_names=np.array(names), frames=np.arange(len(positions)), **more)
    return str(path)


@pytest.fixture
def files(tmp_path):
    """Ground truth, a result 5 mm off, and one 10 mm off with an arm missing."""
    X = truth_positions(procedural_motion(40, 30.0, seed=1), H36M_17)
    worse = X + [0.006, 0.008, 0]
    worse[20:, 0, 16] = np.nan
    return (save(tmp_path / "truth.npz", X, fps=30.0), save(tmp_path / "good.npz", X + [0.003, 0.004, 0], fps=30.0),
            save(tmp_path / "worse.npz", worse, fps=30.0))  # fmt: skip


def call(*arguments):
    done = CliRunner().invoke(app, ["evaluate", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_json_is_complete_and_strict(files):
    truth, _, worse = files
    scores = json.loads(call(worse, "--ground-truth", truth, "--json"), parse_constant=pytest.fail)
    assert scores["mpjpe_mm"] == pytest.approx(10, abs=0.01)
    assert scores["mpjpe_filled_mm"] > 10
    assert scores["root_aligned_mpjpe_mm"] == pytest.approx(0, abs=0.01)
    assert scores["missing"] == pytest.approx(20 / (40 * 17), abs=1e-5)
    assert scores["per_joint_mpjpe_mm"]["r_wrist"] == pytest.approx(10, abs=0.01)
    assert len(scores["over_time"]["mpjpe_mm"]) == len(scores["over_time"]["frames"]) == 40
    assert len(scores["worst_frames"]) == 10
    assert scores["identity"]["idf1"] == 1


def test_results_stand_side_by_side(files):
    truth, good, worse = files
    text = call(good, worse, "--ground-truth", truth)
    line = next(row for row in text.splitlines() if row.startswith("MPJPE mm"))
    assert line.split()[-2:] == ["5.00", "10.00"]
    both = json.loads(call(good, worse, "--ground-truth", truth, "--json"))
    assert set(both) == {good, worse}


def test_text_names_joints_times_and_worst_frames(files):
    text = call(files[1], "--ground-truth", files[0])
    for part in ("r_wrist", "worst frame", "0..4", "3DPCK@150 mm", "MPJPE 5.0 mm"):
        assert part in text


def test_alignment_and_offset(files, tmp_path):
    X = truth_positions(procedural_motion(40, 30.0, seed=1), H36M_17)
    turned = save(tmp_path / "turned.npz", (1.1 * X @ np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) + 2)[3:])
    options = ("--ground-truth", files[0], "--frame-offset", "3", "--json")
    assert json.loads(call(turned, *options))["mpjpe_mm"] > 1000
    assert json.loads(call(turned, *options, "--align", "rigid"))["mpjpe_mm"] > 10
    aligned = json.loads(call(turned, *options, "--align", "similarity"))
    assert aligned["mpjpe_mm"] == pytest.approx(0, abs=0.01)
    assert aligned["frames"] == 37


def test_parts_are_scored_where_the_truth_is_shelf(tmp_path):
    X = truth_positions(procedural_motion(10, 25.0, seed=1), COCO_17)
    from mocap.metrics import to_shelf

    np.savez(tmp_path / "truth.npz", joints=to_shelf(X, COCO_17.joints), frames=np.arange(10))
    result = save(tmp_path / "result.npz", X, COCO_17.joints)
    scores = json.loads(call(result, "--ground-truth", str(tmp_path / "truth.npz"), "--json"))
    assert scores["pcp_average"] == 100
    assert scores["pcp_by_actor"] == {"1": 100}
    assert "actor 1" in call(result, result, "--ground-truth", str(tmp_path / "truth.npz"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 1000}, "millimetres"),
        ({"fps": 25.0}, "frame rates differ"),
        ({"names": tuple(f"m{i}" for i in range(17))}, "joints do not fit"),
    ],
)
def test_what_does_not_fit_is_named(files, tmp_path, change, message):
    X = truth_positions(procedural_motion(40, 30.0, seed=1), H36M_17) * change.get("scale", 1)
    path = save(tmp_path / "odd.npz", X, change.get("names", H36M_17.joints), fps=change.get("fps", 30.0))
    with pytest.raises(MocapError, match=message):
        call(path, "--ground-truth", files[0])


def test_unknown_choices_are_named(files):
    with pytest.raises(SettingsError, match="no such protocol"):
        call(files[1], "--ground-truth", files[0], "--protocol", "pck")
    with pytest.raises(SettingsError, match="nearest"):
        call(files[1], "--ground-truth", files[0], "--association", "nearset")
    with pytest.raises(DataError, match="PCP needs the joints of Shelf"):
        call(files[1], "--ground-truth", files[0], "--protocol", "shelf")


def test_plot_shows_the_larger_error_higher(files, tmp_path):
    """The darkest rows of the bars: a result twice as bad has bars twice as high."""
    path = tmp_path / "p.png"
    call(files[1], files[2], "--ground-truth", files[0], "--plot", str(path))
    image = cv2.imread(str(path)).astype(int)[:380]
    heights = [(np.abs(image - colour).sum(-1) == 0).any(1).sum() for colour in ((178, 114, 0), (0, 94, 213))]
    assert heights[1] == pytest.approx(2 * heights[0], abs=2)
    with pytest.raises(SettingsError, match="PNG"):
        call(files[1], "--ground-truth", files[0], "--plot", str(tmp_path / "p.pdf"))


def test_sequences_are_averaged_by_action_and_by_sample(tmp_path):
    X = truth_positions(procedural_motion(40, 50.0, seed=1), H36M_17)
    np.savez(tmp_path / "h36m.npz", positions_3d={"S9": {"Walking 1": X[:, 0], "Walking": X[:, 0], "Eating": X[:, 0]}})
    truth = ("--ground-truth", str(tmp_path / "h36m.npz"))
    results = [save(tmp_path / f"{n}.npz", X[:n] + [0.001 * n, 0, 0], fps=50.0) for n in (10, 20, 40)]
    selects = [a for s in ("S9/Walking 1", "S9/Walking", "S9/Eating") for a in ("--select", s)]
    scores = json.loads(call(*results, *truth, *selects, "--json"))
    walking = (10 * 10 + 20 * 20) / 30
    assert scores["actions"]["Walking"]["mpjpe_mm"] == pytest.approx(walking, abs=0.01)
    assert scores["mean_of_actions"]["mpjpe_mm"] == pytest.approx((walking + 40) / 2, abs=0.01)
    assert scores["mean_of_samples"]["mpjpe_mm"] == pytest.approx((100 + 400 + 1600) / 70, abs=0.01)
    assert set(scores["sequences"]) == {"S9/Walking 1", "S9/Walking", "S9/Eating"}
    assert "mean of actions" in call(*results, *truth, *selects)
    with pytest.raises(SettingsError, match="--select does not fit"):
        call(*results, *truth, *selects[:4])


def test_camera_axes_joints_search_and_notes(files, tmp_path):
    from calibration.formats import write_rig_toml
    from mocap.synthetic import ring_rig

    rig = ring_rig(3, seed=2)
    write_rig_toml(rig, tmp_path / "rig.toml")
    X = truth_positions(procedural_motion(40, 30.0, seed=1), H36M_17)
    c = rig.cameras[1]
    seen = save(tmp_path / "seen.npz", (X @ c.R.T + c.t)[2:], fps=30.0)
    options = ("--ground-truth", files[0], "--camera", f"{tmp_path / 'rig.toml'}:cam_1", "--search-offset", "4")
    scores = json.loads(call(seen, *options, "--joints", "l_wrist,r_wrist", "--json"))
    assert scores["mpjpe_mm"] == pytest.approx(0, abs=0.01)
    assert scores["frame_offset"] == 2
    assert set(scores["per_joint_mpjpe_mm"]) == {"l_wrist", "r_wrist"}
    assert "2 was added to the result's frame numbers" in call(seen, *options)
    assert "--align rigid" in call(seen, "--ground-truth", files[0], "--frame-offset", "2")
    with pytest.raises(DataError, match="no such camera"):
        call(seen, "--ground-truth", files[0], "--camera", f"{tmp_path / 'rig.toml'}:cam_9")


def test_calibrations_are_scored_up_to_their_world(tmp_path):
    from dataclasses import replace

    from calibration.camera import CameraRig
    from calibration.formats import write_rig_toml
    from mocap.synthetic import ring_rig

    rig = ring_rig(3, seed=2)
    write_rig_toml(rig, tmp_path / "true.toml")
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    moved = [replace(c, R=c.R @ turn.T, t=c.t - c.R @ turn.T @ [1.0, 2, 0], K=c.K * [[1.01], [1.01], [1]])
             for c in rig.cameras]  # fmt: skip
    write_rig_toml(CameraRig(tuple(moved)), tmp_path / "found.toml")
    paths = (str(tmp_path / "found.toml"), "--ground-truth", str(tmp_path / "true.toml"))
    scores = json.loads(call(*paths, "--json"))["cameras"]["cam_2"]
    assert scores["rotation_degrees"] == pytest.approx(0, abs=1e-4)
    assert scores["centre_mm"] == pytest.approx(0, abs=1e-2)
    assert scores["focal"] == pytest.approx(0.01, abs=1e-5)
    assert "root mean square" in call(*paths)


def test_a_plotted_line_ends_where_frames_are_missing(files, tmp_path):
    """Columns of the lower half that hold the line's colour: none where the result has nothing."""
    X = truth_positions(procedural_motion(40, 30.0, seed=1), H36M_17) + [0.01, 0, 0]
    X[10:30] = np.nan
    path = tmp_path / "p.png"
    call(save(tmp_path / "gap.npz", X, fps=30.0), "--ground-truth", files[0], "--plot", str(path))
    image = cv2.imread(str(path)).astype(int)[420:720]
    inked = (np.abs(image - (178, 114, 0)).sum(-1) < 60).any(0)
    left, width = 90, 1400 - 90 - 20
    assert inked[left + 10 : left + int(width * 8 / 39)].mean() > 0.9
    assert not inked[left + int(width * 13 / 39) : left + int(width * 29 / 39)].any()


def test_lifted_human36m_is_scored_in_the_camera_of_its_subject(tmp_path):
    """VideoPose3D's file with the data set's camera parameters: those of the subject that is selected."""
    from scipy.spatial.transform import Rotation

    X = truth_positions(procedural_motion(10, 50.0, seed=1), H36M_17)[:, 0]
    np.savez(tmp_path / "h36m.npz", positions_3d={"S11": {"Walking": X}})
    turns = {"S1": np.eye(3), "S11": Rotation.from_rotvec([1.2, 0.3, -0.4]).as_matrix()}
    lens = {"calibration_matrix": [[1145.0, 0, 512.5], [0, 1143.8, 515.5], [0, 0, 1]], "distortion": [0.0] * 5}
    poses = {s: {"54138969": {"R": R.tolist(), "t": [[1841.0], [4955.0], [1563.0]]}} for s, R in turns.items()}
    (tmp_path / "cameras.json").write_text(json.dumps({"intrinsics": {"54138969": lens}, "extrinsics": poses}))
    seen = X @ turns["S11"].T + [1.841, 4.955, 1.563]
    result = save(tmp_path / "r.npz", seen, fps=50.0)
    options = ("--select", "S11/Walking", "--camera", f"{tmp_path / 'cameras.json'}:54138969", "--json")
    scores = json.loads(call(result, "--ground-truth", str(tmp_path / "h36m.npz"), *options))
    unturned = save(tmp_path / "i.npz", X, fps=50.0)
    assert json.loads(call(unturned, "--ground-truth", str(tmp_path / "h36m.npz"), *options))["mpjpe_mm"] > 1000
    assert scores["mpjpe_mm"] == pytest.approx(0, abs=0.01)
