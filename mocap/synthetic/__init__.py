"""Synthetic scenes with exact truth: rigs, people, motion, keypoints, videos.

The one home of made-up data: the demo, the tests and the benchmarks of every part use it.
Rendering (`mocap.synthetic.render`) needs Open3D and is imported where it is used.
"""

from __future__ import annotations

from mocap.synthetic.body import Body
from mocap.synthetic.capture import Capture, write_capture, write_truth
from mocap.synthetic.channels import MotionKind
from mocap.synthetic.clocks import CameraClock, CameraView, SceneCurve, film, random_clocks
from mocap.synthetic.motion import Motion, named_positions, procedural_motion, truth_positions
from mocap.synthetic.noise import (
    PERFECT,
    NoiseSettings,
    Observation,
    observe,
    observe_labelled,
    observe_pixels,
)
from mocap.synthetic.occlusion import hidden_joints
from mocap.synthetic.retarget import MeasuredBody, motion_from_joints, read_recording
from mocap.synthetic.rig import ring_rig
from mocap.synthetic.scene import Scene, make_scene
from mocap.synthetic.studio import StudioSettings, StudioTake, make_take
from mocap.viewer.view import look_at

__all__ = [
    "PERFECT",
    "Body",
    "CameraClock",
    "CameraView",
    "Capture",
    "MeasuredBody",
    "Motion",
    "MotionKind",
    "NoiseSettings",
    "Observation",
    "Scene",
    "SceneCurve",
    "StudioSettings",
    "StudioTake",
    "film",
    "hidden_joints",
    "look_at",
    "make_scene",
    "make_take",
    "motion_from_joints",
    "named_positions",
    "observe",
    "observe_labelled",
    "observe_pixels",
    "procedural_motion",
    "random_clocks",
    "read_recording",
    "ring_rig",
    "truth_positions",
    "write_capture",
    "write_truth",
]
