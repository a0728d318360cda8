"""A person who walks, and cameras."""

from __future__ import annotations

import numpy as np
import pytest

from mocap.skeleton import H36M_17
from mocap.synthetic import MotionKind, procedural_motion, truth_positions

K = np.array([[1100.0, 0, 500], [0, 1100.0, 500], [0, 0, 1]])


@pytest.fixture(scope="session")
def walker() -> np.ndarray:
    """float64 [T, 17, 3]: world, metres, 50 frames per second."""
    return truth_positions(procedural_motion(150, 50.0, 3, MotionKind.WALK), H36M_17)[:, 0]


@pytest.fixture(scope="session")
def windows(walker) -> dict[str, np.ndarray]:
    """Windows of the walker as a level camera 5 m away sees them, and the truth."""
    R = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    camera = (walker - walker[:, :1].mean(0) * [1, 1, 0]) @ R.T + [0, 1.2, 5]
    centres = np.arange(20, 130, 10)
    points = camera[centres[:, None] + np.arange(27) - 13]
    pixels = points @ K.T
    bones = np.linalg.norm(walker[:, H36M_17.bone_index[:, 1]] - walker[:, H36M_17.bone_index[:, 0]], axis=-1)
    n = len(centres)
    return {
        "keypoints": pixels[..., :2] / pixels[..., 2:],
        "confidence": np.ones((n, 27, 17)),
        "K": np.tile(K, (n, 1, 1)),
        "bone_lengths": np.tile(np.median(bones, 0), (n, 1)),
        "positions": points[:, 13] - points[:, 13, :1],
        "root": points[:, 13, 0],
    }
