"""ViTPose from a folder as the transformers library writes and reads it.

Source: Y. Xu, J. Zhang, Q. Zhang, D. Tao, "ViTPose: Simple Vision Transformer Baselines for Human Pose
Estimation" (NeurIPS 2022); ViTPose++ (PAMI 2024) has one expert per training set.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mocap.errors import DependencyError, WeightsError

_NAMED = 4
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
        self.network: nn.Module = _load(folder, add_command)
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


def _load(folder: Path, add_command: str) -> Any:
    try:
        from transformers import VitPoseForPoseEstimation
        from transformers.utils import logging
    except ImportError as error:
        raise DependencyError(
            "ViTPose needs transformers, which is not installed", found=str(error),
            hint="pip install 'mocap[transformers]'",
        ) from error  # fmt: skip
    with _quiet(logging):
        try:
            loaded: Any = VitPoseForPoseEstimation.from_pretrained(
                str(folder), local_files_only=True, output_loading_info=True, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise WeightsError(
                "not a ViTPose folder", expected="config.json and model.safetensors",
                found=str(error).splitlines()[0], where=str(folder), hint=add_command,
            ) from error  # fmt: skip
    network, info = loaded
    problems = {
        "missing": sorted(info["missing_keys"]),
        "unknown": sorted(info["unexpected_keys"]),
        "of another shape": sorted(str(k[0]) for k in info["mismatched_keys"]),
    }
    named = [f"{len(k)} {what}: {', '.join(k[:_NAMED])}" for what, k in problems.items() if k]
    if named:
        raise WeightsError(
            "the weights are of another network", expected="those that config.json describes",
            found="; ".join(named), where=str(folder), hint=add_command,
        )  # fmt: skip
    return network


@contextlib.contextmanager
def _quiet(logging):  # type: ignore[no-untyped-def]
    """No report of the library's own: ours says the same in one message."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
