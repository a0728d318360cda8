"""Joint sets, their spellings and the maps between them."""

from __future__ import annotations

import numpy as np
import pytest

from mocap.errors import DataError
from mocap.skeleton import BODY_25, COCO_17, H36M_17, LIMBS_12, SKELETONS, apply_joint_map, identify, joint_map


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=lambda s: s.name)
def test_a_skeleton_is_whole(skeleton):
    assert len(set(skeleton.joints)) == len(skeleton.joints)
    assert (skeleton.mirror[skeleton.mirror] == np.arange(len(skeleton.joints))).all()
    sided = [j for j in skeleton.joints if j.startswith(("l_", "r_"))]
    assert sorted(sided) == sorted(j for pair in skeleton.pairs for j in pair)
    assert skeleton.bone_index.shape == (len(skeleton.bones), 2)
    for a, b in LIMBS_12:
        assert a in skeleton.joints
        assert b in skeleton.joints


def test_other_spellings_are_known(shared):
    assert identify(["Nose", "LEye", "REye", "LEar", "REar", "LShoulder", "RShoulder", "LElbow", "RElbow", "LWrist",
                     "RWrist", "LHip", "RHip", "LKnee", "RKnee", "LAnkle", "RAnkle"]) is COCO_17  # fmt: skip
    names = np.load(shared / "bench/shelf/keypoints_body25.npz")["joint_names"]
    assert identify(names) is BODY_25


def test_unknown_joints_name_the_nearest_skeleton():
    names = list(COCO_17.joints)
    names[3] = "left_antenna"
    with pytest.raises(DataError, match="nearest to coco17"):
        identify(names)


@pytest.mark.parametrize("source", SKELETONS.values(), ids=lambda s: s.name)
@pytest.mark.parametrize("target", SKELETONS.values(), ids=lambda s: s.name)
def test_maps_keep_points_under_rigid_motion(source, target, rng):
    """Weighted means commute with rigid motion exactly because the weights sum to one."""
    points = rng.normal(size=(4, len(source.joints), 3))
    weights = joint_map(source, target)
    rows = ~np.isnan(weights).any(1)
    np.testing.assert_allclose(weights[rows].sum(1), 1)
    shifted = apply_joint_map(weights, points + [1.0, 2.0, 3.0])
    np.testing.assert_allclose(shifted[:, rows], apply_joint_map(weights, points)[:, rows] + [1, 2, 3], atol=1e-12)
    if source is target:
        np.testing.assert_array_equal(weights, np.eye(len(source.joints)))


def test_map_to_h36m_is_complete_and_loses_nan():
    weights = joint_map(COCO_17, H36M_17)
    assert np.isfinite(weights).all()
    points = np.zeros((17, 3))
    points[COCO_17.index("l_hip")] = np.nan
    mapped = apply_joint_map(weights, points)
    lost = {H36M_17.joints[i] for i in np.flatnonzero(np.isnan(mapped).any(1))}
    assert lost == {"pelvis", "l_hip", "spine"}
