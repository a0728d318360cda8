"""Synthetic takes with known truth, shared by the triangulation tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from calibration.camera import CameraRig
from mocap.skeleton import H36M_17
from mocap.synthetic.motion import procedural_motion, truth_positions
from mocap.synthetic.noise import NoiseSettings, Observation, observe_labelled
from mocap.synthetic.rig import ring_rig
from mocap.types import Keypoints2D, Matches

QUIET = NoiseSettings(
    sigma_px=2.0, sigma_spread=0.0, outlier_rate=0.0, miss_rate=0.0, person_miss_rate=0.0, shuffle=False
)


@dataclass(frozen=True)
class Take:
    """A recording of one person whose truth is known: truth [T, 1, 17, 3] m."""

    rig: CameraRig
    truth: np.ndarray
    observation: Observation
    matches: Matches


def as_matches(keypoints: Keypoints2D) -> Matches:
    """Slot p is person p in every view and frame."""
    V, T, P, J = keypoints.confidence.shape
    slot = np.broadcast_to(np.arange(P), (V, T, P))
    return Matches(
        keypoints=keypoints.keypoints, confidence=keypoints.confidence, uncertainty=keypoints.uncertainty,
        observation=slot[..., None] * J + np.arange(J), slot=slot, score=np.full(slot.shape, np.nan),
        runner_up=np.full(slot.shape, np.nan), person_ids=np.arange(P), frames=keypoints.frames,
        cameras=keypoints.cameras, joint_names=keypoints.joint_names, fps=keypoints.fps,
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_take() -> Callable[..., Take]:
    def make(noise: NoiseSettings = QUIET, frames: int = 200, cameras: int = 4, seed: int = 5) -> Take:
        rig = ring_rig(cameras, seed=seed)
        truth = truth_positions(procedural_motion(frames, 30.0, seed))
        observation = observe_labelled(truth, rig, noise, seed, joint_names=H36M_17.joints)
        return Take(rig, truth, observation, as_matches(observation.keypoints))

    return make
