"""2D keypoints at common times: exact on straight motion, shuffled slots, gaps."""

import numpy as np
import pytest

from calibration.synchronisation import TimeModel
from mocap.errors import DataError
from mocap.resampling import to_common_time
from mocap.types import Keypoints2D

FPS, T, J = 25.0, 40, 5
VELOCITY = np.array([[80.0, -30.0], [-50.0, 20.0]])  # px/s of two people


def points_at(seconds):
    """Two people on straight ways: [..., 2, J, 2] px."""
    shape = np.stack([np.linspace(0, 40, J), np.linspace(0, 160, J) % 90], -1)
    start = np.array([[100.0, 300], [700, 320]])[:, None] + shape
    return start + np.asarray(seconds)[..., None, None, None] * VELOCITY[:, None]


def recorded(offsets, frames=None, shuffle=False):
    frames = np.arange(T) if frames is None else frames
    k = np.stack([points_at(frames / FPS + o) for o in offsets])
    if shuffle:
        rng = np.random.default_rng(0)
        for v in range(len(offsets)):
            for t in range(len(frames)):
                k[v, t] = k[v, t, rng.permutation(2)]
    names = [f"c{v}" for v in range(len(offsets))]
    return Keypoints2D(
        keypoints=k, confidence=np.full(k.shape[:-1], 0.8), uncertainty=np.full(k.shape[:-1], 2.0),
        frames=frames, cameras=names, joint_names=[f"j{i}" for i in range(J)], fps=FPS,
    )  # fmt: skip


def model(offsets, drift=None):
    n = len(offsets)
    drift = np.zeros(n) if drift is None else drift
    return TimeModel(tuple(f"c{v}" for v in range(n)), offsets, drift, np.zeros(n), "test")


def test_nothing_to_do_is_the_same_object():
    k = recorded([0.0, 0.0])
    assert to_common_time(k, model([0.0, 0.0])) is k


@pytest.mark.parametrize("offset", [0.013, -0.021, 0.04, 0.1, -0.087])
def test_offset_cameras_come_to_the_common_time(offset):
    result = to_common_time(recorded([0.0, offset]), model([0.0, offset]))
    inner = slice(4, -4)
    expected = points_at(np.arange(T) / FPS)[inner]
    np.testing.assert_allclose(result.keypoints[0, inner], expected, atol=1e-3)
    np.testing.assert_allclose(result.keypoints[1, inner], expected, atol=1e-3)
    assert (result.confidence[:, inner] == np.float32(0.8)).all()
    assert (result.uncertainty[:, inner] <= 2.0).all()


def test_drift():
    frames = np.arange(T)
    k = recorded([0.0])
    moved = points_at(frames / FPS * 1.01)[None]
    k = Keypoints2D(**{**{n: getattr(k, n) for n in ("confidence", "uncertainty", "frames", "cameras",
                                                      "joint_names", "fps")}, "keypoints": moved})  # fmt: skip
    result = to_common_time(k, model([0.0], [0.01]))
    np.testing.assert_allclose(result.keypoints[0, :-2], points_at(frames / FPS)[:-2], atol=1e-3)


def test_slots_without_identity():
    result = to_common_time(recorded([0.013], shuffle=True), model([0.013]))
    expected = points_at(np.arange(T) / FPS)
    for t in range(2, T - 2):
        found = result.keypoints[0, t]
        both = [np.abs(found - expected[t][list(o)]).max() for o in ((0, 1), (1, 0))]
        assert min(both) < 1e-3


def test_beyond_the_recording_and_across_jumps_nothing_is_made_up():
    frames = np.concatenate([np.arange(20), np.arange(520, 540)])
    result = to_common_time(recorded([0.02], frames), model([0.02]))
    seen = result.confidence[0, :, 0, 0] > 0
    assert not seen[0]  # half a frame before the first
    assert not seen[20]
    assert seen[1:20].all()
    assert seen[21:].all()


def test_a_joint_or_person_missing_in_one_frame_is_missing_between():
    k = recorded([0.02])
    points = k.keypoints.copy()
    points[0, 10, 0, 3] = np.nan
    points[0, 20, 1] = np.nan
    k = Keypoints2D(**{**{n: getattr(k, n) for n in ("confidence", "uncertainty", "frames", "cameras",
                                                      "joint_names", "fps")}, "keypoints": points})  # fmt: skip
    result = to_common_time(k, model([0.02]))
    lost = result.confidence[0] == 0
    assert lost[10, 0, 3]
    assert lost[11, 0, 3]
    assert lost[20:22].any(-1).sum() == 2
    assert not lost[12:19].any()


def test_another_rig_is_refused():
    with pytest.raises(DataError, match="time model"):
        to_common_time(recorded([0.0, 0.0]), model([0.0]))
