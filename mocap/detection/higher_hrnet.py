"""HigherHRNet: HRNet with a second, finer set of heatmaps and a tag per joint that says whose it is.

Source: B. Cheng, B. Xiao, J. Wang, H. Shi, T. Huang, L. Zhang, "HigherHRNet: Scale-Aware Representation
Learning for Bottom-Up Human Pose Estimation" (CVPR 2020), section 3. Modules are named as in the
authors' published checkpoints, so that these load strictly.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from mocap.detection.hrnet import BasicBlock, HRNetBackbone

_BLOCKS = 4


class HigherHRNet(HRNetBackbone):
    """The bottom-up pose network.

    Parameters
    ----------
    width : int
        Channels of the branch of highest resolution: 32 or 48.
    joints : int

    Notes
    -----
    ``forward(images)`` takes float [N, 3, H, W] (RGB, normalised; H and W multiples of 32) and returns heatmaps
    and tags, both [N, joints, H/2, W/2].
    """

    def __init__(self, width: int, joints: int) -> None:
        super().__init__(width)
        self.joints = joints
        coarse = 2 * joints
        self.final_layers = nn.ModuleList([nn.Conv2d(width, coarse, 1), nn.Conv2d(width, joints, 1)])
        up = nn.Sequential(
            nn.ConvTranspose2d(width + coarse, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        blocks = [nn.Sequential(BasicBlock(width)) for _ in range(_BLOCKS)]
        self.deconv_layers = nn.ModuleList([nn.Sequential(up, *blocks)])

    def both(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heatmaps and tags [N, 2 joints, H/4, W/4], and the finer heatmaps [N, joints, H/2, W/2]: for training."""
        features = self.features(images)
        coarse = self.final_layers[0](features)
        fine = self.final_layers[1](self.deconv_layers[0](torch.cat([features, coarse], 1)))
        return coarse, fine

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heatmaps, the mean of both resolutions, and tags."""
        coarse, fine = self.both(images)
        larger = functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return (larger[:, : self.joints] + fine) / 2, larger[:, self.joints :]
