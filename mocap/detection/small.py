"""A small network for crops, for training on a machine without a GPU and for tests of the training.

An hourglass of four resolutions after A. Newell et al., Stacked Hourglass Networks (ECCV 2016), with dropout
at the bottom, so that its doubt can be sampled (Y. Gal, Z. Ghahramani, ICML 2016).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

SMALL_CROP = (96, 128)
_WIDTHS = (32, 48, 64, 96)


class SmallPose(nn.Module):
    """Crops [n, 3, H, W] (H and W multiples of 32) to heatmaps [n, joints, H/4, W/4].

    Parameters
    ----------
    joints : int
    dropout : float
        Share of the channels at the lowest resolution that training leaves out.
    """

    def __init__(self, joints: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.stem = nn.Sequential(_unit(3, _WIDTHS[0] // 2, 2), _unit(_WIDTHS[0] // 2, _WIDTHS[0], 2))
        self.down = nn.ModuleList([_unit(a, b, 2) for a, b in zip(_WIDTHS[:-1], _WIDTHS[1:], strict=True)])
        self.bottom = nn.Sequential(_unit(_WIDTHS[-1], _WIDTHS[-1]), nn.Dropout2d(dropout))
        self.across = nn.ModuleList([_unit(w, w) for w in _WIDTHS[:-1]])
        self.up = nn.ModuleList([nn.Conv2d(b, a, 1) for a, b in zip(_WIDTHS[:-1], _WIDTHS[1:], strict=True)])
        self.last = nn.Sequential(_unit(_WIDTHS[0], _WIDTHS[0]), nn.Conv2d(_WIDTHS[0], joints, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Heatmaps."""
        levels = [self.stem(images)]
        for step in self.down:
            levels.append(step(levels[-1]))
        x = self.bottom(levels[-1])
        for k in range(len(self.up) - 1, -1, -1):
            larger = functional.interpolate(self.up[k](x), scale_factor=2.0, mode="nearest")
            x = self.across[k](levels[k]) + larger
        return self.last(x)


def _unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
