"""How a window of 2D keypoints becomes the network's input: one code for training and use.

The window is seen by a virtual camera that looks straight at the person: rays are turned so that
the person's centre lies on the optical axis and scaled by the person's extent. What the network
has to learn then no longer depends on where in the image the person stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mocap.lifting.body import LONG_BONES, MEAN_BONES

if TYPE_CHECKING:
    from torch import Tensor

JOINTS = 17
BONES = 16
CONDITION = 3 + BONES + 1  # centre of the person (2), log extent, bone lengths, whether these are known

_FEW_JOINTS = 4  # in the middle frame; below that the whole window says where the person is
_TYPICAL_EXTENT = 0.09  # mean distance from the centre, in units of the focal length, 5 m away


@dataclass(frozen=True)
class WindowInput:
    """What the network takes.

    Attributes
    ----------
    tokens : float32 [B, W, 51]
        x, y, confidence of each joint, in units of the person's extent, about the person's centre.
    condition : float32 [B, CONDITION]
        Centre ray, log extent, relative bone lengths and whether they are known.
    camera_from_virtual : float32 [B, 3, 3]
        Turns the network's axes into those of the camera.
    size : float32 [B]
        The person's size over the mean person's, from the bone lengths; 1 where these are not
        known. The network works in units of it, so that it need not learn what scale does.
    """

    tokens: Tensor
    condition: Tensor
    camera_from_virtual: Tensor
    size: Tensor


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights[..., None]).sum(-2) / weights.sum(-1, keepdim=True).clamp_min(1e-6)


def _turn_to(centre: Tensor) -> Tensor:
    """The smallest rotation [B, 3, 3] that turns the optical axis into the ray (centre, 1)."""
    norm = (centre.square().sum(-1) + 1).sqrt()
    a, b, c = centre[:, 0] / norm, centre[:, 1] / norm, 1 / norm
    k = 1 / (1 + c)
    rows = (1 - a * a * k, -a * b * k, a, -a * b * k, 1 - b * b * k, b, -a, -b, c)
    return torch.stack(rows, -1).reshape(-1, 3, 3)


def window_input(rays: Tensor, confidence: Tensor, bones: Tensor, bones_known: Tensor) -> WindowInput:
    """Normalise windows of undistorted ray coordinates.

    Parameters
    ----------
    rays : float32 [B, W, 17, 2]
        x/z, y/z of each joint; any finite number where it is missing.
    confidence : float32 [B, W, 17]
        0..1; 0 marks a missing joint.
    bones : float32 [B, 16]
        Bone lengths in metres; any finite number where they are not known.
    bones_known : bool [B]
    """
    batch, frames = rays.shape[:2]
    middle = rays[:, frames // 2], confidence[:, frames // 2]
    enough = ((middle[1] > 0).sum(-1) >= _FEW_JOINTS)[:, None]
    flat = rays.reshape(batch, -1, 2), confidence.reshape(batch, -1)
    centre = torch.where(enough, _mean(*middle), _mean(*flat))
    near = (middle[0] - centre[:, None]).norm(dim=-1, keepdim=True)
    far = (flat[0] - centre[:, None]).norm(dim=-1, keepdim=True)
    extent = torch.where(enough, _mean(near, middle[1]), _mean(far, flat[1])).clamp_min(1e-3)

    turn = _turn_to(centre)
    # Row vectors: virtual = camera @ camera_from_virtual, for the ray (x, y, 1).
    turned = torch.bmm(flat[0], turn[:, :2]) + turn[:, None, 2]
    xy = turned[..., :2] / turned[..., 2:].clamp_min(0.05) / extent[:, None]
    seen = (flat[1] > 0).to(xy.dtype)[..., None]
    xy = xy.clamp(-20, 20) * seen
    tokens = torch.cat([xy, flat[1][..., None]], -1).reshape(batch, frames, 3 * JOINTS)

    mean = torch.tensor(MEAN_BONES, dtype=bones.dtype, device=bones.device)
    long = list(LONG_BONES)
    ratio = (bones[:, long].sum(-1) / mean[long].sum()).clamp(0.1, 10)
    size = torch.where(bones_known, ratio, torch.ones_like(ratio))
    known = bones_known.to(bones.dtype)[:, None]
    relative = ((bones / (mean * size[:, None]) - 1) * 10).clamp(-8, 12) * known
    log_extent = torch.log(extent / _TYPICAL_EXTENT)
    condition = torch.cat([centre * 2, log_extent, relative, known], -1)
    return WindowInput(tokens, condition, turn, size)
