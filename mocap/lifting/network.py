"""The networks that lift: a strided temporal convolution, and the Martinez baseline.

Both read a `WindowInput` and predict the middle frame in the axes of the virtual camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mocap.lifting.features import CONDITION, JOINTS, WindowInput
from mocap.lifting.inference import PER_JOINT, TYPICAL_SIZE
from mocap.lifting.normalise import NormalWindows
from mocap.lifting.settings import Architecture, NetworkSettings
from mocap.lifting.weights import Member, Weights


@dataclass(frozen=True)
class Lifted:
    """A prediction.

    Attributes
    ----------
    positions : float32 [B, 17, 3]
        Metres, relative to the pelvis, in the virtual camera's axes.
    log_std : float32 [B, 17, 2]
        Natural logarithm of the standard deviation (m) per axis, across and along the view.
    """

    positions: Tensor
    log_std: Tensor


class _Block(nn.Module):
    """Joins `stride` neighbours into one and adds a residual branch (Pavllo et al. 2019, fig. 2)."""

    def __init__(self, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.stride = stride
        self.join = nn.Linear(width * stride, width, bias=False)
        self.join_norm = nn.BatchNorm1d(width)
        self.mix = nn.Linear(width, width, bias=False)
        self.mix_norm = nn.BatchNorm1d(width)
        self.condition = nn.Linear(CONDITION, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        batch, frames, width = x.shape
        groups = x.reshape(batch, frames // self.stride, self.stride * width)
        kept = x[:, self.stride // 2 :: self.stride]
        y = self.join(groups) + self.condition(condition)[:, None]
        y = self.dropout(functional.relu(self.join_norm(y.flatten(0, 1))))
        y = self.dropout(functional.relu(self.mix_norm(self.mix(y))))
        return kept + y.reshape(kept.shape)


class LiftNet(nn.Module):
    """Lifts a window of `settings.window` frames.

    TEMPORAL: 27 frames are joined 3 by 3 until one remains, to which the middle frame's own
    keypoints are added once more. MARTINEZ: the middle frame alone through residual blocks of two
    linear layers (Martinez et al. 2017). Both learn where a visible joint lies across the view as
    a gated multiple of its 2D point plus an offset, so that scale has to be learnt once and not
    per joint.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        width, dropout = settings.width, settings.dropout
        temporal = settings.architecture is Architecture.TEMPORAL
        self.joins = 3 if temporal else 0
        if temporal:
            self.expand = nn.Linear(3 * 3 * JOINTS, width, bias=False)
            self.expand_norm = nn.BatchNorm1d(width)
            self.temporal = nn.ModuleList(_Block(width, 3, dropout) for _ in range(2))
        self.middle = nn.Linear(3 * JOINTS + CONDITION, width, bias=False)
        self.middle_norm = nn.BatchNorm1d(width)
        self.blocks = nn.ModuleList(_Block(width, 1, dropout) for _ in range(settings.blocks))
        self.head = nn.Linear(width, PER_JOINT * JOINTS + 1)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, window: WindowInput) -> Lifted:
        """Predict the middle frame."""
        tokens, condition = window.tokens, window.condition
        batch, frames = tokens.shape[:2]
        now = tokens[:, frames // 2]
        y = self.middle(torch.cat([now, condition], -1))
        if self.joins:
            x = self.expand(tokens.reshape(batch * frames // 3, -1))
            x = self.dropout(functional.relu(self.expand_norm(x))).reshape(batch, frames // 3, -1)
            for block in self.temporal:
                x = block(x, condition)
            y = y + x[:, 0]
        x = self.dropout(functional.relu(self.middle_norm(y)))[:, None]
        for block in self.blocks:
            x = block(x, condition)
        return _decode(self.head(x[:, 0]).float(), now.float(), window.size)


def _decode(raw: Tensor, now: Tensor, person: Tensor) -> Lifted:
    joints = raw[:, 1:].reshape(-1, JOINTS, PER_JOINT)
    size = TYPICAL_SIZE * torch.exp(raw[:, 0].clamp(-2, 2))[:, None, None]
    flat = now.reshape(-1, JOINTS, 3)[..., :2]
    gate = torch.sigmoid(joints[..., 5:] + 2)
    across = size * gate * flat + joints[..., :2]
    positions = torch.cat([across, joints[..., 2:3]], -1)
    log_std = joints[..., 3:5].clamp(-4, 4) - 3
    person = person[:, None, None]
    return Lifted(person * (positions - positions[:, :1]), log_std + torch.log(person))


class OnDevice:
    """A trained network on another device than the CPU: in and out as `mocap.lifting.inference.FoldedNet`."""

    def __init__(self, member: Member, device: torch.device) -> None:
        self.device, self.net = device, load(member).to(device)

    def __call__(self, window: NormalWindows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Positions [B, 17, 3] m in virtual axes, and log standard deviations [B, 17, 2] of the middle frame."""
        arrays = (window.tokens, window.condition, window.camera_from_virtual, window.size)
        with torch.inference_mode():
            lifted = self.net(WindowInput(*(torch.from_numpy(a).to(self.device) for a in arrays)))
        return lifted.positions.cpu().numpy(), lifted.log_std.cpu().numpy()


def load(weights: Member | Weights) -> LiftNet:
    """A network of a weights file (the first one), for use."""
    net = LiftNet(weights.network)
    net.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in weights.arrays.items()})
    return net.eval()
