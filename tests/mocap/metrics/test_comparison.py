"""What `evaluate` says about two takes: conventions side by side, averages, doubts, shifts in time."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mocap.errors import DataError, SettingsError
from mocap.metrics import (
    Alignment,
    EvaluationSettings,
    Poses3D,
    action_of,
    action_table,
    comparison_table,
    evaluate,
    mean_by_group,
    mean_error,
    mean_of_groups,
    mean_over_frames,
    mean_over_joints,
    mpjpe_without_root,
    pck3d,
    rigid_mpjpe,
)
from mocap.metrics.action_averages import average_actions
from mocap.skeleton import COCO_17, H36M_17, LIMBS_12
from mocap.synthetic import procedural_motion, truth_positions


@pytest.fixture(scope="module")
def truth():
    return truth_positions(procedural_motion(90, 30.0, seed=6), H36M_17)


def poses(positions, **changes):
    T, P, J, _ = positions.shape
    fields = {"positions": positions, "person_ids": np.arange(P), "frames": np.arange(T), "fps": 30.0,
              "joint_names": H36M_17.joints[:J], **changes}  # fmt: skip
    return Poses3D(**fields)


def noisy(truth, sigma=0.03, seed=0):
    return truth + np.random.default_rng(seed).normal(0, sigma, truth.shape)


# ---- averages


def test_averages_by_hand():
    errors = np.array([[[1.0, 3.0]], [[np.nan, 5.0]], [[2.0, np.nan]]])  # three frames, one person, two joints
    assert mean_error(errors) == pytest.approx(11 / 4)
    assert mean_over_joints(errors) == pytest.approx((1.5 + 4) / 2)
    assert mean_over_frames(errors) == pytest.approx((2 + 5 + 2) / 3)
    groups = mean_by_group(errors, np.array([0, 1, 0]), 3)
    assert groups[:2] == pytest.approx([2, 5])
    assert np.isnan(groups[2])
    assert mean_of_groups(groups) == pytest.approx(3.5)
    assert mean_by_group(errors, np.array([-1, 1, -1]), 2)[1] == 5
    assert np.isnan(mean_of_groups(mean_error(errors[:0], (0, 1))))
    nothing = np.full((2, 1, 2), np.nan)
    assert np.isnan([mean_error(nothing), mean_over_joints(nothing), mean_over_frames(nothing)]).all()


def test_actions_of_one_file_count_alike_or_by_their_length(truth):
    labels = ("Walking",) * 60 + ("Sitting",) * 20 + ("",) * 10
    prediction = truth.copy()
    prediction[:60] += [0.01, 0, 0]
    prediction[60:80] += [0.04, 0, 0]
    e = evaluate(poses(prediction), poses(truth, actions=labels))
    assert e.actions == ("Sitting", "Walking")
    assert 1000 * e.per_action == pytest.approx([40, 10])
    assert 1000 * e.action_mpjpe == pytest.approx(25)
    assert 1000 * e.mpjpe == pytest.approx((60 * 10 + 20 * 40) / 90)
    assert e.root_per_action == pytest.approx(0, abs=1e-12)
    assert [row[0] for row in action_table(e)[1:]] == ["Sitting", "Walking", "mean of actions", "mean of samples"]
    some = evaluate(poses(prediction[:30], frames=np.arange(55, 85)), poses(truth, actions=labels))
    assert some.actions == ("Sitting", "Walking")  # labels follow the frames that are compared
    with pytest.raises(DataError, match="actions do not fit"):
        poses(truth, actions=("a",))
    assert evaluate(poses(prediction), poses(truth)).actions == ()


def test_actions_of_several_sequences(truth):
    shifts = {"S9/Walking 1": (0.01, 30), "S9/Walking": (0.03, 60), "S11/Sitting": (0.1, 90)}
    results = [evaluate(poses((truth + [s, 0, 0])[:n]), poses(truth)) for s, n in shifts.values()]
    found = average_actions(list(shifts), results)
    assert found.actions == ("Sitting", "Walking")
    walking = (30 * 10 + 60 * 30) / 90
    assert found.by_action[:, 0] == pytest.approx([100, walking])
    assert found.of_actions[0] == pytest.approx((100 + walking) / 2)
    assert found.of_samples[0] == pytest.approx((30 * 10 + 60 * 30 + 90 * 100) / 180)
    assert [action_of(s) for s in ("S9/Walking 1", "Walking", "S1/Walking Dog", "S1/Eating 2")] == [
        "Walking", "Walking", "Walking Dog", "Eating"]  # fmt: skip


# ---- conventions


def test_both_conventions_stand_side_by_side(truth):
    prediction = noisy(truth, 0.08)
    e = evaluate(poses(prediction), poses(truth))
    x, y = prediction[:, 0], truth[:, 0]
    root = H36M_17.index("pelvis")
    assert e.root_mpjpe_without_root == pytest.approx(mpjpe_without_root(x, y, root))
    assert e.root_mpjpe_without_root == pytest.approx(e.root_mpjpe * 17 / 16)
    relative = np.linalg.norm((x - x[:, :1]) - (y - y[:, :1]), axis=-1)
    assert e.pck150_without_root == pytest.approx(pck3d(relative[:, 1:], np.ones((90, 16), bool)))
    assert e.pck150 == pytest.approx((16 * e.pck150_without_root + 1) / 17)
    assert e.auc_without_root < e.auc
    assert e.rigid_mpjpe == pytest.approx(rigid_mpjpe(x, y))
    assert e.pa_mpjpe < e.rigid_mpjpe < e.root_mpjpe
    assert e.samples == (90 * 17,) * 3
    assert e.fps == 30
    assert e.root_per_frame.mean() == pytest.approx(e.root_mpjpe)
    assert e.pa_per_person == pytest.approx([e.pa_mpjpe])
    # COCO has no pelvis: its root is no joint, and leaving it out changes nothing
    coco = truth_positions(procedural_motion(20, 30.0, seed=6), COCO_17)
    other = noisy(coco)
    e = evaluate(poses(other, joint_names=COCO_17.joints), poses(coco, joint_names=COCO_17.joints))
    assert e.root_mpjpe_without_root == e.root_mpjpe
    lengths = [np.linalg.norm(X[..., COCO_17.index(a), :] - X[..., COCO_17.index(b), :], axis=-1)
               for X in (other, coco) for a, b in LIMBS_12]  # fmt: skip
    assert e.limb_error == pytest.approx(np.abs(np.array(lengths[:12]) - lengths[12:]).mean())


def test_only_some_joints_count(truth):
    prediction = truth.copy()
    prediction[:, :, H36M_17.index("l_wrist")] += [0.3, 0, 0]
    wanted = EvaluationSettings(joints="l_wrist, r_wrist")
    e = evaluate(poses(prediction), poses(truth), wanted)
    assert e.joint_names == ("l_wrist", "r_wrist")
    assert e.mpjpe == pytest.approx(0.15)
    with pytest.raises(DataError, match="joints asked for"):
        evaluate(poses(prediction), poses(truth), EvaluationSettings(joints="l_wrist,tail"))


def test_figures_nobody_has_are_not_listed(truth):
    labels = [row[0] for row in comparison_table(["a"], [evaluate(poses(truth), poses(truth))])]
    assert "MPJPE mm" in labels
    assert not any("actions" in label for label in labels)


# ---- doubts


@pytest.mark.parametrize(("factor", "unit"), [(1 / 0.3048, "feet"), (0.3048, "feet"), (1 / 0.0254, None), (10, None)])
def test_other_units_are_named(truth, factor, unit):
    with pytest.raises(DataError, match=unit or "not in metres|unit of length"):
        evaluate(poses(noisy(truth, 0.01) * factor), poses(truth))
    other = EvaluationSettings(alignment=Alignment.SIMILARITY)
    if unit:
        assert evaluate(poses(truth * factor), poses(truth), other).mpjpe < 1e-9


def test_a_bad_result_is_scored_not_refused(truth):
    """Poses of a third of the size that are no scaled copies: an error of the method, said in a note."""
    middle = truth.mean(2, keepdims=True)
    squeezed = middle + (truth - middle) * 0.3 + np.random.default_rng(0).normal(0, 0.1, truth.shape)
    e = evaluate(poses(squeezed), poses(truth))
    assert e.mpjpe > 0.2
    assert any("times as large" in note for note in e.notes)


def test_worlds_rates_and_alignments_are_noted(truth):
    turned = truth @ Rotation.from_rotvec([np.pi / 2, 0, 0]).as_matrix().T + [0, 0, 2]
    e = evaluate(poses(turned, fps=float("nan"), origin="r.npz"), poses(truth))
    assert any("--align rigid" in note for note in e.notes)
    assert any("r.npz does not state a frame rate" in note for note in e.notes)
    e = evaluate(poses(turned), poses(truth), EvaluationSettings(alignment=Alignment.RIGID))
    assert e.mpjpe < 1e-9
    assert e.notes == ("one rigid transform of the whole take was taken off first",)
    assert evaluate(poses(noisy(truth)), poses(truth)).notes == ()


# ---- time


@pytest.mark.parametrize("align", [Alignment.NONE, Alignment.RIGID])
def test_a_shift_in_time_is_found(truth, align):
    moved = noisy(truth, 0.01)[10:] + ([0, 0, 0] if align is Alignment.NONE else [5, 1, 0])
    prediction = poses(moved, frames=np.arange(len(moved)))
    e = evaluate(prediction, poses(truth), EvaluationSettings(alignment=align, search_offset=15))
    assert e.frame_offset == 10
    assert 0.01 < e.mpjpe < 0.02
    assert evaluate(prediction, poses(truth), EvaluationSettings(alignment=align)).mpjpe > e.mpjpe
    around = EvaluationSettings(alignment=align, frame_offset=8, search_offset=3)
    assert evaluate(prediction, poses(truth), around).frame_offset == 10


def test_a_search_that_cannot_succeed_is_named(truth):
    with pytest.raises(SettingsError, match="no such search"):
        EvaluationSettings(search_offset=-1)
    with pytest.raises(DataError, match="no shift brings"):
        evaluate(poses(truth, frames=np.arange(90) + 500), poses(truth), EvaluationSettings(search_offset=5))
    # A still end is not preferred because little of the take is left there.
    still = replace(poses(truth), positions=np.repeat(truth[:1], 90, 0))
    assert evaluate(still, poses(truth), EvaluationSettings(search_offset=60)).frames >= 45
