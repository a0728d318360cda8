"""New poses from recorded ones: limbs of other recordings, and limbs turned a little.

Few people strike few poses, but limbs combine freely (Li et al. 2020, evolutionary training data:
crossover and mutation). Crossover takes an arm, a leg or the upper body of another window, in the
axes of the part of the body that it hangs on; mutation turns limbs by small angles that stay the
same over the window, so that motion stays as natural as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Bones (of 16): right leg 0-2, left leg 3-5, spine 6, thorax 7, head 8-9, left arm 10-12, right arm 13-15.
_UPPER = slice(18, 48)
# (columns of the part, does it hang on the torso (else the pelvis), share relative to the settings' own)
_LIMBS = (
    (slice(30, 39), True, 1.0), (slice(39, 48), True, 1.0), (slice(24, 30), True, 0.7),
    (slice(3, 9), False, 0.4), (slice(12, 18), False, 0.4),
)  # fmt: skip
# Bones that turn together and by how much: one standard deviation per axis, radians.
_TURNS = (
    (tuple(range(16)), 0.12), (tuple(range(6, 16)), 0.12), (tuple(range(7, 16)), 0.08), ((8, 9), 0.15),
    ((11, 12), 0.25), ((14, 15), 0.25), ((12,), 0.15), ((15,), 0.15), ((1, 2), 0.15), ((4, 5), 0.15),
    ((2,), 0.08), ((5,), 0.08),
)  # fmt: skip
_ANYHOW = 0.03  # share of the turned windows whose whole body lies or hangs any way round


class Draw:
    """Random numbers of one generator."""

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self.generator, self.device = generator, device

    def uniform(self, *shape: int) -> Tensor:
        """In [0, 1)."""
        return torch.rand(shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal."""
        return torch.randn(shape, generator=self.generator, device=self.device)


def rotation_z(angle: Tensor) -> Tensor:
    """About the vertical [..., 3, 3]."""
    c, s, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, zero + 1], -1).reshape(*angle.shape, 3, 3)


def rotation(vector: Tensor) -> Tensor:
    """Rodrigues' formula: rotation vectors [N, 3] to matrices [N, 3, 3]."""
    angle = vector.norm(dim=-1, keepdim=True).clamp_min(1e-8)
    x, y, z = (vector / angle).unbind(-1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    angle = angle[..., None]
    return torch.eye(3, device=vector.device) + torch.sin(angle) * K + (1 - torch.cos(angle)) * (K @ K)


@dataclass(frozen=True)
class PoseVariation:
    """How much is varied.

    Attributes
    ----------
    mix : float
        Share of windows that get the upper body, and of those that get each arm, of another one.
    perturb : float
        Share of windows whose limbs are turned.
    """

    mix: float
    perturb: float

    def vary(self, bones: Tensor, draw: Draw) -> Tensor:
        """Bone directions [B, W, 48] of B windows, z up; varied copies."""
        if self.mix > 0:
            bones = self._exchange(bones, draw)
        return self._turn(bones, draw) if self.perturb > 0 else bones

    def _exchange(self, bones: Tensor, draw: Draw) -> Tensor:
        batch, frames = bones.shape[:2]
        middle = frames // 2
        take = (draw.uniform(batch) < self.mix)[:, None, None]
        other = _neighbour(bones, draw)
        heading = [torch.atan2(*(b[:, middle, 0:2] - b[:, middle, 9:11]).flip(-1).unbind(-1)) for b in (bones, other)]
        turned = _turned(other[..., _UPPER], rotation_z(heading[0] - heading[1]))
        bones = torch.cat([bones[..., :18], torch.where(take, turned, bones[..., _UPPER])], -1)
        for columns, torso, share in _LIMBS:
            take = (draw.uniform(batch) < self.mix * share)[:, None, None]
            other = _neighbour(bones, draw)
            own, theirs = (_frame(b[:, middle], torso) for b in (bones, other))
            turned = _turned(other[..., columns], own @ theirs.transpose(1, 2))
            bones = bones.clone()
            bones[..., columns] = torch.where(take, turned, bones[..., columns])
        return bones

    def _turn(self, bones: Tensor, draw: Draw) -> Tensor:
        batch, frames = bones.shape[:2]
        strength = (draw.uniform(batch) < self.perturb) * 2 * draw.uniform(batch)
        total = torch.eye(3, device=bones.device).expand(batch, 16, 3, 3).clone()
        for number, (group, angle) in enumerate(_TURNS):
            vector = draw.normal(batch, 3) * angle * strength[:, None]
            if number == 0:
                wild = draw.uniform(batch) < _ANYHOW * self.perturb
                vector = torch.where(wild[:, None], draw.normal(batch, 3) * 1.5, vector)
            total[:, list(group)] = total[:, list(group)] @ rotation(vector)[:, None]
        columns = bones.reshape(batch, frames, 16, 3).transpose(1, 2)
        return (columns @ total.transpose(-1, -2)).transpose(1, 2).reshape(batch, frames, 48)


def _neighbour(bones: Tensor, draw: Draw) -> Tensor:
    """The windows, so that each stands in another's place."""
    return bones.roll(1 + int(draw.uniform(1).item() * (len(bones) - 1)), 0)


def _turned(columns: Tensor, R: Tensor) -> Tensor:
    batch, frames, width = columns.shape
    return torch.bmm(columns.reshape(batch, -1, 3), R.transpose(1, 2)).reshape(batch, frames, width)


def _frame(bones: Tensor, torso: bool) -> Tensor:
    """World from torso (or pelvis) axes [B, 3, 3]: across and up."""
    up = bones[:, 21:24] if torso else bones[:, 18:21]
    across = bones[:, 39:42] - bones[:, 30:33] if torso else bones[:, 0:3] - bones[:, 9:12]
    z = torch.nn.functional.normalize(up, dim=-1)
    y = torch.nn.functional.normalize(torch.linalg.cross(z, across), dim=-1)
    return torch.stack([torch.linalg.cross(y, z), y, z], -1)
