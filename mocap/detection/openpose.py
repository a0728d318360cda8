"""OpenPose's body network: heatmaps of joints, and part affinity fields that point along limbs.

Source: Z. Cao, T. Simon, S.-E. Wei, Y. Sheikh, "Realtime Multi-Person 2D Pose Estimation using Part
Affinity Fields" (CVPR 2017), section 2. Layers are named as in the published COCO-18 model, whose
PyTorch conversion is a state dict of these names.
"""

from __future__ import annotations

import torch
from torch import nn

from mocap.detection.part_affinity import LIMBS
from mocap.skeleton import OPENPOSE_18

STRIDE = 8
_STAGES = 6
_FEATURES = 128
_WIDTH = 128
_FIELDS = 2 * len(LIMBS.pairs)
_MAPS = len(OPENPOSE_18.joints) + 1  # the last is the background
# The first ten layers of VGG-19, then two of the authors': outputs; 0 halves the size.
_VGG = {
    "conv1_1": 64, "conv1_2": 64, "pool1": 0, "conv2_1": 128, "conv2_2": 128, "pool2": 0, "conv3_1": 256,
    "conv3_2": 256, "conv3_3": 256, "conv3_4": 256, "pool3": 0, "conv4_1": 512, "conv4_2": 512, "conv4_3_CPM": 256,
    "conv4_4_CPM": _FEATURES,
}  # fmt: skip


class OpenPose(nn.Module):
    """The body network of 18 joints.

    Notes
    -----
    ``forward(images)`` takes float [N, 3, H, W] (BGR, pixel / 256 - 0.5; H and W multiples of 8) and returns heatmaps
    [N, 18, H/8, W/8] and part affinity fields [N, 38, H/8, W/8] (x and y for each limb).
    """

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for name, outputs in _VGG.items():
            if outputs:
                self.add_module(name, nn.Conv2d(inputs, outputs, 3, padding=1))
                inputs = outputs
        for branch, outputs in ((1, _FIELDS), (2, _MAPS)):
            for k in range(1, 4):
                self.add_module(f"conv5_{k}_CPM_L{branch}", nn.Conv2d(_FEATURES, _WIDTH, 3, padding=1))
            self.add_module(f"conv5_4_CPM_L{branch}", nn.Conv2d(_WIDTH, 512, 1))
            self.add_module(f"conv5_5_CPM_L{branch}", nn.Conv2d(512, outputs, 1))
            for stage in range(2, _STAGES + 1):
                inputs = _FIELDS + _MAPS + _FEATURES
                for k in range(1, 6):
                    self.add_module(f"Mconv{k}_stage{stage}_L{branch}", nn.Conv2d(inputs, _WIDTH, 7, padding=3))
                    inputs = _WIDTH
                self.add_module(f"Mconv6_stage{stage}_L{branch}", nn.Conv2d(_WIDTH, _WIDTH, 1))
                self.add_module(f"Mconv7_stage{stage}_L{branch}", nn.Conv2d(_WIDTH, outputs, 1))

    def stages(self, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Heatmaps (background last) and fields of every stage: training looks at all of them."""
        x = images
        for name, outputs in _VGG.items():
            x = torch.relu(self.get_submodule(name)(x)) if outputs else nn.functional.max_pool2d(x, 2)
        names = [[f"conv5_{k}_CPM_L{branch}" for k in range(1, 6)] for branch in (1, 2)]
        fields, maps = (self._chain(chain, x) for chain in names)
        found = [(maps, fields)]
        for stage in range(2, _STAGES + 1):
            both = torch.cat([fields, maps, x], 1)
            names = [[f"Mconv{k}_stage{stage}_L{branch}" for k in range(1, 8)] for branch in (1, 2)]
            fields, maps = (self._chain(chain, both) for chain in names)
            found.append((maps, fields))
        return found

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Heatmaps and part affinity fields of the last stage."""
        maps, fields = self.stages(images)[-1]
        return maps[:, :-1], fields

    def _chain(self, names: list[str], x: torch.Tensor) -> torch.Tensor:
        """Convolutions with rectifiers between them."""
        for name in names[:-1]:
            x = torch.relu(self.get_submodule(name)(x))
        return self.get_submodule(names[-1])(x)
