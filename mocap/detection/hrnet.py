"""HRNet: parallel branches from high to low resolution that exchange features again and again.

Source: K. Sun, B. Xiao, D. Liu, J. Wang, "Deep High-Resolution Representation Learning for Human Pose
Estimation" (CVPR 2019), section 3. Modules are named as in the authors' published checkpoints, so
that these load strictly.
"""

from __future__ import annotations

import torch
from torch import nn

_BRANCHES = 4
_BLOCKS = 4
_MODULES = {2: 1, 3: 4, 4: 3}
_STEM = 64
_BOTTLENECK_EXPANSION = 4


class HRNetBackbone(nn.Module):
    """The network up to its last layer.

    Parameters
    ----------
    width : int
        Channels of the branch of highest resolution: 32 or 48.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, _STEM, 3, 2), nn.BatchNorm2d(_STEM)
        self.conv2, self.bn2 = _conv(_STEM, _STEM, 3, 2), nn.BatchNorm2d(_STEM)
        self.relu = nn.ReLU(inplace=True)
        deep = _STEM * _BOTTLENECK_EXPANSION
        self.layer1 = nn.Sequential(_Bottleneck(_STEM, _STEM), *[_Bottleneck(deep, _STEM) for _ in range(_BLOCKS - 1)])
        widths = [width * 2**k for k in range(_BRANCHES)]
        self.transition1 = _transition([deep], widths[:2])
        self.stage2 = _stage(2, widths)
        self.transition2 = _transition(widths[:2], widths[:3])
        self.stage3 = _stage(3, widths)
        self.transition3 = _transition(widths[:3], widths)
        self.stage4 = _stage(4, widths)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Features [N, width, H/4, W/4] of images [N, 3, H, W]."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer1(self.relu(self.bn2(self.conv2(x))))
        branches = [x]
        for transition, stage in (
            (self.transition1, self.stage2), (self.transition2, self.stage3), (self.transition3, self.stage4),
        ):  # fmt: skip
            # A new branch starts from the lowest one there is.
            branches = [
                branches[min(k, len(branches) - 1)] if step is None else step(branches[min(k, len(branches) - 1)])
                for k, step in enumerate(transition)
            ]
            branches = stage(branches)
        return branches[0]


class HRNet(HRNetBackbone):
    """The pose network.

    Parameters
    ----------
    width : int
        Channels of the branch of highest resolution: 32 or 48.
    joints : int

    Notes
    -----
    ``forward(images)`` takes float [N, 3, H, W] (RGB, normalised; H and W multiples of 32) and returns
    heatmaps [N, joints, H/4, W/4].
    """

    def __init__(self, width: int, joints: int) -> None:
        super().__init__(width)
        self.final_layer = nn.Conv2d(width, joints, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Heatmaps [N, joints, H/4, W/4]."""
        return self.final_layer(self.features(images))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class _Bottleneck(nn.Module):
    """Residual block 1x1, 3x3, 1x1."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        outputs = width * _BOTTLENECK_EXPANSION
        self.conv1, self.bn1 = _conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        same = inputs == outputs
        self.downsample = None if same else nn.Sequential(_conv(inputs, outputs, 1), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class BasicBlock(nn.Module):
    """Residual block 3x3, 3x3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of the same shape."""
        return self.relu(x + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


def _transition(before: list[int], after: list[int]) -> nn.ModuleList:
    """Steps from the branches of one stage to those of the next; None leaves a branch as it is."""
    steps: list[nn.Module | None] = []
    for k, width in enumerate(after):
        if k >= len(before):
            steps.append(nn.Sequential(_unit(before[-1], width, 2)))
        elif before[k] != width:
            steps.append(_unit(before[k], width, 1))
        else:
            steps.append(None)
    return nn.ModuleList(steps)  # type: ignore[arg-type]


def _unit(inputs: int, outputs: int, stride: int, *, relu: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [_conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def _stage(branches: int, widths: list[int]) -> nn.Sequential:
    count = _MODULES[branches]
    # The heatmaps need the highest resolution alone: the last module gives only that.
    outputs = [1 if branches == _BRANCHES and k == count - 1 else branches for k in range(count)]
    return nn.Sequential(*[_Exchange(widths[:branches], n) for n in outputs])


class _Exchange(nn.Module):
    """Branches side by side, then each output the sum of all branches at its resolution."""

    def __init__(self, widths: list[int], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([nn.Sequential(*[BasicBlock(w) for _ in range(_BLOCKS)]) for w in widths])
        self.fuse_layers = nn.ModuleList(
            [nn.ModuleList([_fuse(widths, j, i) for j in range(len(widths))]) for i in range(outputs)]  # type: ignore[misc]
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, values: list[torch.Tensor]) -> list[torch.Tensor]:
        values = [branch(v) for branch, v in zip(self.branches, values, strict=True)]
        fused = []
        for row in self.fuse_layers:
            parts = [v if step is None else step(v) for step, v in zip(row, values, strict=True)]  # type: ignore[call-overload]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            fused.append(self.relu(total))
        return fused


def _fuse(widths: list[int], source: int, target: int) -> nn.Module | None:
    """From the resolution of one branch to that of another."""
    if source == target:
        return None
    if source > target:
        scale = float(2 ** (source - target))
        up = nn.Upsample(scale_factor=scale, mode="nearest")
        return nn.Sequential(_conv(widths[source], widths[target], 1), nn.BatchNorm2d(widths[target]), up)
    steps = target - source
    halvings = [_unit(widths[source], widths[source], 2) for _ in range(steps - 1)]
    return nn.Sequential(*halvings, _unit(widths[source], widths[target], 2, relu=False))
