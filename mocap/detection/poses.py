"""What a network that sees one person at a time gives, what the tracker asks of it, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mocap.skeleton import Skeleton

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Poses:
    """People in n crops.

    Attributes
    ----------
    keypoints : float64 [n, J, 2]
        Raw-image px.
    confidence : float64 [n, J]
        Probability that the joint is in the picture and visible.
    uncertainty : float64 [n, J]
        Standard deviation per axis, raw-image px.
    score : float64 [n]
        Probability that the crop holds a person.
    sharpness : float64 [n]
        How far the heatmaps are from flat, 0..1, median over the joints. The score alone is no use
        against phantoms: the network is sure of people it sees in a pair of shorts, but its heatmaps
        are flat there (below 0.45; on people above 0.6).
    regions : float64 [n, 4]
        Where to look for the same person next.
    """

    keypoints: Floats
    confidence: Floats
    uncertainty: Floats
    score: Floats
    sharpness: Floats
    regions: Floats


@dataclass(frozen=True)
class People:
    """People in n consecutive frames of one view.

    Attributes
    ----------
    keypoints : float32 [n, P, J, 2]
        Raw-image px; NaN where not seen. A person keeps the slot while tracked.
    confidence : float32 [n, P, J]
        0..1; 0 where not seen.
    uncertainty : float32 [n, P, J]
        Standard deviation per axis, px; NaN where unknown.
    """

    keypoints: NDArray[np.float32]
    confidence: NDArray[np.float32]
    uncertainty: NDArray[np.float32]


class RegionNetwork(Protocol):
    """A top-down network: finds people, and estimates a pose from a square crop round one."""

    skeleton: Skeleton
    crop_size: int

    def find(self, frame: NDArray[np.uint8], windows: Floats, min_score: float) -> tuple[Floats, Floats]:
        """Regions [m, 4] of people in the windows [n, 4] of a BGR image and their scores [m], best first."""

    def estimate(self, crops: NDArray[np.uint8], regions: Floats) -> Poses:
        """Poses in BGR crops [n, crop_size, crop_size, 3] that show the regions [n, 4] of the image."""
