"""Our figures against the scoring programs of the shared benchmarks, on damaged truth."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from mocap.metrics import Association, EvaluationSettings, evaluate, evaluate_shelf, read_ground_truth, read_result_npz
from mocap.skeleton import BODY_25, COCO_17

BENCH = Path(__file__).resolve().parents[4] / "shared" / "bench"

pytestmark = pytest.mark.skipif(not BENCH.is_dir(), reason="needs ../shared/bench beside the project")


def scorer(name):
    spec = importlib.util.spec_from_file_location(f"score_{name}", BENCH / name / "score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.score


def test_geometry(tmp_path):
    """Noise, short gaps, joints lost for a whole clip, frames left out, and a second, emptier slot."""
    rng = np.random.default_rng(0)
    truth = np.load(BENCH / "geometry" / "truth_studio.npz")
    X = truth["positions"] + rng.normal(0, 0.01, truth["positions"].shape)
    X[rng.random(X.shape[:2]) < 0.2] = np.nan
    X[truth["clip"] == truth["clip"][0], 5] = np.nan
    kept = rng.random(len(X)) < 0.9
    order = rng.permutation(17)
    other = np.where(rng.random(X.shape[:2])[..., None] < 0.7, np.nan, X + 1)
    path = tmp_path / "result.npz"
    np.savez(path, positions=np.stack([X, other], 1)[kept][:, :, order], frames=truth["frames"][kept],
             joint_names=truth["joint_names"][order])  # fmt: skip
    wanted = scorer("geometry")(path, "studio")
    settings = EvaluationSettings(association=Association.FULLEST)
    ours = evaluate(read_result_npz(path), read_ground_truth(BENCH / "geometry" / "truth_studio.npz"), settings)
    assert 1000 * ours.mpjpe == pytest.approx(wanted["mpjpe_returned"], abs=0.01)
    assert 1000 * ours.mpjpe_filled == pytest.approx(wanted["mpjpe"], abs=0.01)
    assert 1000 * ours.median == pytest.approx(wanted["median"], abs=0.01)
    assert 1000 * ours.p95 == pytest.approx(wanted["p95"], abs=0.01)
    assert 1000 * ours.acceleration == pytest.approx(wanted["jitter"], abs=0.01)
    assert 100 * ours.missing_of_truth == pytest.approx(wanted["missing_pct"], abs=0.01)


@pytest.mark.parametrize("skeleton", [COCO_17, BODY_25], ids=lambda s: s.name)
def test_shelf(tmp_path, skeleton):
    """People made from the truth, badly enough that many parts are wrong; identities change."""
    rng = np.random.default_rng(1)
    truth = np.load(BENCH / "shelf" / "truth_dev_300_449.npz")
    joints = truth["joints"]
    place = joints.mean(2)
    X = place[:, :, None] + rng.normal(0, 0.15, (*joints.shape[:2], len(skeleton.joints), 3))
    shelf = dict(zip(read_ground_truth(BENCH / "shelf" / "truth_dev_300_449.npz").joint_names,
                     np.moveaxis(joints, 2, 0), strict=True))  # fmt: skip
    for j, name in enumerate(skeleton.joints):
        if name in shelf:
            X[:, :, j] = shelf[name] + rng.normal(0, 0.1, place.shape)
    X[rng.random(X.shape[:3]) < 0.1] = np.nan
    X[70:] = X[70:, ::-1]
    kept = rng.random(len(X)) < 0.95
    path = tmp_path / "result.npz"
    np.savez(path, positions=X[kept].astype(np.float32), frames=truth["frames"][kept],
             joint_names=np.array(skeleton.joints), person_ids=np.array([4, 8, 2, 5]))  # fmt: skip
    wanted = scorer("shelf")(path, [BENCH / "shelf" / "truth_dev_300_449.npz"])
    ours = evaluate_shelf(read_result_npz(path), read_ground_truth(BENCH / "shelf" / "truth_dev_300_449.npz"))
    assert 20 < wanted["pcp_average"] < 99
    assert 100 * ours.pcp == pytest.approx(wanted["pcp_average"], abs=0.0051)
    for actor, value in wanted["pcp_by_actor"].items():
        assert 100 * ours.by_actor[actor - 1] == pytest.approx(value, abs=0.0051)
    assert 1000 * ours.limb_error == pytest.approx(wanted["limb_mpjpe_mm"], abs=0.051)
    assert ours.id_switches == wanted["id_switches"] > 0
    assert ours.people_per_frame == pytest.approx(wanted["people_per_frame"], abs=0.0051)
