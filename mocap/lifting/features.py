"""The network's input as tensors; see `mocap.lifting.normalise`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mocap.lifting.normalise import BONES, CONDITION, JOINTS, normalise

__all__ = ["BONES", "CONDITION", "JOINTS", "WindowInput", "window_input"]


@dataclass(frozen=True)
class WindowInput:
    """What the network takes: the attributes of `NormalWindows`."""

    tokens: Tensor
    condition: Tensor
    camera_from_virtual: Tensor
    size: Tensor


def window_input(rays: Tensor, confidence: Tensor, bones: Tensor, bones_known: Tensor, ray_std: Tensor) -> WindowInput:
    """As `normalise`, on the tensors' device."""
    w = normalise(*(a.cpu().numpy() for a in (rays, confidence, bones, bones_known, ray_std)))
    arrays = (w.tokens, w.condition, w.camera_from_virtual, w.size)
    return WindowInput(*(torch.from_numpy(a).to(rays.device) for a in arrays))
