"""Scenes whose rotations, lengths and contacts are known."""

import numpy as np
import pytest

from mocap.filtering import FilterSettings, filter_trajectories
from mocap.matching import match_people
from mocap.skeleton import HALPE_26
from mocap.synthetic import NoiseSettings, observe, procedural_motion, ring_rig, truth_positions
from mocap.triangulation import triangulate
from mocap.types import Trajectories3D

FPS = 30.0
# The noise of a good detector in a studio: as ../shared/bench/geometry calls it, measured there.
STUDIO = NoiseSettings(sigma_px=2.7, outlier_rate=0.03, miss_rate=0.08)


def _exact(positions, joint_names, fps=FPS, std=0.003):
    """Trajectories of given positions [T, P, J, 3], NaN where not seen."""
    present = np.isfinite(positions).all(-1)
    blank = np.where(present, 1.0, np.nan)
    T, P, _ = present.shape
    return Trajectories3D(
        positions=positions, covariance=np.where(present[..., None, None], std**2 * np.eye(3), np.nan),
        source=present.astype(np.uint8), reprojection_error=blank, consistency=blank,
        views_used=np.zeros(present.shape), person_ids=np.arange(P), frames=np.arange(T), joint_names=joint_names,
        fps=fps,
    )  # fmt: skip


@pytest.fixture(scope="session")
def exact():
    """Makes trajectories of given positions [T, P, J, 3], NaN where not seen."""
    return _exact


@pytest.fixture(scope="session")
def studio():
    """Motion and its trajectories at the studio's noise, triangulated and filtered."""
    motion = procedural_motion(300, FPS, seed=31)
    rig = ring_rig(4, seed=32)
    truth = truth_positions(motion, HALPE_26)
    keypoints = observe(truth, rig, STUDIO, seed=33, joint_names=HALPE_26.joints, fps=FPS)
    found = filter_trajectories(triangulate(match_people(keypoints, rig), rig), FilterSettings())
    return motion, found
