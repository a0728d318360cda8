"""`mocap lift`: shapes, invariances, missing joints, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from mocap.errors import DataError, WeightsError
from mocap.lifting.lift import Lifter, lift_file, lift_windows
from mocap.skeleton import H36M_17

ARRAYS = ("keypoints", "confidence", "K", "bone_lengths")


@pytest.fixture(scope="module")
def lifter() -> Lifter:
    return Lifter()


def errors(a, b):
    return 1000 * np.linalg.norm(a - b, axis=-1)


def test_walker_is_lifted_better_than_a_mean_pose(windows, lifter):
    poses = lift_windows(*(windows[n] for n in ARRAYS), lifter=lifter)
    assert poses.positions.shape == windows["positions"].shape
    assert poses.std.shape == poses.half_95.shape == windows["positions"].shape[:2]
    assert (poses.half_95[:, 1:] > poses.std[:, 1:]).all()
    np.testing.assert_allclose(poses.positions[:, 0], 0, atol=1e-7)
    error = errors(poses.positions, windows["positions"]).mean()
    mean_pose = errors(windows["positions"].mean(0), windows["positions"]).mean()
    assert error < 0.6 * mean_pose
    assert error < 80
    assert np.median(errors(poses.root, windows["root"])) < 250


def test_without_bone_lengths(windows, lifter):
    poses = lift_windows(*(windows[n] for n in ARRAYS[:3]), lifter=lifter)
    assert errors(poses.positions, windows["positions"]).mean() < 100
    unknown = np.full_like(windows["bone_lengths"], np.nan)
    again = lift_windows(*(windows[n] for n in ARRAYS[:3]), unknown, lifter=lifter)
    np.testing.assert_array_equal(poses.positions, again.positions)


def test_mirrored_input_gives_mirrored_output(windows, lifter, rng):
    keypoints = windows["keypoints"] + rng.normal(0, 3, windows["keypoints"].shape)
    poses = lift_windows(keypoints, *(windows[n] for n in ARRAYS[1:]), lifter=lifter)
    mirror = H36M_17.mirror
    flipped = keypoints[:, :, mirror]
    flipped[..., 0] = 2 * windows["K"][:, None, None, 0, 2] - flipped[..., 0]
    swapped = windows["bone_lengths"][:, mirror[1:] - 1]
    other = lift_windows(flipped, windows["confidence"], windows["K"], swapped, lifter=lifter)
    np.testing.assert_allclose(other.positions[:, mirror] * [-1, 1, 1], poses.positions, atol=1e-5)
    np.testing.assert_allclose(other.std[:, mirror], poses.std, rtol=1e-4)
    np.testing.assert_allclose(other.root * [-1, 1, 1], poses.root, atol=1e-4)


def test_a_larger_person_further_away_is_the_same_person(windows, lifter):
    """With known bones, equal rays and bones times s give positions times s."""
    arrays = [windows[n] for n in ARRAYS]
    poses, scaled = (lift_windows(*arrays[:3], s * arrays[3], lifter=lifter) for s in (1.0, 1.3))
    np.testing.assert_allclose(scaled.positions, 1.3 * poses.positions, atol=1e-4)
    np.testing.assert_allclose(scaled.std[:, 1:], 1.3 * poses.std[:, 1:], rtol=1e-3)


def test_intrinsics_only_turn_pixels_into_rays(windows, lifter):
    K = windows["K"].copy()
    K[:, 0] *= 1.7
    K[:, 0, 2] += 31
    keypoints = windows["keypoints"].copy()
    keypoints[..., 0] = keypoints[..., 0] * 1.7 + 31
    a = lift_windows(*(windows[n] for n in ARRAYS), lifter=lifter)
    b = lift_windows(keypoints, windows["confidence"], K, windows["bone_lengths"], lifter=lifter)
    np.testing.assert_allclose(a.positions, b.positions, atol=1e-5)


def test_missing_joints_degrade_gracefully_and_are_known_to(windows, lifter, rng):
    confidence = windows["confidence"] * (rng.random(windows["confidence"].shape) > 0.4)
    full = lift_windows(*(windows[n] for n in ARRAYS), lifter=lifter)
    sparse = lift_windows(windows["keypoints"], confidence, *(windows[n] for n in ARRAYS[2:]), lifter=lifter)
    assert np.isfinite(sparse.positions).all()
    assert errors(sparse.positions, windows["positions"]).mean() < 120
    assert sparse.std[:, 1:].mean() > full.std[:, 1:].mean()


def test_values_of_missing_joints_do_not_matter(windows, lifter, rng):
    confidence = windows["confidence"].copy()
    confidence[:, ::3, 5] = 0
    wild = windows["keypoints"].copy()
    wild[:, ::3, 5] = 1e5
    gone = windows["keypoints"].copy()
    gone[:, ::3, 5] = np.nan
    rest = [windows[n] for n in ARRAYS[2:]]
    a, b = (lift_windows(k, confidence, *rest, lifter=lifter) for k in (wild, gone))
    np.testing.assert_array_equal(a.positions, b.positions)
    np.testing.assert_array_equal(a.root, b.root)


def test_nobody_seen_is_nan(windows, lifter):
    confidence = windows["confidence"].copy()
    confidence[0] = 0
    confidence[1, 13, 3:] = 0
    poses = lift_windows(windows["keypoints"], confidence, windows["K"], lifter=lifter)
    assert np.isnan(poses.positions[:2]).all()
    assert np.isnan(poses.std[:2]).all()
    assert np.isnan(poses.half_95[:2]).all()
    assert np.isnan(poses.root[0]).all()
    assert np.isfinite(poses.positions[2:]).all()


@pytest.mark.parametrize("frames", [1, 9, 26, 27, 81])
def test_any_window_length(windows, lifter, frames):
    """The middle frame is W // 2; what is longer than the network's window is not looked at."""
    index = np.clip(np.arange(frames) - frames // 2 + 13, 0, 26)
    poses = lift_windows(
        windows["keypoints"][:, index], windows["confidence"][:, index], windows["K"], windows["bone_lengths"],
        lifter=lifter,
    )  # fmt: skip
    assert errors(poses.positions, windows["positions"]).mean() < 150
    if frames >= 27:
        exact = lift_windows(*(windows[n] for n in ARRAYS), lifter=lifter)
        np.testing.assert_array_equal(poses.positions, exact.positions)


def test_no_windows(lifter):
    poses = lift_windows(np.zeros((0, 27, 17, 2)), np.zeros((0, 27, 17)), np.zeros((0, 3, 3)), lifter=lifter)
    assert poses.positions.shape == (0, 17, 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"keypoints": np.zeros((2, 27, 25, 2))}, "another skeleton"),
        ({"keypoints": np.zeros((2, 0, 17, 2)), "confidence": np.zeros((2, 0, 17))}, "too short"),
        ({"confidence": np.zeros((2, 26, 17))}, "does not fit"),
        ({"confidence": np.full((2, 27, 17), 80.0)}, "out of range"),
        ({"K": np.zeros((2, 3, 3))}, "intrinsics"),
        ({"K": np.eye(3)}, "intrinsics"),
        ({"bone_lengths": np.full((2, 16), 250.0)}, "out of range"),
        ({"bone_lengths": np.ones((2, 17))}, "do not fit"),
    ],
)
def test_what_does_not_fit_is_said(change, says):
    arrays = {
        "keypoints": np.zeros((2, 27, 17, 2)), "confidence": np.ones((2, 27, 17)), "K": np.tile(np.eye(3), (2, 1, 1)),
    } | change  # fmt: skip
    with pytest.raises(DataError, match=says):
        lift_windows(**arrays)


