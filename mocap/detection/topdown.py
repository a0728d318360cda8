"""Top-down pose networks: one upright crop per person, points in it, back to raw-image pixels.

The person finder is BlazePose's; afterwards each person's crop follows from the joints of the frame
before (`mocap.detection.tracking`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mocap.detection import regions as rg
from mocap.detection.poses import Poses
from mocap.skeleton import Skeleton

Floats = NDArray[np.float64]

# As in the networks' training: box 3 wide by 4 high, 1.25 times the person's. Joints span less than the
# person: the crown of the head and the soles lie outside, about a tenth of the height together.
_ASPECT = 3 / 4
_BOX_MARGIN = 1.25
_BODY_OVER_JOINTS = 1.1
_SEEN = 0.2
_FEWEST_SEEN = 3
_UPPER_QUARTILE = 0.75


@dataclass(frozen=True, eq=False)
class CropPoints:
    """Joints in n crops.

    Attributes
    ----------
    points : float [n, J, 2]
        Crop px, centre of the first pixel (0, 0).
    confidence : float [n, J]
        0..1.
    sigma : float [n, J]
        Standard deviation per axis, crop px.
    """

    points: torch.Tensor
    confidence: torch.Tensor
    sigma: torch.Tensor


class CropNetwork(Protocol):
    """A network for upright crops of one size."""

    skeleton: Skeleton
    crop_size: tuple[int, int]
    """Width and height, px."""

    def __call__(self, images: NDArray[np.uint8]) -> CropPoints:
        """Joints in crops [n, height, width, 3], RGB."""


class Finder(Protocol):
    """What finds people in windows of an image; see `mocap.detection.poses.RegionNetwork.find`."""

    def find(self, frame: NDArray[np.uint8], windows: Floats, min_score: float) -> tuple[Floats, Floats]:
        """Regions [m, 4] and scores [m] of the people in windows [n, 4]."""


class TopDown:
    """A `RegionNetwork` from a person finder and a network for crops.

    Regions are upright squares of the crop's height; the crop is the middle of it.
    """

    def __init__(self, finder: Finder, network: CropNetwork) -> None:
        self.finder, self.network = finder, network
        self.skeleton, self.crop_size = network.skeleton, network.crop_size[1]

    def find(self, frame: NDArray[np.uint8], windows: Floats, min_score: float) -> tuple[Floats, Floats]:
        """People in windows of an image; see `RegionNetwork.find`."""
        regions, scores = self.finder.find(frame, windows, min_score)
        upright = regions.copy()
        upright[:, 3] = 0.0
        return upright, scores

    @torch.inference_mode()
    def estimate(self, crops: NDArray[np.uint8], regions: Floats) -> Poses:
        """Poses in square BGR crops [n, S, S, 3] that show the regions [n, 4]."""
        width, height = self.network.crop_size
        left = (height - width) // 2
        found = self.network(np.ascontiguousarray(crops[:, :, left : left + width, ::-1]))
        points = found.points.double().cpu().numpy() + np.array([left, 0.0])
        confidence = found.confidence.double().clamp(0, 1).cpu().numpy()
        pixels = rg.apply(rg.image_from_crop(regions, height), points)
        scale = regions[:, 2:3] / height
        return Poses(
            keypoints=pixels,
            confidence=confidence,
            uncertainty=found.sigma.double().cpu().numpy() * scale,
            score=_best_half(confidence),
            sharpness=np.quantile(confidence, _UPPER_QUARTILE, axis=1),
            regions=following_regions(pixels, confidence, regions),
        )


def _best_half(confidence: Floats) -> Floats:
    """Mean of the better half of the joints: half a person in the picture is a person."""
    ordered = np.sort(confidence, axis=1)
    return ordered[:, ordered.shape[1] // 2 :].mean(1)


def following_regions(keypoints: Floats, confidence: Floats, regions: Floats) -> Floats:
    """Upright squares [n, 4] round the joints that were seen; NaN where too few were.

    Parameters
    ----------
    keypoints : float [n, J, 2]
        Raw-image px.
    confidence : float [n, J]
    regions : float [n, 4]
        The regions they were found in.
    """
    seen = (confidence >= _SEEN)[..., None]
    low = np.where(seen, keypoints, np.inf).min(1)
    high = np.where(seen, keypoints, -np.inf).max(1)
    enough = seen.sum((1, 2)) >= _FEWEST_SEEN
    low, high = np.where(enough[:, None], low, 0.0), np.where(enough[:, None], high, 0.0)
    extent = (high - low) * _BODY_OVER_JOINTS
    # Somebody half outside the picture must not shrink the crop from frame to frame.
    size = np.maximum(np.maximum(extent[:, 1], extent[:, 0] / _ASPECT) * _BOX_MARGIN, regions[:, 2] / 2)
    following = np.column_stack([(low + high) / 2, size, np.zeros(len(size))])
    return np.where(enough[:, None], following, np.nan)
