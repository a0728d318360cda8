"""Losses of pose networks.

Sources: A. Newell, Z. Huang, J. Deng, Associative Embedding (NeurIPS 2017), eq. 1-2; Z. Cao et al., OpenPose
(PAMI 2021), eq. 1-2; X. Sun et al., Integral Human Pose Regression (ECCV 2018), section 3 for coordinates.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def map_mse(maps: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean squared error of heatmaps or part affinity fields.

    Parameters
    ----------
    maps, target : float [n, C, H, W]
    weight : float [n, C] or [n, C, H, W]
        0 where nobody knows the answer.

    Returns
    -------
    float []
        Mean over what has weight; 0 where nothing has.
    """
    weight = weight if weight.ndim == maps.ndim else weight[..., None, None]
    squared = (maps - target).square() * weight
    return squared.sum() / weight.expand_as(squared).sum().clamp_min(1e-9)


def tag_loss(tags: torch.Tensor, points: torch.Tensor, labelled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Associative embedding: pull a person's tags together, push different people's apart.

    Parameters
    ----------
    tags : float [n, J, H, W]
    points : float [n, P, J, 2]
        Joints in cells.
    labelled : bool [n, P, J]

    Returns
    -------
    pull : float []
        Mean squared distance of a joint's tag from its person's mean tag, over the people of a picture.
    push : float []
        Mean over pairs of people of exp(-d^2 / 2 sigma^2), d between their mean tags, sigma 1; 0 for one person.

    Notes
    -----
    Joints outside the map do not count. The gradient goes to the tags alone.
    """
    height, width = tags.shape[-2:]
    cells = torch.nan_to_num(points.detach(), nan=-1.0).round().long()
    limit = torch.tensor([width, height], device=tags.device)
    there = labelled & ((cells >= 0) & (cells < limit)).all(-1)  # [n, P, J]
    index = torch.where(there, cells[..., 1] * width + cells[..., 0], torch.zeros((), dtype=torch.long))
    value = tags.flatten(2).gather(2, index.transpose(1, 2)).transpose(1, 2)  # [n, P, J]
    share = there.to(tags.dtype)
    number = share.sum(-1)
    person = (number > 0).to(tags.dtype)  # [n, P]
    mean = (value * share).sum(-1) / number.clamp_min(1)
    spread = ((value - mean[..., None]).square() * share).sum(-1) / number.clamp_min(1)
    pictures = (person.sum(-1) > 0).sum().clamp_min(1)
    pull = (spread.sum(-1) / person.sum(-1).clamp_min(1)).sum() / pictures
    alike = torch.exp(-0.5 * (mean[:, :, None] - mean[:, None]).square())
    pair = person[:, :, None] * person[:, None] * (1 - torch.eye(mean.shape[1], dtype=tags.dtype, device=tags.device))
    several = (person.sum(-1) > 1).sum().clamp_min(1)
    push = ((alike * pair).sum((1, 2)) / pair.sum((1, 2)).clamp_min(1)).sum() / several
    return pull, push


def coordinate_loss(
    points: torch.Tensor, truth: torch.Tensor, confidence: torch.Tensor, *, beta: float = 1.0
) -> torch.Tensor:
    """Confidence-weighted regression of coordinates, robust against wrong labels.

    Parameters
    ----------
    points, truth : float [..., 2]
        In one unit; the truth may be NaN where the confidence is 0.
    confidence : float [...]
        How much each label is worth, 0..1.
    beta : float
        Distance at which the square becomes a straight line (Huber), same unit.
    """
    known = torch.where((confidence > 0)[..., None], truth, points.detach())
    each = functional.smooth_l1_loss(points, known, beta=beta, reduction="none").sum(-1)
    return (each * confidence).sum() / confidence.sum().clamp_min(1e-9)
