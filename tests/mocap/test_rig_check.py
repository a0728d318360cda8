"""Cameras nudged after calibration are turned back; a detector's habits are not taken for a nudge."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.camera import CameraRig
from calibration.projection import Lenses, project
from calibration.refinement import RigCorrection
from calibration.synchronisation import CameraRefinement
from mocap.rig_check import check_rig
from mocap.skeleton import COCO_17
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, observe
from mocap.synthetic.rig import ring_rig
from mocap.types import Keypoints2D

TRUE = ring_rig(n_cameras=4, seed=4)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return truth_positions(procedural_motion(120, 30.0, seed=4), COCO_17)


def seen(truth: np.ndarray, bias_px: float) -> Keypoints2D:
    noise = NoiseSettings(sigma_px=3.0, bias_px=bias_px)
    return observe(truth, TRUE, noise, seed=4, joint_names=COCO_17.joints, fps=30.0)


def nudged(degrees: float) -> CameraRig:
    """The calibration of a rig whose second camera has been turned since."""
    turns = np.zeros((4, 3))
    turns[1] = np.radians(degrees) * np.array([0.6, -0.8, 0.0])
    return RigCorrection(-turns, turns, turns[:, 0], turns[:, 0]).apply(TRUE)


def misprojection(rig: CameraRig, truth: np.ndarray) -> float:
    """RMS distance (px) between where the cameras really see the person and where the rig says."""
    flat = truth.reshape(-1, 3)
    difference = project(Lenses.of(rig), flat) - project(Lenses.of(TRUE), flat)
    return float(np.sqrt((difference**2).sum(-1).mean()))


def test_a_nudged_camera_is_turned_back(truth):
    calibrated = nudged(1.5)
    correction = check_rig(seen(truth, 2.0), calibrated, CameraRefinement.AUTO)
    assert correction.rotation.any()
    assert misprojection(correction.apply(calibrated), truth) < 0.5 * misprojection(calibrated, truth)


@pytest.mark.parametrize("bias_px", [0.0, 2.0, 4.0])
def test_a_good_rig_is_not_touched(truth, bias_px):
    assert not check_rig(seen(truth, bias_px), TRUE, CameraRefinement.AUTO).rotation.any()


def test_off_means_off_and_nobody_is_no_evidence(truth):
    assert not check_rig(seen(truth, 0.0), nudged(1.5), CameraRefinement.OFF).rotation.any()
    shape = (4, 30, 1, 17)
    nobody = Keypoints2D(
        np.full((*shape, 2), np.nan), np.zeros(shape), np.full(shape, np.nan), np.arange(30), TRUE.names,
        COCO_17.joints, 30.0,
    )  # fmt: skip
    assert not check_rig(nobody, TRUE, CameraRefinement.ON).rotation.any()
