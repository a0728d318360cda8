"""Calibration error after gauge alignment: by construction, and invariant to the world."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration.camera import CameraRig
from mocap.errors import DataError
from mocap.metrics import rig_error
from mocap.synthetic import ring_rig


def moved(rig, R, t, scale=1.0):
    """The same cameras in another world: x_new = scale R x + t."""
    cameras = []
    for c in rig.cameras:
        turn = c.R @ R.T
        cameras.append(replace(c, R=turn, t=scale * c.t - turn @ t))
    return CameraRig(tuple(cameras))


@pytest.fixture(scope="module")
def rig():
    return ring_rig(5, seed=3)


def test_another_world_is_no_error(rig):
    other = moved(rig, Rotation.random(random_state=1).as_matrix(), np.array([3.0, -2, 7]))
    error = rig_error(other, rig)
    assert error.rotation.max() < 1e-7
    assert error.centre.max() < 1e-9
    assert error.focal.max() == 0
    assert error.scale == 1


def test_scale_is_an_error_unless_it_is_fitted(rig):
    other = moved(rig, Rotation.random(random_state=2).as_matrix(), np.ones(3), scale=2.5)
    assert rig_error(other, rig).centre.mean() > 1
    fitted = rig_error(other, rig, fit_scale=True)
    assert fitted.scale == pytest.approx(2.5)
    assert fitted.centre.max() < 1e-9


def test_one_turned_and_one_moved_camera_by_hand(rig):
    """A small error of one of V cameras shows as (V - 1) / V there and 1 / V elsewhere: the gauge takes its share."""
    turn = Rotation.from_rotvec([0, 0, 0.01]).as_matrix()
    c = rig.cameras[2]
    centre = -c.R.T @ c.t
    bad = replace(c, R=turn @ c.R, t=-turn @ c.R @ centre)
    error = rig_error(CameraRig((*rig.cameras[:2], bad, *rig.cameras[3:])), rig)
    assert error.rotation[2] == pytest.approx(0.01 * 4 / 5, rel=0.01)
    assert error.rotation[0] == pytest.approx(0.01 / 5, rel=0.01)
    bad = replace(c, t=c.t + [0.05, 0, 0])
    error = rig_error(CameraRig((*rig.cameras[:2], bad, *rig.cameras[3:])), rig)
    assert error.rotation.max() < 1e-7
    assert error.centre == pytest.approx([0.01, 0.01, 0.04, 0.01, 0.01])


def test_names_pair_cameras_and_missing_ones_are_named(rig):
    shuffled = CameraRig(rig.cameras[::-1])
    assert rig_error(shuffled, rig).centre.max() < 1e-12
    with pytest.raises(DataError, match="no cam_4"):
        rig_error(CameraRig(rig.cameras[:4]), rig)
