"""Records check themselves; timelines part where frames are missing; interchange files round-trip."""

from __future__ import annotations

import numpy as np
import pytest

from mocap.errors import DataError
from mocap.interchange import read_keypoints, write_keypoints
from mocap.skeleton import COCO_17
from mocap.timeline import segments
from mocap.types import Keypoints2D, Trajectories3D


def keypoints(rng: np.random.Generator, **changes: object) -> Keypoints2D:
    shape = (2, 5, 1, 17)
    values: dict[str, object] = {
        "keypoints": rng.uniform(0, 1000, (*shape, 2)), "confidence": rng.uniform(0.1, 1, shape),
        "uncertainty": np.full(shape, 3.0), "frames": np.arange(5), "cameras": ("a", "b"),
        "joint_names": COCO_17.joints, "fps": 50.0,
    }  # fmt: skip
    return Keypoints2D(**{**values, **changes})  # type: ignore[arg-type]


def test_missing_means_nan_with_confidence_zero(rng):
    points = rng.uniform(0, 1000, (2, 5, 1, 17, 2))
    confidence = np.full((2, 5, 1, 17), 0.9)
    points[0, 0, 0, 3, 1] = np.nan
    confidence[1, 2, 0, 4] = 0
    k = keypoints(rng, keypoints=points, confidence=confidence)
    assert np.isnan(k.keypoints[0, 0, 0, 3]).all()
    assert k.confidence[0, 0, 0, 3] == 0
    assert np.isnan(k.keypoints[1, 2, 0, 4]).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frames": np.arange(4)}, "axes do not fit"),
        ({"frames": np.array([0, 1, 1, 2, 3])}, "increase"),
        ({"fps": 0.0}, "fps"),
        ({"cameras": ("a",)}, "labels"),
        ({"confidence": np.zeros((2, 5, 1))}, "number of axes"),
    ],
)
def test_axes_that_do_not_fit_are_named(rng, changes, said):
    with pytest.raises(DataError, match=said):
        keypoints(rng, **changes)


def test_source_must_say_what_is_missing():
    positions = np.zeros((1, 1, 2, 3), np.float32)
    positions[0, 0, 1] = np.nan
    arrays = {
        "positions": positions, "covariance": np.zeros((1, 1, 2, 3, 3)), "reprojection_error": np.zeros((1, 1, 2)),
        "consistency": np.zeros((1, 1, 2)), "views_used": np.zeros((1, 1, 2)), "person_ids": [0], "frames": [0],
        "joint_names": ("x", "y"), "fps": 30.0,
    }  # fmt: skip
    Trajectories3D(source=np.array([[[1, 0]]]), **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="disagree"):
        Trajectories3D(source=np.array([[[1, 1]]]), **arrays)  # type: ignore[arg-type]


def test_segments_part_at_jumps_only():
    frames = np.array([0, 1, 2, 5, 6, 1000, 1001])
    assert segments(frames, 0) == [slice(0, 3), slice(3, 5), slice(5, 7)]
    assert segments(frames, 2) == [slice(0, 5), slice(5, 7)]
    assert segments(np.array([], int), 2) == []


def test_keypoint_file_round_trip(tmp_path, rng):
    k = keypoints(rng)
    write_keypoints(k, tmp_path / "k.npz")
    again = read_keypoints(tmp_path / "k.npz")
    for name in ("keypoints", "confidence", "uncertainty", "frames"):
        np.testing.assert_array_equal(getattr(again, name), getattr(k, name))
    assert (again.cameras, again.joint_names, again.fps) == (k.cameras, k.joint_names, k.fps)


def test_peaks_a_little_above_one_count_as_one(tmp_path, rng):
    k = keypoints(rng)
    arrays = {n: getattr(k, n) for n in ("keypoints", "cameras", "joint_names", "frames", "fps")}
    np.savez(tmp_path / "k.npz", confidence=1.04 * k.confidence, **arrays)
    again = read_keypoints(tmp_path / "k.npz")
    np.testing.assert_allclose(again.confidence, np.minimum(1.04 * k.confidence, 1), rtol=1e-6)


def test_bad_keypoint_files_are_named(tmp_path, rng):
    path = tmp_path / "k.npz"
    with pytest.raises(DataError, match="no such"):
        read_keypoints(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"not a \.npz"):
        read_keypoints(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="a single array"):
        read_keypoints(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(DataError, match=r"not a \.npz"):
        read_keypoints(path)
    np.savez(path, keypoints=np.zeros((1, 1, 1, 17, 2)))
    with pytest.raises(DataError, match="lacks confidence"):
        read_keypoints(path)
    k = keypoints(rng)
    np.savez(
        path, keypoints=k.keypoints, confidence=100 * k.confidence, cameras=k.cameras, joint_names=k.joint_names,
        frames=k.frames, fps=50,
    )  # fmt: skip
    with pytest.raises(DataError, match="confidence out of range"):
        read_keypoints(path)
    write_keypoints(k, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError):
        read_keypoints(path)
