"""Crops to joints with a network that draws one heatmap per joint (HRNet and its kin)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mocap.detection.acceleration import to_device
from mocap.detection.decoders import DecoderSettings
from mocap.detection.heatmaps import decode_heatmaps
from mocap.detection.topdown import CropPoints
from mocap.skeleton import COCO_17, Skeleton

# ImageNet's mean and standard deviation (RGB, 0..1), which all of these networks were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Least peak error told, as a share of the trained peak: labels are not finer.
_LEAST_SIGMA = 0.25


class HeatmapPose:
    """A `CropNetwork` round a torch module that takes [n, 3, H, W] and gives heatmaps [n, J, h, w].

    Parameters
    ----------
    network : nn.Module
    device : torch.device
    crop_size : (int, int)
        Width and height, px.
    decoder : DecoderSettings
    flip : bool
        Average with the mirror image's heatmaps.
    unbiased : bool
        Where a cell lies in the crop. False: cell i at pixel stride * i (HRNet's training labels); True: first
        cell on the first pixel's centre and last on last ("unbiased data processing", J. Huang et al., CVPR 2020).
    skeleton : Skeleton
    """

    def __init__(
        self, network: nn.Module, device: torch.device, crop_size: tuple[int, int], decoder: DecoderSettings, *,
        flip: bool = True, unbiased: bool = False, skeleton: Skeleton = COCO_17,
    ) -> None:  # fmt: skip
        self.network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.crop_size, self.decoder = device, crop_size, decoder
        self.flip, self.unbiased, self.skeleton = flip, unbiased, skeleton
        self._mean = torch.tensor(IMAGENET_MEAN, device=device).reshape(1, 3, 1, 1)
        self._std = torch.tensor(IMAGENET_STD, device=device).reshape(1, 3, 1, 1)
        self._mirror = torch.from_numpy(np.array(skeleton.mirror)).to(device)

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> CropPoints:
        """Joints in crops [n, H, W, 3], RGB."""
        values = to_device(images, self.device).permute(0, 3, 1, 2).float() / 255
        values = (values - self._mean) / self._std
        heatmaps = self._heatmaps(values)
        cells = torch.tensor([heatmaps.shape[-1], heatmaps.shape[-2]], device=self.device, dtype=torch.float32)
        size = torch.tensor(self.crop_size, device=self.device, dtype=torch.float32)
        stride = (size - 1) / (cells - 1) if self.unbiased else size / cells
        peaks = decode_heatmaps(heatmaps, self.decoder)
        points = peaks.points.clone()
        if self.flip and not self.unbiased:
            points[..., 0] -= self._flip_shift(stride)
        # The network was trained to draw peaks of this width: what is wider is doubt.
        trained = self.decoder.peak_sigma**2
        variance = (peaks.covariance.diagonal(dim1=-2, dim2=-1).mean(-1) - trained).clamp_min(0)
        sigma = (variance + _LEAST_SIGMA**2 * trained).sqrt() * stride.mean()
        return CropPoints(points * stride, peaks.score, sigma)

    def _heatmaps(self, values: torch.Tensor) -> torch.Tensor:
        """Heatmaps [n, J, h, w] of normalised crops, averaged over the mirror image where wanted."""
        if not self.flip:
            return self.network(values).float()
        both = self.network(torch.cat([values, values.flip(-1)]).contiguous(memory_format=torch.channels_last)).float()
        straight, mirrored = both.chunk(2)
        mirrored = mirrored.flip(-1)[:, self._mirror]
        if not self.unbiased:
            # Cells at stride * i are not symmetric: mirrored, each lies (stride - 1) / stride of a cell further left.
            mirrored = torch.cat([mirrored[..., :1], mirrored[..., :-1]], -1)
        return (straight + mirrored) / 2

    @staticmethod
    def _flip_shift(stride: torch.Tensor) -> torch.Tensor:
        """What remains of the mirror image's shift, halved by averaging, in cells."""
        return (1 - (stride[0] - 1) / stride[0]) / 2