def test_files(windows, tmp_path, lifter):
    source, target = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(source, **{n: windows[n] for n in ARRAYS})
    lift_file(source, target)
    expected = lift_windows(*(windows[n] for n in ARRAYS), lifter=lifter)
    with np.load(target) as out:
        assert out["positions"].shape == (len(windows["K"]), 17, 3)
        assert out["std"].shape == out["half_95"].shape == (len(windows["K"]), 17)
        np.testing.assert_allclose(out["positions"], expected.positions, atol=1e-5)
        np.testing.assert_allclose(out["root"], expected.root, atol=1e-4)
    first = target.read_bytes()
    lift_file(source, target)
    assert target.read_bytes() == first


def test_bad_files(windows, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        lift_file(tmp_path / "absent.npz", tmp_path / "out.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match=r"not a \.npz"):
        lift_file(tmp_path / "text.npz", tmp_path / "out.npz")
    np.savez(tmp_path / "noK.npz", **{n: windows[n] for n in ARRAYS[:2]})
    with pytest.raises(DataError, match="lacks K"):
        lift_file(tmp_path / "noK.npz", tmp_path / "out.npz")
    np.savez(tmp_path / "in.npz", **{n: windows[n] for n in ARRAYS})
    with pytest.raises(WeightsError, match="no lifting weights"):
        lift_file(tmp_path / "in.npz", tmp_path / "out.npz", weights=tmp_path / "absent.npz")
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize("batch", [1, 40])
def test_the_network_in_use_is_the_one_trained(rng, batch):
    """NumPy without torch, batch normalisation folded, weights of 16 bits, against torch: 0.3 mm on rays of noise."""
    import torch

    from mocap.lifting.features import WindowInput
    from mocap.lifting.inference import FoldedNet, MeanNet
    from mocap.lifting.network import OnDevice, load
    from mocap.lifting.normalise import normalise
    from mocap.lifting.weights import read_weights

    weights = read_weights()
    rays = rng.normal(0, 0.05, (batch, 1, 17, 2)) + rng.normal(0, 0.01, (batch, 27, 17, 2))
    one = normalise(
        rays, rng.random((batch, 27, 17)), rng.uniform(0.1, 0.5, (batch, 16)), np.arange(batch) % 2 == 0,
        rng.uniform(0, 0.01, (batch, 17)),
    )  # fmt: skip
    w = one.both_ways()
    each = []
    for member in weights.members:
        positions, log_std = FoldedNet(member)(w)
        with torch.inference_mode():
            arrays = (w.tokens, w.condition, w.camera_from_virtual, w.size)
            lifted = load(member)(WindowInput(*(torch.from_numpy(a) for a in arrays)))
        np.testing.assert_allclose(positions, lifted.positions, atol=3e-4)
        np.testing.assert_allclose(log_std, lifted.log_std, atol=3e-3)
        np.testing.assert_array_equal(OnDevice(member, torch.device("cpu"))(w)[0], lifted.positions)
        each.append((positions[:batch], positions[batch:, H36M_17.mirror] * [-1, 1, 1]))
    expected = weights.members[0].share * np.mean(each[0], 0)
    # The others look at whichever has the person on the left.
    right = one.condition[:, :1, None] > 0
    for member, (own, image) in zip(weights.members[1:], each[1:], strict=True):
        expected = expected + member.share * np.where(right, image, own)
    positions, _, mirror = MeanNet.of(weights)(one)
    np.testing.assert_allclose(positions, expected, atol=1e-5)
    np.testing.assert_allclose(mirror[..., 1], np.abs(0.5 * (each[0][0] - each[0][1]))[..., 2], atol=1e-5)


def test_one_window_is_lifted_as_among_many(windows, lifter):
    """The kernels for few rows and the matrix products for many are one function."""
    many = lift_windows(*(windows[n] for n in ARRAYS), lifter=lifter)
    for row in (0, 5):
        one = lift_windows(*(windows[n][row : row + 1] for n in ARRAYS), lifter=lifter)
        np.testing.assert_allclose(one.positions[0], many.positions[row], atol=1e-4)
        np.testing.assert_allclose(one.std[0], many.std[row], rtol=1e-3)


def test_mirrored_input_of_the_network_is_the_input_of_the_mirrored_window(rng):
    from mocap.lifting.normalise import normalise

    rays = rng.normal(0.2, 0.05, (6, 27, 17, 2))
    confidence = (rng.random((6, 27, 17)) > 0.1) * rng.random((6, 27, 17))
    bones, known, mirror = rng.uniform(0.1, 0.5, (6, 16)), np.arange(6) % 2 == 0, H36M_17.mirror
    noise = rng.uniform(0, 0.01, (6, 17))
    noise[:, 4] = np.inf
    both = normalise(rays, confidence, bones, known, noise).both_ways()
    flipped = rays[:, :, mirror] * [-1, 1], confidence[:, :, mirror], bones[:, mirror[1:] - 1]
    other = normalise(*flipped, known, noise[:, mirror])
    for name in ("tokens", "condition", "camera_from_virtual", "size"):
        np.testing.assert_allclose(getattr(both, name)[6:], getattr(other, name), atol=1e-5)
