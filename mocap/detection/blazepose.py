"""BlazePose: a person finder and a landmark network on aligned crops.

Source: V. Bazarevsky et al., "BlazePose: On-device Real-time Body Pose Tracking" (2020); the
published networks `pose_detection` and `pose_landmark_full`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mocap.detection import regions as rg
from mocap.detection import ssd
from mocap.detection.acceleration import to_device
from mocap.detection.poses import Poses
from mocap.detection.tflite_graph import read_graph
from mocap.detection.tflite_torch import TFLiteNetwork
from mocap.models import BLAZEPOSE_DETECTOR, BLAZEPOSE_LANDMARKS
from mocap.skeleton import BLAZEPOSE_33, Skeleton

Floats = NDArray[np.float64]

CROP_SIZE = 256
_HEATMAP_SIZE = 64
_LANDMARKS = 39
_JOINTS = 33
_BOX_OVERLAP = 0.3
_MARGIN = 1.25
_REFINE_REACH = 3
_REFINE_MIN = 0.5
# Where the networks put the centre of the top-left pixel. Measured: on a crop and its mirror image
# the landmarks add up to 256 (so they count from the crop's edge), after refinement to 255.75.
_LANDMARK_ORIGIN = 0.5
_REFINED_ORIGIN = 0.375
# Variance of a clean heatmap peak, cells^2, and the error it goes with, crop px per axis: measured as
# the residual of four calibrated views of a real capture, which grows from the first to the second
# value as the peak drowns (2 px at flatness 0, 3 at 0.33, 8 at 0.6, 23 at 0.9).
_PEAK_VARIANCE = 1.12
_SIGMA_SHARP = 2.0
_SIGMA_FLAT = 30.0


class BlazePose:
    """The two networks with what goes in and comes out in raw-image pixels.

    Parameters
    ----------
    folder : Path
        Holds the two network files (`mocap.models.ensure`).
    device : torch.device
    refine : bool
        Sharpen joints with the heatmap.
    """

    skeleton: Skeleton = BLAZEPOSE_33
    crop_size: int = CROP_SIZE

    def __init__(self, folder: Path, device: torch.device, *, refine: bool = True) -> None:
        self.device, self.refine = device, refine
        finder = read_graph(folder / BLAZEPOSE_DETECTOR.name, ("Identity", "Identity_1"))
        landmarks = read_graph(folder / BLAZEPOSE_LANDMARKS.name, ("Identity", "Identity_1", "Identity_3"))
        self.finder: nn.Module = TFLiteNetwork(finder).eval().to(device)
        self.landmarks: nn.Module = TFLiteNetwork(landmarks).eval().to(device)
        self.anchors = ssd.anchors()

    @torch.inference_mode()
    def find(self, frame: NDArray[np.uint8], windows: Floats, min_score: float) -> tuple[Floats, Floats]:
        """People in the windows of an image.

        Parameters
        ----------
        frame : uint8 [H, W, 3]
            BGR.
        windows : float [n, 4]
            Regions to look in.
        min_score : float

        Returns
        -------
        regions : float64 [m, 4]
            For the landmark network, best first; one person may occur once per window.
        scores : float64 [m]
        """
        crops = np.stack([rg.crop(frame, w, ssd.INPUT_SIZE, fill=0) for w in windows])
        inputs = self._to_device(crops) / 127.5 - 1.0
        raw_boxes, raw_scores = (t.cpu().numpy() for t in self.finder(inputs))
        points, scores = ssd.decode(raw_boxes, raw_scores, self.anchors)
        found, found_scores = [], []
        for window, window_points, window_scores in zip(windows, points, scores, strict=True):
            good = window_scores >= min_score
            blended, blended_scores = ssd.blend(window_points[good], window_scores[good], _BOX_OVERLAP)
            affine = rg.image_from_crop(window, ssd.INPUT_SIZE)
            pixels = rg.apply(affine, (blended * ssd.INPUT_SIZE - 0.5).reshape(1, -1, 2)).reshape(-1, 6, 2)
            found.append(rg.from_alignment(pixels[:, 2], pixels[:, 3], _MARGIN))
            found_scores.append(blended_scores)
        regions, all_scores = np.concatenate(found), np.concatenate(found_scores)
        order = np.argsort(-all_scores, kind="stable")
        return regions[order], all_scores[order]

    @torch.inference_mode()
    def estimate(self, crops: NDArray[np.uint8], regions: Floats) -> Poses:
        """Landmarks in crops [n, 256, 256, 3] (BGR) that show the regions [n, 4]."""
        outputs = self.landmarks(self._to_device(crops) / 255.0)
        values, score, heatmaps = outputs[0].reshape(-1, _LANDMARKS, 5), outputs[1][:, 0], outputs[2]
        refined, flatness = _refine(values[..., :2], heatmaps)
        points = (refined if self.refine else values[..., :2]) - _LANDMARK_ORIGIN
        certain = torch.sigmoid(values[..., 3]) * torch.sigmoid(values[..., 4])
        pixels = rg.apply(rg.image_from_crop(regions, CROP_SIZE), points.cpu().double().numpy())
        flat = flatness[:, :_JOINTS].cpu().double().numpy()
        sigma = np.hypot(_SIGMA_SHARP, _SIGMA_FLAT * flat**3) * (regions[:, 2:3] / CROP_SIZE)
        return Poses(
            keypoints=pixels[:, :_JOINTS],
            confidence=certain.cpu().double().numpy()[:, :_JOINTS],
            uncertainty=sigma,
            score=score.cpu().double().numpy(),
            sharpness=1.0 - np.median(flat, axis=1),
            # Landmarks 33 and 34: mid-hip and the circle point, made for this.
            regions=rg.from_alignment(pixels[:, 33], pixels[:, 34], _MARGIN),
        )

    def _to_device(self, crops: NDArray[np.uint8]) -> torch.Tensor:
        return to_device(crops, self.device).flip(-1).float()


def _refine(points: torch.Tensor, heatmaps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Landmarks moved to the centre of mass of the heatmap round them.

    Parameters
    ----------
    points : float [n, L, 2]
        Crop px.
    heatmaps : float [n, 64, 64, L]
        Logits.

    Returns
    -------
    points : float [n, L, 2]
        Unchanged where the heatmap says little (maximum below 0.5).
    flatness : float [n, L]
        Share of the heatmap's mass that is spread evenly instead of in a peak, 0..1.
    """
    n, size, _, landmarks = heatmaps.shape
    cell = CROP_SIZE / size
    centre = torch.floor(points / cell).long()
    reach = torch.arange(-_REFINE_REACH, _REFINE_REACH + 1, device=points.device)
    columns, rows = centre[..., 0, None] + reach, centre[..., 1, None] + reach
    inside = ((rows >= 0) & (rows < size))[..., :, None] & ((columns >= 0) & (columns < size))[..., None, :]
    batch = torch.arange(n, device=points.device)[:, None, None, None]
    which = torch.arange(landmarks, device=points.device)[None, :, None, None]
    window = heatmaps[batch, rows.clamp(0, size - 1)[..., :, None], columns.clamp(0, size - 1)[..., None, :], which]
    mass = torch.sigmoid(window) * inside
    total = mass.sum((-2, -1)).clamp_min(1e-9)
    x = (mass.sum(-2) * columns).sum(-1) / total
    y = (mass.sum(-1) * rows).sum(-1) / total
    variance = (mass.sum(-2) * (columns - x[..., None]) ** 2).sum(-1) / total
    variance = variance + (mass.sum(-1) * (rows - y[..., None]) ** 2).sum(-1) / total
    sharp = mass.amax((-2, -1)) >= _REFINE_MIN
    centroid = torch.stack([x, y], -1) * cell + (_LANDMARK_ORIGIN - _REFINED_ORIGIN)
    refined = torch.where(sharp[..., None], centroid, points)
    even = (2 * _REFINE_REACH + 1) ** 2 / 12
    return refined, ((variance / 2 - _PEAK_VARIANCE) / (even - _PEAK_VARIANCE)).clamp(0, 1)
