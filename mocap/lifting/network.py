"""The networks that lift: a strided temporal convolution, and the Martinez baseline.

Both read a `WindowInput` and predict the middle frame in the axes of the virtual camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mocap.lifting.features import CONDITION, JOINTS, WindowInput
from mocap.lifting.settings import Architecture, NetworkSettings

_PER_JOINT = 6  # offset (3), log standard deviation across and along the view (2), gate of the 2D point
_TYPICAL_SIZE = 0.45  # metres per unit of the normalised coordinates


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
        self.head = nn.Linear(width, _PER_JOINT * JOINTS + 1)
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
    joints = raw[:, 1:].reshape(-1, JOINTS, _PER_JOINT)
    size = _TYPICAL_SIZE * torch.exp(raw[:, 0].clamp(-2, 2))[:, None, None]
    flat = now.reshape(-1, JOINTS, 3)[..., :2]
    gate = torch.sigmoid(joints[..., 5:] + 2)
    across = size * gate * flat + joints[..., :2]
    positions = torch.cat([across, joints[..., 2:3]], -1)
    log_std = joints[..., 3:5].clamp(-4, 4) - 3
    person = person[:, None, None]
    return Lifted(person * (positions - positions[:, :1]), log_std + torch.log(person))


class FoldedNet:
    """A trained LiftNet for use: batch normalisation is part of the layers, the conditions one product.

    The same function of its input to rounding; at batch 1 in half the time.
    """

    def __init__(self, net: LiftNet) -> None:
        with torch.no_grad():
            blocks = [*(net.temporal if net.joins else ()), *net.blocks]
            self.expand = _folded(net.expand, net.expand_norm) if net.joins else None
            self.middle, self.middle_scale = _folded(net.middle, net.middle_norm), _scale(net.middle_norm)
            joins = [_folded(b.join, b.join_norm) for b in blocks]
            self.layers = [
                (b.stride, join[0], *_folded(b.mix, b.mix_norm)) for b, join in zip(blocks, joins, strict=True)
            ]
            told = [_scale(b.join_norm)[:, None] * b.condition.weight for b in blocks]
            self.told = torch.cat(told) if blocks else torch.zeros(0, CONDITION)
            self.shift = torch.cat([bias for _, bias in joins]) if blocks else torch.zeros(0)
            self.head = net.head.weight.detach(), net.head.bias.detach()
            self.width, self.temporal = net.settings.width, len(net.temporal) if net.joins else 0

    def __call__(self, window: WindowInput) -> Lifted:
        """Predict the middle frame."""
        tokens, condition = window.tokens, window.condition
        batch, frames = tokens.shape[:2]
        now = tokens[:, frames // 2]
        told = functional.linear(condition, self.told, self.shift).split(self.width, -1)
        y = functional.linear(torch.cat([now, condition], -1), *self.middle)
        if self.expand is not None:
            x = functional.linear(tokens.reshape(batch, frames // 3, -1), *self.expand).relu_()
            for layer, extra in zip(self.layers[: self.temporal], told, strict=False):
                x = self._block(x, extra, *layer)
            y = y + x[:, 0] * self.middle_scale
        x = y.relu_()[:, None]
        for layer, extra in zip(self.layers[self.temporal :], told[self.temporal :], strict=True):
            x = self._block(x, extra, *layer)
        return _decode(functional.linear(x[:, 0], *self.head).float(), now.float(), window.size)

    @staticmethod
    def _block(x: Tensor, extra: Tensor, stride: int, join: Tensor, mix: Tensor, bias: Tensor) -> Tensor:
        batch, frames, width = x.shape
        y = functional.linear(x.reshape(batch, frames // stride, stride * width), join)
        y = functional.linear((y + extra[:, None]).relu_(), mix, bias).relu_()
        return x[:, stride // 2 :: stride] + y


def _scale(norm: nn.BatchNorm1d) -> Tensor:
    """What batch normalisation multiplies with [width] when it is used."""
    assert norm.running_var is not None
    return norm.weight / (norm.running_var + norm.eps).sqrt()


def _folded(layer: nn.Linear, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer without bias and the normalisation behind it."""
    assert norm.running_mean is not None
    scale = _scale(norm)
    return (scale[:, None] * layer.weight).contiguous(), norm.bias - norm.running_mean * scale
