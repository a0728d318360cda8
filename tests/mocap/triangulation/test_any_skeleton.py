"""Nothing about the body or the number of cameras is built in: an animal's joints, 2 to 64 views, two of them."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.projection import Lenses, project
from mocap.filtering import FilterSettings, filter_trajectories
from mocap.synthetic.rig import ring_rig
from mocap.triangulation import TriangulationSettings, triangulate
from mocap.types import Matches, Source

JOINTS = ("nose", "neck", "tail", "paw_1", "paw_2", "paw_3", "paw_4")
FRAMES = 60
SIGMA = 2.0


def animals(rng) -> np.ndarray:
    """Positions [T, 2, 7, 3], metres: two that walk past each other."""
    t = np.linspace(0, 2, FRAMES)[:, None, None, None]
    body = rng.uniform(-0.5, 0.5, (1, 2, 7, 3)) + [0, 0, 0.7]
    way = np.array([[[0.5, 0.2, 0.0]], [[-0.4, 0.3, 0.0]]])
    return body + (t - 1) * way + 0.05 * np.sin(6 * t + np.arange(7)[:, None])


def observed(rng, truth, rig) -> Matches:
    V, (T, P, J) = len(rig), truth.shape[:3]
    pixels = project(Lenses.of(rig), truth)
    pixels = pixels + SIGMA * rng.normal(size=pixels.shape)
    confidence = np.where(rng.random((V, T, P, J)) < (0.0 if V == 2 else 0.1), 0.0, 0.9)
    slot = np.broadcast_to(np.arange(P), (V, T, P))
    return Matches(
        keypoints=np.where(confidence[..., None] > 0, pixels, np.nan), confidence=confidence,
        uncertainty=np.full(confidence.shape, np.nan), observation=slot[..., None] * J + np.arange(J), slot=slot,
        score=np.full(slot.shape, np.nan), runner_up=np.full(slot.shape, np.nan), person_ids=np.arange(P),
        frames=np.arange(T), cameras=rig.names, joint_names=JOINTS, fps=30.0,
    )  # fmt: skip


@pytest.mark.parametrize("cameras", [2, 3, 6, 17, 64])
def test_any_skeleton_and_2_to_64_cameras(rng, cameras):
    rig, truth = ring_rig(cameras, seed=7), animals(rng)
    result = triangulate(observed(rng, truth, rig), rig, TriangulationSettings())
    found = result.source == Source.TRIANGULATED
    assert found.mean() > 0.97
    assert result.joint_names == JOINTS
    assert (np.bitwise_count(result.views_used[found]) >= 2).all()
    assert int(np.bitwise_or.reduce(result.views_used.ravel())).bit_length() == cameras
    d = (result.positions - truth)[found].astype(float)
    m2 = np.einsum("ni,nij,nj->n", d, np.linalg.inv(result.covariance[found].astype(float)), d)
    # The stated covariance holds for any number of views, and more views say more.
    assert 0.90 < (m2 < 7.815).mean() < 0.99
    assert np.linalg.norm(d, axis=-1).mean() < 0.03 / np.sqrt(cameras)
    smooth = filter_trajectories(result, FilterSettings())
    here = smooth.source != Source.MISSING
    error = np.linalg.norm((smooth.positions - truth)[here], axis=-1).mean()
    assert error < 0.8 * np.linalg.norm(d, axis=-1).mean()
