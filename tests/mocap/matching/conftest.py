"""Synthetic crowds with known identities, shared by the matching tests."""

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

FAIR = NoiseSettings(sigma_px=3.0, outlier_rate=0.02, miss_rate=0.03, person_miss_rate=0.02)


@dataclass(frozen=True)
class Crowd:
    """People whose identities are known: truth [T, P, J, 3] m."""

    rig: CameraRig
    truth: np.ndarray
    observation: Observation

    @property
    def keypoints(self) -> Keypoints2D:
        return self.observation.keypoints

    def who(self, matches: Matches) -> np.ndarray:
        """True person [V, T, P] that each matched slot shows, -1 where nobody, -2 where no slot."""
        taken = np.take_along_axis(self.observation.person, np.maximum(matches.slot, 0).astype(int), axis=2)
        return np.where(matches.slot >= 0, taken, -2)


@pytest.fixture(scope="session")
def make_crowd() -> Callable[..., Crowd]:
    def make(
        people: int = 2, noise: NoiseSettings = FAIR, frames: int = 150, cameras: int = 5, seed: int = 3,
        change: Callable[[np.ndarray], np.ndarray] = lambda truth: truth,
    ) -> Crowd:  # fmt: skip
        rig = ring_rig(cameras, seed=seed)
        truth = change(truth_positions(procedural_motion(frames, 30.0, seed, n_people=people)))
        return Crowd(rig, truth, observe_labelled(truth, rig, noise, seed, joint_names=H36M_17.joints))

    return make
