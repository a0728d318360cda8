"""Keeping people in their slots from frame to frame, for networks that see whole pictures."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from mocap.detection.peaks import Assembled
from mocap.detection.poses import People
from mocap.detection.settings import DetectionSettings
from mocap.skeleton import Skeleton

Floats = NDArray[np.float64]

# COCO's per-joint fall-off relative to the root of the person's area, about half of the joints' box; doubled,
# because people move between frames.
_FALL_OFF = 2 * 0.16 * 0.53**0.5
_FEWEST_SHARED = 3
_SAME_PERSON = 0.1
_BEST_HALF = 2


class PictureNetwork(Protocol):
    """A network that finds all people in whole pictures."""

    skeleton: Skeleton

    def __call__(self, frames: NDArray[np.uint8]) -> Assembled:
        """People in BGR frames [n, H, W, 3]; points and sigma in raw-image px."""


class PictureDetector:
    """A `mocap.detection.detector.Detector` from a network that sees whole pictures.

    Parameters
    ----------
    network : PictureNetwork
    settings : DetectionSettings
    """

    def __init__(self, network: PictureNetwork, settings: DetectionSettings) -> None:
        self.network, self.settings, self.skeleton = network, settings, network.skeleton
        self.start(30.0)

    def start(self, fps: float) -> None:
        """Begin another recording: forget everybody."""
        slots, joints = self.settings.max_people, len(self.skeleton.joints)
        self._last = np.full((slots, joints, 2), np.nan)
        self._unseen = np.zeros(slots, int)
        self._memory = max(1, round(self.settings.search_interval_s * fps))

    def detect(self, frames: NDArray[np.uint8]) -> People:
        """People in the next frames [n, H, W, 3]."""
        found = self.network(frames)
        n, slots, joints = len(frames), self.settings.max_people, len(self.skeleton.joints)
        keypoints = np.full((n, slots, joints, 2), np.nan, np.float32)
        confidence = np.zeros((n, slots, joints), np.float32)
        uncertainty = np.full((n, slots, joints), np.nan, np.float32)
        good = _pose_score(found.score) >= self.settings.pose_score
        for t in range(n):
            who = np.flatnonzero(good[t])
            slot = self._assign(found.points[t, who])
            who, slot = who[slot >= 0], slot[slot >= 0]
            keypoints[t, slot], uncertainty[t, slot] = found.points[t, who], found.sigma[t, who]
            confidence[t, slot] = np.clip(found.score[t, who], 0, 1)
        return People(keypoints, confidence, uncertainty)

    def _assign(self, poses: Floats) -> NDArray[np.int64]:
        """A slot for each pose [m, J, 2], best first; -1 where none is left."""
        slot = np.full(len(poses), -1)
        alike = likeness(poses[:, None], self._last[None])
        for pose, mine in zip(*linear_sum_assignment(-alike), strict=True):
            if alike[pose, mine] > _SAME_PERSON:
                slot[pose] = mine
        self._unseen += 1
        self._last[self._unseen > self._memory] = np.nan
        taken = set(slot.tolist())
        # A slot nobody had comes before one whose person may return.
        free = [int(s) for s in np.argsort(-self._unseen, kind="stable") if int(s) not in taken]
        never = np.isnan(self._last).all((1, 2))
        free.sort(key=lambda s: (not never[s], s if never[s] else -self._unseen[s]))
        for pose in np.flatnonzero(slot < 0):
            if free:
                slot[pose] = free.pop(0)
        held = slot >= 0
        self._last[slot[held]], self._unseen[slot[held]] = poses[held], 0
        return slot


def _pose_score(score: Floats) -> Floats:
    """Mean of the better half of the joints: half a person in the picture is a person; [..., J] to [...]."""
    ordered = np.sort(score, axis=-1)
    return ordered[..., ordered.shape[-1] // _BEST_HALF :].mean(-1)


def likeness(a: Floats, b: Floats) -> Floats:
    """Object keypoint similarity over the joints that both have, 0..1; 0 where these are fewer than three.

    Parameters
    ----------
    a, b : float [..., J, 2]
        NaN where not seen.
    """
    both = np.isfinite(a).all(-1) & np.isfinite(b).all(-1)
    enough = both.sum(-1) >= _FEWEST_SHARED
    squared = np.where(both, np.nan_to_num((a - b) ** 2).sum(-1), 0.0)
    shown = np.isfinite(b).all(-1, keepdims=True)
    low, high = np.where(shown, b, np.inf).min(-2), np.where(shown, b, -np.inf).max(-2)
    area = np.where(enough, np.nan_to_num(high - low, posinf=0, neginf=0).prod(-1), 1.0)
    scale = 2 * _FALL_OFF**2 * np.maximum(area, 1.0)
    similar = np.where(both, np.exp(-squared / scale[..., None]), 0.0).sum(-1)
    return np.where(enough, similar / np.maximum(both.sum(-1), 1), 0.0)
