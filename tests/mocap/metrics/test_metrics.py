"""Metrics against hand-worked cases, independent implementations and invariances."""

import numpy as np
import pytest
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.transform import Rotation

from mocap.errors import DataError
from mocap.metrics import (
    Poses3D,
    evaluate,
    joint_errors,
    limb_lengths,
    limb_spread,
    mpjpe,
    pa_joint_errors,
    pa_mpjpe,
    procrustes,
    read_ground_truth,
    read_result_npz,
    table,
)
from mocap.skeleton import BLAZEPOSE_33, COCO_17, H36M_17, LIMBS_12
from mocap.synthetic import procedural_motion, truth_positions


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def motion():
    return procedural_motion(60, 30.0, seed=1, n_people=2)


def poses(positions, skeleton=H36M_17, **changes):
    T, P = positions.shape[:2]
    fields = {"positions": positions, "person_ids": np.arange(P), "frames": np.arange(T),
              "joint_names": skeleton.joints, "fps": 30.0, **changes}  # fmt: skip
    return Poses3D(**fields)


def test_mpjpe_by_hand():
    truth = np.zeros((1, 2, 3))
    prediction = np.array([[[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]])
    assert mpjpe(prediction, truth) == pytest.approx(3.0)
    # relative to joint 0 the second is off by (-3, -4, 1)
    assert mpjpe(prediction, truth, root=0) == pytest.approx(np.sqrt(26) / 2)
    assert mpjpe(prediction, truth, mask=np.array([[False, True]])) == pytest.approx(1.0)
    assert np.isnan(mpjpe(prediction, truth, mask=np.zeros((1, 2), bool)))


def test_missing_joints_do_not_count():
    truth = np.zeros((1, 2, 3))
    prediction = np.array([[[1.0, 0, 0], [np.nan, 0, 0]]])
    assert mpjpe(prediction, truth) == pytest.approx(1.0)
    assert np.isnan(joint_errors(prediction, truth, root=1)).all()


def test_procrustes_agrees_with_scipy(rng):
    X, Y = rng.normal(size=(2, 20, 17, 3))
    for x, y, scale, R, t in zip(X, Y, *procrustes(X, Y, np.ones((20, 17), bool)), strict=True):
        if np.linalg.det((y - y.mean(0)).T @ (x - x.mean(0))) < 0:
            continue  # SciPy's takes a reflection there
        residual = ((scale * x @ R.T + t - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()
        assert residual == pytest.approx(scipy_procrustes(y, x)[2], rel=1e-9)


def test_procrustes_against_a_search(rng):
    """No rotation, scale and shift nearby is better, reflections in the data or not."""
    x = rng.normal(size=(1, 8, 3))
    for y in (x * [-1, 1, 1] + 0.1 * rng.normal(size=x.shape), rng.normal(size=x.shape)):
        scale, R, t = procrustes(x, y, np.ones((1, 8), bool))
        assert np.linalg.det(R[0]) == pytest.approx(1)
        best = ((scale[0] * x[0] @ R[0].T + t[0] - y[0]) ** 2).sum()
        for _ in range(200):
            turn = Rotation.from_rotvec(0.05 * rng.normal(size=3)).as_matrix() @ R[0]
            other = scale[0] * (1 + 0.02 * rng.normal()) * x[0] @ turn.T + t[0] + 0.01 * rng.normal(size=3)
            assert ((other - y[0]) ** 2).sum() >= best - 1e-12


def test_pa_mpjpe_does_not_see_a_similarity_but_sees_a_mirror(rng):
    truth = rng.normal(size=(5, 17, 3))
    R = Rotation.random(5, random_state=0).as_matrix()
    moved = 2.5 * truth @ np.swapaxes(R, -1, -2) + rng.normal(size=(5, 1, 3))
    assert pa_mpjpe(moved, truth) < 1e-9
    noisy = truth + 0.1 * rng.normal(size=truth.shape)
    assert pa_mpjpe(0.3 * noisy @ R[0].T + 1, truth) == pytest.approx(pa_mpjpe(noisy, truth))
    assert pa_mpjpe(truth * [-1, 1, 1], truth) > 0.3


def test_pa_mpjpe_degenerate(rng):
    truth = rng.normal(size=(3, 6, 3))
    few = truth.copy()
    few[0, 2:] = np.nan  # two joints
    few[1, 0] = np.nan
    errors = pa_joint_errors(few, truth)
    assert np.isnan(errors[0]).all()
    assert np.isnan(errors[1, 0])
    assert errors[1, 1:].max() < 1e-9
    line = np.linspace(0, 1, 6)[None, :, None] * np.array([1.0, 2, 3])
    assert pa_mpjpe(line @ Rotation.random(random_state=1).as_matrix().T, line) < 1e-9
    point = np.zeros((1, 6, 3))
    assert np.isfinite(pa_mpjpe(point, truth[:1]))
    assert np.isnan(pa_mpjpe(truth, truth, mask=np.zeros((3, 6), bool)))


def test_limb_spread(motion):
    positions = truth_positions(motion, COCO_17)
    a, b = (COCO_17.index(j) for j in LIMBS_12[0])
    np.testing.assert_allclose(limb_lengths(positions, COCO_17)[3, 1, 0],
                               np.linalg.norm(positions[3, 1, a] - positions[3, 1, b]))  # fmt: skip
    rigid = np.concatenate([positions[:1]] * 4) * np.array([1.0, 1.1, 0.9, 1.0])[:, None, None, None]
    np.testing.assert_allclose(limb_spread(rigid, COCO_17), np.std([1, 1.1, 0.9, 1]), rtol=1e-6)
    rigid[1:, 0, a] = np.nan
    assert np.isnan(limb_spread(rigid, COCO_17)[0, 0])


def test_evaluate_names_frames_and_people(motion, rng):
    truth = truth_positions(motion, H36M_17)
    order = rng.permutation(17)
    shifted = (truth + [0.003, 0, 0.004])[10:, ::-1][:, :, order]
    prediction = poses(shifted, joint_names=[H36M_17.joints[i] for i in order], frames=np.arange(10, 60),
                       person_ids=[8, 9])  # fmt: skip
    result = evaluate(prediction, poses(truth))
    assert result.mpjpe == pytest.approx(0.005)
    assert result.root_mpjpe == pytest.approx(0, abs=1e-9)
    assert result.pa_mpjpe == pytest.approx(0, abs=1e-9)
    assert result.frames == 50
    assert set(result.person_pairs) == {(0, 9), (1, 8)}
    assert result.missing == 0
    assert table(result)[-1] == ("mean", "5.00", "0.00", "0.00")
    assert len(table(result)) == 19


def test_evaluate_counts_what_is_missing(motion):
    truth = truth_positions(motion, H36M_17)
    prediction = truth.copy()
    prediction[:, 1] = np.nan
    prediction[:30, 0, 5] = np.nan
    result = evaluate(poses(prediction), poses(truth))
    assert result.missing == pytest.approx(0.5 + 30 / (60 * 2 * 17))
    assert np.isnan(result.per_person[1])
    assert result.mpjpe == pytest.approx(0, abs=1e-9)


def test_evaluate_maps_skeletons(motion):
    result = evaluate(poses(truth_positions(motion, BLAZEPOSE_33), BLAZEPOSE_33),
                      poses(truth_positions(motion, COCO_17), COCO_17))  # fmt: skip
    assert result.joint_names == COCO_17.joints
    assert result.mpjpe < 0.001


def test_an_offset_between_worlds_is_an_error_not_a_missing_person(motion):
    truth = truth_positions(motion, H36M_17)[:, :1]
    result = evaluate(poses(truth + [3.0, 0, 0]), poses(truth))
    assert result.mpjpe == pytest.approx(3.0)


def test_what_does_not_fit_is_named(motion):
    truth = truth_positions(motion, H36M_17)
    good = poses(truth)
    with pytest.raises(DataError, match="millimetres"):
        evaluate(poses(1000 * truth), good)
    with pytest.raises(DataError, match=r"frame rates differ(.|\n)*25"):
        evaluate(poses(truth, fps=25.0), good)
    with pytest.raises(DataError, match="no frame number in common"):
        evaluate(poses(truth, frames=np.arange(60) + 500), good)
    names = [f"m{i}" for i in range(17)]
    with pytest.raises(DataError, match="joints do not fit"):
        evaluate(poses(truth, joint_names=names), good)
    with pytest.raises(DataError, match="no poses"):
        evaluate(good, poses(np.full_like(truth, np.nan)))
    assert evaluate(poses(truth, joint_names=names), poses(truth, joint_names=names)).mpjpe == 0


def test_files_are_read_and_refused_by_name(tmp_path, motion):
    truth = truth_positions(motion, H36M_17)
    path = tmp_path / "t.npz"
    np.savez(path, positions=truth[:, 0], joint_names=np.array(H36M_17.joints), frames=np.arange(60))
    read = read_ground_truth(path)
    assert read.positions.shape == (60, 1, 17, 3)
    assert np.isnan(read.fps)
    assert evaluate(poses(truth[:, :1]), read).mpjpe == 0
    np.savez(path, positions=truth)
    with pytest.raises(DataError, match="no joint_names, frames"):
        read_result_npz(path)
    path.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(DataError, match="not a readable npz"):
        read_result_npz(path)
    with pytest.raises(DataError, match="no such file"):
        read_result_npz(tmp_path / "x.npz")
