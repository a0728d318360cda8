"""A small take with everything in it: two people, gaps, lifted and interpolated samples."""

import numpy as np
import pytest

from mocap.kinematics import SolveSettings, solve_motion
from mocap.skeleton import COCO_17
from mocap.synthetic import procedural_motion, truth_positions
from mocap.types import Source, Trajectories3D


def make(frames, fps=29.97, seed=3):
    T = len(frames)
    positions = truth_positions(procedural_motion(T, fps, seed=seed, n_people=2), COCO_17).copy()
    positions[5:8, 0, 9] = np.nan
    positions[: T // 2, 1] = np.nan
    source = np.where(np.isfinite(positions).all(-1), Source.TRIANGULATED, Source.MISSING)
    source[10:12, 0, 3] = Source.LIFTED
    source[12:14, 0, 4] = Source.INTERPOLATED
    present = source > 0
    rng = np.random.default_rng(0)
    root = 0.01 * rng.normal(size=(*positions.shape, 3))
    return Trajectories3D(
        positions=positions,
        covariance=np.where(present[..., None, None], root @ np.swapaxes(root, -1, -2) + 1e-6 * np.eye(3), np.nan),
        source=source,
        reprojection_error=np.where(source == 1, rng.uniform(0.5, 3, source.shape), np.nan),
        consistency=np.where(source == 1, 0.01, np.nan),
        views_used=np.where(source == 1, 7, 0),
        person_ids=[4, 7],
        frames=frames,
        joint_names=COCO_17.joints,
        fps=fps,
    )


@pytest.fixture(scope="session")
def make_take():
    return make


@pytest.fixture(scope="session")
def take():
    return make(np.arange(100, 160))


@pytest.fixture(scope="session")
def motion(take):
    return solve_motion(take, SolveSettings())
