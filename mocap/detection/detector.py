"""What every detector looks like to the rest of the product, and how one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mocap import models
from mocap.detection.poses import People
from mocap.detection.settings import DetectionSettings, DetectorName
from mocap.skeleton import SKELETONS, Skeleton

if TYPE_CHECKING:
    import torch


class Detector(Protocol):
    """Finds people in consecutive frames of one view."""

    skeleton: Skeleton
    """Joint set of the results."""

    def start(self, fps: float) -> None:
        """Begin another recording: forget everybody."""

    def detect(self, frames: NDArray[np.uint8]) -> People:
        """People in the next frames [n, H, W, 3] (BGR) of the recording; as many slots as `max_people`."""


def make_detector(settings: DetectionSettings, device: torch.device) -> Detector:
    """The detector that the settings name, with its networks on the device.

    Raises
    ------
    WeightsError
        The weights are missing and cannot be fetched.
    """
    folder = models.ensure(settings.detector.value)
    match settings.detector:
        case DetectorName.BLAZEPOSE:
            from mocap.detection.blazepose import BlazePose
            from mocap.detection.tracking import RegionTracker

            return RegionTracker(BlazePose(folder, device, refine=settings.refine), settings)


def joint_names(detector: DetectorName) -> tuple[str, ...]:
    """Names of the joints that a detector gives, without loading it."""
    return SKELETONS[models.entry(detector.value).skeleton].joints


def weights_digest(detector: DetectorName) -> str:
    """Digest of the detector's weights, for cache keys; needs no download."""
    return models.digest(detector.value)
