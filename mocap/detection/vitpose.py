"""ViTPose from a folder as the transformers library writes and reads it.

Source: Y. Xu, J. Zhang, Q. Zhang, D. Tao, "ViTPose: Simple Vision Transformer Baselines for Human Pose
Estimation" (NeurIPS 2022); ViTPose++ (PAMI 2024) has one expert per training set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from mocap.detection.transformers_folder import load_folder
from mocap.errors import WeightsError

_COCO = 0


class ViTPose(nn.Module):
    """Crops [n, 3, H, W] to heatmaps; for `mocap.detection.heatmap_pose.HeatmapPose`.

    Parameters
    ----------
    folder : Path
        config.json and model.safetensors. Nothing is fetched from anywhere.
    crop_size : (int, int)
        Width and height it has to take, px.
    joints : int
    add_command : str
        The command that puts the right folder in place, for messages.

    Raises
    ------
    DependencyError
        transformers is not installed.
    WeightsError
        Not a ViTPose folder, or weights of another network; their keys are named.
    """

    def __init__(self, folder: Path, crop_size: tuple[int, int], joints: int, *, add_command: str) -> None:
        super().__init__()
        self.network: nn.Module = load_folder("VitPoseForPoseEstimation", folder, add_command=add_command)
        config: Any = self.network.config
        found = (tuple(config.backbone_config.image_size)[::-1], config.num_labels)
        if found != (crop_size, joints):
            raise WeightsError(
                "the network is for other crops or joints", expected=f"{crop_size} px, {joints} joints",
                found=f"{found[0]} px, {found[1]} joints", where=str(folder), hint=add_command,
            )  # fmt: skip
        self._experts = config.backbone_config.num_experts > 1

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Heatmaps [n, J, H/4, W/4]."""
        which = torch.full((len(images),), _COCO, device=images.device) if self._experts else None
        return self.network(images, dataset_index=which).heatmaps
