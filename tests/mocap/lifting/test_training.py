"""Data, augmentation, training, weights."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from mocap.errors import DataError, SettingsError, WeightsError
from mocap.lifting import evaluation, training
from mocap.lifting.augmentation import WindowSampler
from mocap.lifting.dataset import FREE_BONES, read_cameras, read_motion, tree_sums
from mocap.lifting.dropout import monte_carlo
from mocap.lifting.features import window_input
from mocap.lifting.network import LiftNet
from mocap.lifting.pose_variation import Draw, PoseVariation
from mocap.lifting.settings import Architecture, LiftingSettings, NetworkSettings, TrainingSettings
from mocap.lifting.weights import SHIPPED, Member, StdCalibration, Weights, read_weights, weights_digest, write_weights
from mocap.skeleton import H36M_17
from mocap.synthetic import procedural_motion, truth_positions

TINY = TrainingSettings(width=32, blocks=1, steps=4, batch=16, evaluate_every=2, validation_subjects="b")


@pytest.fixture(scope="module")
def motion_file(tmp_path_factory):
    """Three people in the layout of the motion data, millimetres."""
    people = [truth_positions(procedural_motion(80, 50.0, s), H36M_17)[:, 0] * 1000 for s in range(3)]
    path = tmp_path_factory.mktemp("motion") / "motion.h5"
    with h5py.File(path, "w") as file:
        file["pose_rel"] = np.concatenate([p[:, 1:] - p[:, :1] for p in people]).astype(np.float16)
        file["root"] = np.concatenate([p[:, 0] for p in people]).astype(np.float32)
        file["start"], file["length"] = np.arange(3) * 80, np.full(3, 80)
        file["subject"] = np.array([b"a", b"b", b"c"])
        file.attrs["fps"], file.attrs["units"] = 50, "mm"
    return path


def test_motion_is_read_as_it_was(motion_file):
    motion = read_motion([motion_file])
    truth = truth_positions(procedural_motion(80, 50.0, 1), H36M_17)[:, 0]
    np.testing.assert_allclose(motion.positions(np.arange(80, 160)), truth, atol=2e-3)  # float16 millimetres
    held_in, held_out = motion.split(["b"])
    assert held_out.subjects == ("b",)
    assert held_in.subjects == ("a", "c")
    np.testing.assert_allclose(held_out.positions(np.arange(80)), truth, atol=2e-3)
    np.testing.assert_allclose(held_in.positions(np.arange(80, 160)), motion.positions(np.arange(160, 240)))


def test_bad_motion(motion_file, tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_motion([tmp_path / "absent.h5"])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["root"] = np.zeros((3, 3))
    with pytest.raises(DataError, match="not a motion file"):
        read_motion([tmp_path / "other.h5"])
    with pytest.raises(DataError, match="split"):
        read_motion([motion_file]).split(["z"])
    (tmp_path / "cameras.json").write_text("{}")
    with pytest.raises(DataError, match="camera parameter"):
        read_cameras(tmp_path / "cameras.json")


def sampler(motion_file, **settings):
    motion = read_motion([motion_file])
    return WindowSampler(motion, None, replace(TINY, **settings), 27, torch.device("cpu"))


def test_windows_are_seeded_and_consistent(motion_file):
    draw = sampler(motion_file)
    a, b = (draw.draw(256, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a.rays, b.rays)
    assert torch.isfinite(a.rays).all()
    assert (a.rays[a.confidence == 0] == 0).all()
    # Truth keeps the bone lengths it is said to have (known ones may be told 2 % wrong).
    bones = a.positions[:, H36M_17.bone_index[:, 1]] - a.positions[:, H36M_17.bone_index[:, 0]]
    ratio = bones.norm(dim=-1) / a.bones
    assert (ratio - 1).abs().median() < 1e-3
    assert ratio.min() > 0.85
    assert ratio.max() < 1.15
    # Exact windows project onto their rays.
    point = a.positions + a.root[:, None]
    off = (point[..., :2] / point[..., 2:] - a.rays[:, 13]).norm(dim=-1)
    seen = a.confidence[:, 13] > 0
    assert (off[seen] < 1e-4).float().mean() > 0.2
    assert off[seen].median() < 0.01


def test_mirroring_keeps_left_left(motion_file):
    """In both halves of a batch the left hip is to the left of the right one, seen from behind."""
    draw = sampler(motion_file, mix=0.0)
    w = draw.draw(512, torch.Generator().manual_seed(1))
    p = w.positions.numpy()
    across = p[:, H36M_17.index("l_hip")] - p[:, H36M_17.index("r_hip")]
    up = p[:, H36M_17.index("thorax")]
    # Ankles lie behind knees: bent knees point forward.
    bend = p[:, [2, 5]].mean(1) - 0.5 * (p[:, [1, 4]].mean(1) + p[:, [3, 6]].mean(1))
    side = np.einsum("ni,ni->n", np.cross(up, across), bend)
    strong = np.linalg.norm(bend, axis=-1) > 0.05
    assert strong.sum() > 50
    halves = np.arange(512) < 256
    for half in (halves, ~halves):
        assert (np.sign(side[half & strong]) == np.sign(np.median(side[strong]))).mean() > 0.9


def test_tree_and_free_bones():
    np.testing.assert_array_equal(FREE_BONES[H36M_17.mirror[1:] - 1], FREE_BONES)
    assert tree_sums().sum(1)[H36M_17.index("r_wrist")] == 5


def test_virtual_camera_looks_at_the_person(rng):
    rays = torch.as_tensor(rng.normal(0.3, 0.05, (8, 27, 17, 2)).astype(np.float32))
    known = torch.zeros(8, dtype=torch.bool)
    seen = window_input(rays, torch.ones(8, 27, 17), torch.ones(8, 16), known, torch.ones(8, 17))
    R = seen.camera_from_virtual
    torch.testing.assert_close(R @ R.transpose(1, 2), torch.eye(3).expand(8, 3, 3), atol=1e-5, rtol=0)
    assert (torch.linalg.det(R) > 0).all()
    middle = seen.tokens[:, 13].reshape(8, 17, 3)[..., :2]
    assert middle.mean(1).abs().max() < 0.05
    # The virtual ray, turned back, is the ray.
    direction = torch.bmm(torch.cat([rays[:, 13], torch.ones(8, 17, 1)], -1), R)
    flat = direction[..., :2] / direction[..., 2:]
    ratio = (flat / middle).reshape(8, -1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-2, atol=1e-3)


def test_training_repeats_and_resumes(motion_file, tmp_path, monkeypatch):
    report = training.train([motion_file], tmp_path / "a.npz", settings=TINY)
    assert report.step == 4
    lines = (tmp_path / "a.log.jsonl").read_text().splitlines()
    assert [json.loads(x)["step"] for x in lines] == [2, 4]
    weights = read_weights(tmp_path / "a.npz")
    # Started again, a run that is finished has nothing left to do.
    assert training.train([motion_file], tmp_path / "a.npz", settings=TINY) == report
    assert (tmp_path / "a.log.jsonl").read_text().splitlines() == lines

    calls = []
    real = training._evaluate

    def stop_at_second(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(training, "_evaluate", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        training.train([motion_file], tmp_path / "b.npz", settings=TINY)
    monkeypatch.setattr(training, "_evaluate", real)
    training.train([motion_file], tmp_path / "b.npz", settings=TINY)
    resumed = read_weights(tmp_path / "b.npz")
    for name, array in weights.arrays.items():
        np.testing.assert_array_equal(array, resumed.arrays[name])

    with pytest.raises(WeightsError, match="checkpoint"):
        training.train([motion_file], tmp_path / "b.npz", settings=replace(TINY, width=48))


def test_networks_are_averaged_and_calibrated_together(motion_file, tmp_path):
    """Within the intervals of the mean lies what they ask for of the errors that they were fitted on."""
    from mocap.lifting.lift import Lifter

    draw = sampler(motion_file)
    drawn = draw.draw(128, torch.Generator().manual_seed(1))
    reference = training.smoothed(drawn, draw.window, torch.device("cpu"))
    sets = training._validation(read_motion([motion_file]), None)
    shape = NetworkSettings(width=16, blocks=1)
    parts = []
    for seed in range(2):
        torch.manual_seed(seed)
        arrays = {name: value.float().numpy() for name, value in LiftNet(shape).state_dict().items()}
        parts.append(Weights(shape, arrays, StdCalibration(), {"seed": str(seed)}))
    weights = evaluation.averaged(parts, [0.4], sets, reference)
    assert [(m.share, m.bits) for m in weights.members] == [(0.6, 8), (0.4, 8)]
    assert weights.notes == {"seed": "0"}
    for part, member in zip(parts, weights.members, strict=True):
        eight = part.members[0].in_8_bits()
        assert all(np.array_equal(member.arrays[name], a) for name, a in eight.arrays.items())
    assert np.abs(weights.correlation - np.eye(48)).max() > 0.1
    lifter = Lifter(weights)
    for bones in (False, True):
        found = []
        for w in sets:
            rays, confidence, lengths, truth = (
                a[::3].numpy().astype(float) for a in (w.rays, w.confidence, w.bones, w.positions)
            )
            lifted = lifter.lift(rays, confidence, lengths if bones else None)
            found.append(evaluation.coverage(lifted.positions, truth, lifted.std, lifted.half_95))
        np.testing.assert_allclose(np.mean(found, 0), (0.683, 0.95), atol=0.005)
    write_weights(weights, tmp_path / "mean.npz")
    again = read_weights(tmp_path / "mean.npz")
    assert again.calibration == weights.calibration
    for one, other in zip(weights.members, again.members, strict=True):
        assert one.share == pytest.approx(other.share)
        assert one.bits == other.bits


def test_a_damaged_checkpoint_is_one_message(motion_file, tmp_path):
    (tmp_path / "c.checkpoint.pt").write_bytes(b"no checkpoint" * 50)
    with pytest.raises(WeightsError, match="checkpoint does not fit"):
        training.train([motion_file], tmp_path / "c.npz", settings=TINY)


def test_training_lowers_the_error(motion_file, tmp_path):
    settings = replace(TINY, steps=150, evaluate_every=50, batch=64, width=64, learning_rate=3e-3)
    training.train([motion_file], tmp_path / "a.npz", settings=settings)
    lines = [json.loads(x) for x in (tmp_path / "a.log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.6 * lines[0]["loss"]
    assert lines[-1]["exact"] < lines[0]["exact"]


def test_martinez_trains_in_the_same_code(motion_file, tmp_path):
    settings = replace(TINY, architecture=Architecture.MARTINEZ)
    training.train([motion_file], tmp_path / "m.npz", settings=settings)
    from mocap.lifting.lift import Lifter

    poses = Lifter(tmp_path / "m.npz").lift(
        np.random.default_rng(0).normal(0, 0.1, (3, 27, 17, 2)), np.ones((3, 27, 17))
    )
    assert np.isfinite(poses.positions).all()


def test_monte_carlo_dropout_spreads_with_its_rate(motion_file):
    w = sampler(motion_file).draw(64, torch.Generator().manual_seed(3))
    few, more = (monte_carlo(read_weights(), w, True, rate, samples=8, seed=1) for rate in (0.02, 0.2))
    assert np.median(more[1][:, 1:]) > 2 * np.median(few[1][:, 1:]) > 0
    again = monte_carlo(read_weights(), w, True, 0.02, samples=8, seed=1)
    np.testing.assert_array_equal(few[0], again[0])
    none, spread = monte_carlo(read_weights(), w, True, 0.0, samples=2, seed=1)
    assert spread.max() < 1e-6
    assert np.linalg.norm(none - few[0], axis=-1).mean() < 0.05


def test_poses_are_varied_within_the_bodys_means(motion_file):
    """Exchanged and turned limbs stay unit vectors, legs and arms move for themselves, nothing else is torn."""
    bones = torch.as_tensor(read_motion([motion_file]).directions[:27]).reshape(1, 27, 48).repeat(400, 1, 1)
    draw = Draw(torch.Generator().manual_seed(0), torch.device("cpu"))
    varied = PoseVariation(0.0, 1.0).vary(bones, draw).reshape(400, 27, 16, 3)
    torch.testing.assert_close(varied.norm(dim=-1), torch.ones(400, 27, 16), atol=1e-4, rtol=0)
    angle = torch.rad2deg(torch.acos((varied * bones.reshape(400, 27, 16, 3)).sum(-1).clamp(-1, 1)))
    assert 2 < angle.median() < 25
    # The same people exchanged among themselves are the same people; motion within the window is kept.
    same = PoseVariation(1.0, 0.0).vary(bones, draw)
    torch.testing.assert_close(same, bones, atol=1e-4, rtol=0)


def test_weights_file(tmp_path):
    weights = read_weights()
    assert SHIPPED.stat().st_size < 10_000_000
    assert len(weights_digest()) == 64
    write_weights(weights, tmp_path / "copy.npz")
    again = read_weights(tmp_path / "copy.npz")
    assert again.network == weights.network
    assert again.calibration == weights.calibration
    for name, array in weights.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])
    assert weights_digest(tmp_path / "copy.npz") == weights_digest()


def test_eight_bits_keep_weights_to_half_a_step():
    member = read_weights().members[0]
    for name, rounded in member.in_8_bits().arrays.items():
        a = member.arrays[name]
        step = np.abs(a).max(1, keepdims=True) / 127 if a.ndim == 2 else 0
        assert (np.abs(rounded - a) <= 0.501 * step).all(), name


def test_bad_weights(tmp_path):
    with pytest.raises(WeightsError, match="no lifting weights"):
        read_weights(tmp_path / "absent.npz")
    with pytest.raises(WeightsError, match="no lifting weights"):
        weights_digest(tmp_path / "absent.npz")
    (tmp_path / "cut.npz").write_bytes(SHIPPED.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(tmp_path / "cut.npz")
    np.savez(tmp_path / "pickle.npz", description=np.array([{"a": 1}], dtype=object))
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(tmp_path / "pickle.npz")
    weights = read_weights()
    write_weights(replace(weights, network=NetworkSettings(width=64)), tmp_path / "other.npz")
    from mocap.lifting.lift import Lifter

    with pytest.raises(WeightsError, match="do not fit"):
        Lifter(tmp_path / "other.npz")


@pytest.mark.parametrize("shares", [(1.0,), (0.0,), (-0.2,), (0.5, 0.5), (np.nan,)])
def test_shares_that_leave_no_mean_are_refused(tmp_path, monkeypatch, shares):
    weights = Weights(NetworkSettings(), {}, StdCalibration(), {})
    others = tuple(Member(NetworkSettings(), {}, share) for share in shares)
    with pytest.raises(SettingsError, match="each above 0"):
        replace(weights, others=others)
    with monkeypatch.context() as patched:  # a file that says so
        patched.setattr(Weights, "__post_init__", lambda _: None)
        write_weights(replace(weights, others=others), tmp_path / "shares.npz")
    with pytest.raises(WeightsError, match="each above 0"):
        read_weights(tmp_path / "shares.npz")


@pytest.mark.parametrize("layout", ["mocap-liftnet-4", "mocap-liftnet-6"])
def test_weights_of_another_format_are_refused(tmp_path, monkeypatch, layout):
    weights = Weights(NetworkSettings(), {}, StdCalibration(), {})
    with monkeypatch.context() as patched:
        patched.setattr("mocap.lifting.weights.FORMAT", layout)
        write_weights(weights, tmp_path / "old.npz")
    with pytest.raises(WeightsError, match="another format"):
        read_weights(tmp_path / "old.npz")


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrainingSettings(batch=0),
        lambda: TrainingSettings(mix=2),
        lambda: TrainingSettings(perturb=2),
        lambda: NetworkSettings(window=9),
        lambda: LiftingSettings(min_joints=1),
        lambda: LiftingSettings(max_std=-1),
    ],
)
def test_settings_out_of_range(make):
    with pytest.raises(SettingsError, match="out of range"):
        make()


def test_the_shipped_network_is_small():
    net = LiftNet(read_weights().network)
    assert sum(p.numel() for p in net.parameters()) < 5_000_000
